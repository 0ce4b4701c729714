"""The other nodes, as the data plane must know them to hand packets over.

    NodeFacts by name  ->  maps `nodes`, `peers`, `tunnels`, `pod_routes`; each node's index by name

A node with an address in a subnet of this node's uplink is near: it is reached by its Ethernet
address. Any other is far: it is reached through the overlay, at an address of an IP version that
this node speaks, too.

Invariants  A node keeps its index as long as its address stays, through restarts of the agent.
            A near node that has not said its Ethernet address is left out until it has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from cairn.abi import structs
from cairn.abi.address import MAPPED_BITS, write_address
from cairn.abi.structs import NodeFlag
from cairn.apply.map_content import apply_content
from cairn.apply.pod_routes import Hop
from cairn.apply.uplink import Uplink
from cairn.kube.node import NodeFacts
from cairn.libbpf import Map
from cairn.net import Address, Network, parse_mac

NO_MAC = bytes(6)


@dataclass(frozen=True, slots=True)
class _Reached:
    """A node, and how it is reached."""

    facts: NodeFacts
    """What it says of itself."""
    address: Address
    """Where."""
    far: bool
    """Whether through the overlay."""


class Peers:
    """Indexes of the other nodes, and the maps that hold them."""

    def __init__(self, maps: Mapping[str, Map], uplink: Uplink, own_name: str) -> None:
        self._maps = maps
        self._uplink = uplink
        self._own_name = own_name
        self._by_address: dict[Address, int] = {
            structs.Node.read(value).address: int.from_bytes(key, "little")
            for key, value in maps["nodes"].items()
        }
        self.index: dict[str, int] = {}
        """Index by node name; the node itself has none."""

    def apply(self, facts: Iterable[NodeFacts]) -> list[str]:
        """Make the maps hold these nodes; return what failed."""
        reached = self._reached(facts)
        self.index = {node.facts.name: self._index(node.address) for node in reached}
        nodes: dict[bytes, bytes] = {}
        # What comes from the node's own address is its proof of a path: served here or not at all.
        peers: dict[bytes, bytes] = {structs.Mac(parse_mac(self._uplink.mac)).write(): bytes(4)}
        tunnels: dict[bytes, bytes] = {}
        routes: dict[bytes, bytes] = {}
        for node in reached:
            index = self.index[node.facts.name].to_bytes(4, "little")
            networks = node.facts.pod_networks
            if node.far:
                nodes[index] = structs.Node(node.address, NO_MAC, NodeFlag.TUNNEL).write()
                tunnels |= {write_address(address): index for address in node.facts.internal_ips}
                networks += tuple(ip_network(address) for address in node.facts.internal_ips)
            else:
                mac = parse_mac(node.facts.uplink_mac)
                nodes[index] = structs.Node(node.address, mac, 0).write()
                peers[structs.Mac(mac).write()] = index
            routes |= {prefix_of(network).write(): index for network in networks}
        return [
            *apply_content(self._maps["nodes"], nodes),
            *apply_content(self._maps["peers"], peers),
            *apply_content(self._maps["tunnels"], tunnels),
            *apply_content(self._maps["pod_routes"], routes),
        ]

    def underlays(self, facts: Iterable[NodeFacts]) -> frozenset[int]:
        """Return the IP versions in which tunnels to these nodes run; none if all are near."""
        return frozenset(node.address.version for node in self._reached(facts) if node.far)

    def unreachable(self, facts: Iterable[NodeFacts]) -> list[str]:
        """Return a line for each node to which there is no way."""
        return [
            f"node {node.name} is on another subnet and has no address of an IP version that "
            f"this node speaks: its pods cannot be reached"
            for node in facts
            if node.name != self._own_name
            and node.internal_ips
            and not _on_segment(node, self._uplink)
            and self._tunnel_end(node) is None
        ]

    def routes(self, facts: Iterable[NodeFacts], overlay: int) -> dict[Network, Hop]:
        """Return the kernel's routes to the other nodes' pods; `overlay` is the device, or 0."""
        found: dict[Network, Hop] = {}
        for node in facts:
            if node.name == self._own_name:
                continue
            near = _on_segment(node, self._uplink)
            for network in node.pod_networks:
                if network.version in near:
                    found[network] = Hop(self._uplink.ifindex, near[network.version])
                elif overlay and not near and self._tunnel_end(node):
                    own = self._uplink.address_of(network.version)
                    found[network] = Hop(overlay, None, own)
        return found

    def _reached(self, facts: Iterable[NodeFacts]) -> list[_Reached]:
        found = []
        for node in facts:
            if node.name == self._own_name:
                continue
            near = next(iter(_on_segment(node, self._uplink).values()), None)
            end = self._tunnel_end(node)
            if near and node.uplink_mac:
                found.append(_Reached(node, near, far=False))
            elif not near and end:
                found.append(_Reached(node, end, far=True))
        return found

    def _tunnel_end(self, node: NodeFacts) -> Address | None:
        """Return where tunnels to the node end: in IPv4 if both have it, since it may be cut."""
        ends = [a for a in node.internal_ips if self._uplink.address_of(a.version)]
        return min(ends, key=lambda address: address.version, default=None)

    def _index(self, address: Address) -> int:
        if address not in self._by_address:
            self._by_address[address] = max(self._by_address.values(), default=0) + 1
        return self._by_address[address]


def _on_segment(node: NodeFacts, uplink: Uplink) -> dict[int, Address]:
    """Return the node's first address of each IP version that is in a subnet of the uplink."""
    found: dict[int, Address] = {}
    for address in node.internal_ips:
        if any(address in network for network in uplink.networks):
            found.setdefault(address.version, address)
    return found


def prefix_of(network: Network) -> structs.Prefix:
    """Return the key of an LPM map that stands for `network`."""
    bits = network.prefixlen + (MAPPED_BITS if network.version == 4 else 0)
    return structs.Prefix(bits, network.network_address)
