"""CiliumBGPPeeringPolicy: which nodes peer with whom, and what they announce.

    object  ->  PeeringPolicy(node selector, virtual routers with neighbors, findings)

Invariants  What cannot work becomes a finding and is left out; the rest of the policy works.
            A list item without peerAddress belongs to the neighbor above it.
Standards   Cilium CiliumBGPPeeringPolicy v2alpha1, and the dialect in which people write it
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.finding import Finding
from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.selector import InvalidSelector, Selector, parse_selector
from cairn.net import Address, parse_address

FAMILIES = {"ipv4": 4, "ipv6": 6}
HIGHEST_ASN = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One peer of every node."""

    address: Address
    """Where it is reached."""
    asn: int
    """Its AS number."""
    raw: Mapping[str, Any]
    """All fields of the item and of the items that belong to it."""


@dataclass(frozen=True, slots=True)
class VirtualRouter:
    """One BGP instance of every node."""

    asn: int
    """AS number of the nodes."""
    export_pod_cidr: bool
    """Whether a node announces its pods' networks."""
    service_selector: Mapping[str, Any] | None
    """Which Services it announces, as written; None: none."""
    neighbors: tuple[Neighbor, ...]
    """As listed."""


@dataclass(frozen=True, slots=True)
class PeeringPolicy:
    """One policy."""

    metadata: Metadata
    """Name, age, generation."""
    node_selector: Selector | None
    """Which nodes peer; None if the selector is invalid: none do."""
    routers: tuple[VirtualRouter, ...]
    """As listed."""
    findings: tuple[Finding, ...]
    """What its author should know."""

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.metadata.name


def peering_policy_of(obj: Object) -> PeeringPolicy:
    """Return the view of a raw CiliumBGPPeeringPolicy."""
    spec = obj.get("spec") or {}
    findings: list[Finding] = []
    selector: Selector | None = None
    try:
        selector = parse_selector(spec.get("nodeSelector"))
    except InvalidSelector as error:
        findings.append(Finding("InvalidSelector", f"nodeSelector selects no node: {error}"))
    routers = []
    for place, raw in enumerate(spec.get("virtualRouters") or ()):
        if router := _router(raw, f"virtualRouters[{place}]", findings):
            routers.append(router)
    if not routers:
        findings.append(Finding("NoRouter", "no valid virtualRouters item: no node peers"))
    return PeeringPolicy(metadata_of(obj), selector, tuple(routers), tuple(findings))


def _router(raw: Mapping[str, Any], where: str, findings: list[Finding]) -> VirtualRouter | None:
    asn = _asn(raw.get("localASN"))
    if asn is None:
        text = f"{where} is ignored: localASN {raw.get('localASN')!r} is not 1 to {HIGHEST_ASN}"
        findings.append(Finding("InvalidRouter", text))
        return None
    selector = raw.get("serviceSelector")
    if selector is None:
        text = f"{where} has no serviceSelector and announces no Service; add one to announce"
        findings.append(Finding("NoServiceSelector", text))
    else:
        try:
            parse_selector(selector)
        except InvalidSelector as error:
            text = f"{where}.serviceSelector selects no Service: {error}"
            findings.append(Finding("InvalidSelector", text))
            selector = None
    neighbors = []
    for place, item in _merged(raw.get("neighbors") or (), where, findings):
        if neighbor := _neighbor(item, f"{where}.neighbors[{place}]", asn, findings):
            neighbors.append(neighbor)
    return VirtualRouter(asn, bool(raw.get("exportPodCIDR")), selector, tuple(neighbors))


def _merged(
    items: Iterable[Mapping[str, Any]], where: str, findings: list[Finding]
) -> list[tuple[int, dict[str, Any]]]:
    merged: list[tuple[int, dict[str, Any]]] = []
    for place, item in enumerate(items):
        if item.get("peerAddress"):
            merged.append((place, dict(item)))
            continue
        fields = ", ".join(sorted(item)) or "nothing"
        if not merged:
            text = f"{where}.neighbors[{place}] ({fields}) is ignored: peerAddress is missing"
            findings.append(Finding("InvalidNeighbor", text))
            continue
        owner = merged[-1][1]
        owner.update(item)
        text = (
            f"{where}.neighbors[{place}] ({fields}) has no peerAddress and is read as part of "
            f"neighbor {owner['peerAddress']} above it; write it there, without the dash"
        )
        findings.append(Finding("NeighborFragment", text))
    return merged


def _neighbor(
    raw: Mapping[str, Any], where: str, local_asn: int, findings: list[Finding]
) -> Neighbor | None:
    text = str(raw["peerAddress"])
    problem = ""
    try:
        address = _peer_address(text)
    except ValueError as error:
        problem = f"peerAddress {text!r} {error}"
    asn = _asn(raw.get("peerASN"))
    if not problem and asn is None:
        problem = f"peerASN {raw.get('peerASN')!r} is not 1 to {HIGHEST_ASN}"
    family = str(raw.get("ipFamily") or "").lower()
    if not problem and family and FAMILIES.get(family) != address.version:
        problem = f"ipFamily {raw['ipFamily']} does not fit peerAddress {text}"
    if problem or asn is None:
        findings.append(Finding("InvalidNeighbor", f"{where} is ignored: {problem}"))
        return None
    findings += _advice(raw, text, internal=asn == local_asn)
    return Neighbor(address, asn, raw)


def _peer_address(text: str) -> Address:
    """Return the address, which may be written as a network of full length; raises ValueError."""
    bare, _, length = text.partition("/")
    try:
        address = parse_address(bare)
    except ValueError:
        raise ValueError("is not an IP address") from None
    if address.is_link_local and address.version == 6:
        raise ValueError("is link-local: write the router's global or unique local address")
    if length and length != str(address.max_prefixlen):
        raise ValueError(f"is a network: write one address, or /{address.max_prefixlen}")
    return address


def _advice(raw: Mapping[str, Any], peer: str, *, internal: bool) -> Iterable[Finding]:
    hops = raw.get("eBGPMultihop", raw.get("eBGPMultihopTTL"))
    if hops is not None and internal:
        yield Finding(
            "MultihopIgnored",
            f"neighbor {peer}: eBGPMultihop is ignored on iBGP (equal AS numbers); remove it",
        )
    if raw.get("password"):
        yield Finding(
            "PlainPassword",
            f"neighbor {peer}: the password stands in the policy for all to read; put it in a "
            "Secret and name that in authSecretRef",
        )


def _asn(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if 1 <= number <= HIGHEST_ASN else None
