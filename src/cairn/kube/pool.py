"""CiliumLoadBalancerIPPool: which addresses LoadBalancer Services may get, and which Services.

    object  ->  Pool(blocks, selector, disabled, findings)

Shapes      a block is an inclusive range of integers of one IP version
Invariants  A block that cannot be read becomes a finding, never an exception: the pool's other
            blocks go on working.
Standards   Cilium LB-IPAM, CiliumLoadBalancerIPPool v2alpha1 and v2
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.finding import Finding
from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.selector import InvalidSelector, Selector, parse_selector
from cairn.net import Address, parse_address, parse_network

NEVER_GIVEN = {
    parse_network(text): what
    for text, what in (
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("::/127", "unspecified and loopback"),
        ("::ffff:0:0/96", "IPv4 in IPv6's clothes: write it as IPv4"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
}
"""Addresses that no Service can have, and what they are."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of addresses that a pool hands out."""

    text: str
    """As the manifest spells it."""
    version: int
    """4 or 6."""
    first: int
    """Lowest address as a number."""
    last: int
    """Highest address as a number, included."""

    def overlaps(self, other: "Block") -> bool:
        """Return whether both hold a common address."""
        if self.version != other.version:
            return False
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Pool:
    """One address pool."""

    metadata: Metadata
    """Name, age and generation."""
    blocks: tuple[Block, ...]
    """In the order of the manifest."""
    selector: Selector | None
    """Which Services it serves; None if the selector is invalid: it serves none."""
    disabled: bool
    """Whether it hands out nothing new."""
    findings: tuple[Finding, ...]
    """What the manifest says otherwise than it should."""

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.metadata.name

    def holds(self, version: int, value: int) -> bool:
        """Return whether an address lies in one of the blocks."""
        return any(b.version == version and b.first <= value <= b.last for b in self.blocks)


def pool_of(obj: Object) -> Pool:
    """Return the view of a raw CiliumLoadBalancerIPPool."""
    spec = obj.get("spec") or {}
    findings: list[Finding] = []
    if spec.get("cidrs"):
        findings.append(
            Finding("CidrsAlias", "spec.cidrs is read as spec.blocks, its name today: write blocks")
        )
    keep_ends = spec.get("allowFirstLastIPs") != "No"
    blocks = []
    for raw in [*(spec.get("blocks") or ()), *(spec.get("cidrs") or ())]:
        try:
            blocks.append(_usable(_block(raw, findings, keep_ends=keep_ends)))
        except ValueError as error:
            findings.append(Finding("InvalidBlock", f"block {_spell(raw)} is ignored: {error}"))
    if not blocks:
        findings.append(Finding("NoAddresses", "no valid block: the pool has no address to give"))
    return Pool(
        metadata=metadata_of(obj),
        blocks=tuple(blocks),
        selector=_selector(spec, findings),
        disabled=bool(spec.get("disabled")),
        findings=tuple(findings),
    )


def _selector(spec: Mapping[str, Any], findings: list[Finding]) -> Selector | None:
    try:
        return parse_selector(spec.get("serviceSelector"))
    except InvalidSelector as error:
        text = f"serviceSelector selects no Service: {error}"
        findings.append(Finding("InvalidSelector", text))
        return None


def _block(raw: Mapping[str, Any], findings: list[Finding], *, keep_ends: bool) -> Block:
    if cidr := raw.get("cidr"):
        if raw.get("start") or raw.get("stop"):
            raise ValueError("cidr and start/stop exclude each other")
        return _cidr_block(str(cidr), findings, keep_ends=keep_ends)
    if not raw.get("start"):
        raise ValueError("neither cidr nor start is set")
    start = parse_address(str(raw["start"]))
    stop = parse_address(str(raw.get("stop") or raw["start"]))
    if start.version != stop.version:
        raise ValueError("start and stop are of different families")
    if int(stop) < int(start):
        raise ValueError("stop lies before start")
    return Block(_spell(raw), start.version, int(start), int(stop))


def _usable(block: Block) -> Block:
    """Return the block; raises ValueError if it holds what no Service can have."""
    for network, what in NEVER_GIVEN.items():
        if block.overlaps(
            Block("", network.version, int(network.network_address), int(network.broadcast_address))
        ):
            raise ValueError(f"it holds addresses of {network} ({what})")
    return block


def _cidr_block(text: str, findings: list[Finding], *, keep_ends: bool) -> Block:
    network = parse_network(text, strict=False)
    address = parse_address(text.split("/")[0])
    first, last = int(network.network_address), int(network.broadcast_address)
    low, high = first, last
    if address != network.network_address:
        low = int(address)
        findings.append(_host_bits(text, address, network.network_address, last, last - first))
    if not keep_ends and last - first > 1:
        low, high = max(low, first + 1), min(high, last - 1)
        if high < low:
            raise ValueError("allowFirstLastIPs: No leaves no address of it")
    return Block(text, network.version, low, high)


def _host_bits(text: str, address: Address, network: Address, last: int, span: int) -> Finding:
    end = type(address)(last)
    counted = int(address) + span
    stop = type(address)(counted) if counted < 1 << address.max_prefixlen else end
    return Finding(
        "HostBits",
        f"block {text} has host bits set: as a network it is {network} to {end}, counted from its "
        f"address {address} to {stop}; only {address} to {end}, which both readings hold, is "
        f"handed out; write start: {address} and stop: with the last address you mean",
    )


def _spell(raw: Mapping[str, Any]) -> str:
    if raw.get("cidr"):
        return str(raw["cidr"])
    return f"{raw.get('start') or '?'}-{raw.get('stop') or raw.get('start') or '?'}"
