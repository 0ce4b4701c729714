"""The operator's question to a node: does anybody on your segment have these addresses?

    annotations cairn.io/probe, cairn.io/probed of a CiliumNode  <->  ProbeRequest, ProbeAnswer

Invariants  An answer carries the number of its request, so that an old one is never taken for new.
            An annotation that cannot be read counts as absent.
Standards   Kubernetes API conventions, "Annotations"
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.metadata import Object, metadata_of
from cairn.net import Address, parse_address

PROBE = "cairn.io/probe"
"""Annotation of a CiliumNode: addresses that its agent is to probe."""
PROBED = "cairn.io/probed"
"""Annotation of a CiliumNode: who answered for them."""
FREE = "free"


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One question."""

    number: str
    """Unlike that of any other request to the node."""
    addresses: tuple[Address, ...]
    """What is asked about."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a node found."""

    number: str
    """Of the request."""
    found: Mapping[Address, str]
    """The Ethernet address that answered, per address of the request; empty where nobody did."""


def probe_request_of(obj: Object) -> ProbeRequest | None:
    """Return the request that stands at a CiliumNode; None if there is none."""
    raw = _read(obj, PROBE)
    try:
        addresses = tuple(parse_address(str(text)) for text in raw["addresses"])
        return ProbeRequest(str(raw["number"]), addresses)
    except (KeyError, TypeError, ValueError):
        return None


def probe_answer_of(obj: Object) -> ProbeAnswer | None:
    """Return the answer that stands at a CiliumNode; None if there is none."""
    raw = _read(obj, PROBED)
    try:
        found = {
            parse_address(text): "" if mac == FREE else str(mac)
            for text, mac in raw["found"].items()
        }
        return ProbeAnswer(str(raw["number"]), found)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def write_request(request: ProbeRequest) -> dict[str, str]:
    """Return the annotation that asks."""
    addresses = [str(address) for address in request.addresses]
    return {PROBE: json.dumps({"number": request.number, "addresses": addresses})}


def write_answer(answer: ProbeAnswer) -> dict[str, str]:
    """Return the annotation that answers."""
    found = {str(address): mac or FREE for address, mac in answer.found.items()}
    return {PROBED: json.dumps({"number": answer.number, "found": found})}


def _read(obj: Object, name: str) -> dict[str, Any]:
    try:
        raw = json.loads(metadata_of(obj).annotations.get(name, "{}"))
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}
