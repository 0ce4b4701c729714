"""The other nodes, as the data plane must know them to hand packets over.

    NodeFacts by name  ->  maps `nodes`, `peers`, `pod_routes`; index of each node by name

Invariants  A node keeps its index as long as its address stays, through restarts of the agent.
            A node on another segment, or that has not said its Ethernet address, is left out.
"""

from collections.abc import Iterable, Mapping

from cairn.abi import structs
from cairn.abi.address import MAPPED_BITS
from cairn.apply.map_content import apply_content
from cairn.apply.uplink import Uplink
from cairn.kube.node import NodeFacts
from cairn.libbpf import Map
from cairn.net import Address, Network, parse_mac


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
        reachable = {
            node.name: (node, address)
            for node in facts
            if node.name != self._own_name
            and node.uplink_mac
            and (address := next(iter(_on_segment(node, self._uplink).values()), None))
        }
        self.index = {name: self._index(address) for name, (_, address) in reachable.items()}
        nodes: dict[bytes, bytes] = {}
        peers: dict[bytes, bytes] = {}
        routes: dict[bytes, bytes] = {}
        for name, (node, address) in reachable.items():
            index = self.index[name].to_bytes(4, "little")
            mac = parse_mac(node.uplink_mac)
            nodes[index] = structs.Node(address, mac, 0).write()
            peers[structs.Mac(mac).write()] = index
            routes |= {prefix_of(network).write(): index for network in node.pod_networks}
        return [
            *apply_content(self._maps["nodes"], nodes),
            *apply_content(self._maps["peers"], peers),
            *apply_content(self._maps["pod_routes"], routes),
        ]

    def routes(self, facts: Iterable[NodeFacts]) -> dict[Network, Address]:
        """Return the kernel's routes to the other nodes' pods: network to gateway."""
        return {
            network: addresses[network.version]
            for node in facts
            if node.name != self._own_name and (addresses := _on_segment(node, self._uplink))
            for network in node.pod_networks
            if network.version in addresses
        }

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
