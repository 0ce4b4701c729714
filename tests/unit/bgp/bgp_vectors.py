"""Read vector files as tests/vectors/README.md describes them.

path of a .vec file  ->  list of Vector
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST
from cairn.bgp.negotiate import Negotiated

ROOT = Path(__file__).parents[2] / "vectors" / "bgp"


@dataclass(frozen=True)
class Vector:
    """One vector."""

    name: str
    source: str
    octets: bytes
    value: str
    error: str
    inverse: bool
    context: frozenset[str]

    @property
    def negotiated(self) -> Negotiated:
        """Return the session that the vector belongs to."""
        return session(as4="as4=no" not in self.context, ibgp="ibgp=no" not in self.context)


def session(*, as4: bool = True, ibgp: bool = True, extended: bool = False) -> Negotiated:
    """Return what a session agreed on."""
    return Negotiated(
        local_asn=64512,
        remote_asn=64512 if ibgp else 64513,
        remote_id=IPv4Address("192.168.1.10"),
        hold_time_s=90,
        families=frozenset({IPV4_UNICAST, IPV6_UNICAST}),
        four_octet_as=as4,
        extended_message=extended,
        route_refresh=True,
        enhanced_refresh=True,
        graceful_restart=None,
        capabilities=(),
    )


def load(path: Path) -> list[Vector]:
    """Return the vectors of one file."""
    return [_parse(text) for text in path.read_text().split("\n---\n")]


def _parse(text: str) -> Vector:
    fields: dict[str, str] = {}
    octets = ""
    for line in text.splitlines():
        if line.startswith("  "):
            octets += re.split(r"\s{2,}", line.strip() if line[2] != " " else "")[0]
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    unknown = fields.keys() - {"name", "source", "with", "inverse", "hex", "value", "error"}
    assert not unknown, f"{fields['name']}: unknown fields {unknown}"
    assert ("value" in fields) != ("error" in fields), f"{fields['name']}: value or error"
    return Vector(
        name=fields["name"],
        source=fields["source"],
        octets=bytes.fromhex(octets.replace(" ", "")),
        value=fields.get("value", ""),
        error=fields.get("error", ""),
        inverse=fields.get("inverse") != "no",
        context=frozenset(fields.get("with", "").split()),
    )
