"""How this node reaches the others and their pods, and what fits on the way.

    NodeFacts of all nodes  ->  overlay, peers, routes, masquerade; the pods' MTU

Order       The overlay is there before anything is sent through it, and goes after its last use.

Invariants  A pod's MTU fits every way that a packet of it can go: the uplink's as it is now, less
            the overlay's headers while there is an overlay. Pods that are there follow a change.
"""

from collections.abc import Callable, Sequence

from cairn.apply.data_plane import DataPlane
from cairn.apply.masquerade import apply_masquerade
from cairn.apply.overlay import DEVICE, overlay_mtu, raise_overlay, remove_overlay
from cairn.apply.peers import Peers
from cairn.apply.pod_routes import apply_pod_routes
from cairn.apply.uplink import NoUplink, Uplink, mtu_of
from cairn.kube.node import NodeFacts
from cairn.libbpf import BpfError
from cairn.net import Address, Network
from cairn.netlink.iproute import NetlinkError

SetMtu = Callable[[int], list[str]]
"""Gives the pods of this node an MTU; returns what failed."""


class Reach:
    """The ways from one node to the others."""

    def __init__(
        self, data_plane: DataPlane, uplink: Uplink, node: str, *, set_mtu: SetMtu | None = None
    ) -> None:
        self.peers = Peers(data_plane.maps, uplink, node)
        """The other nodes by their index."""
        self._data_plane = data_plane
        self._uplink = uplink
        self._set_mtu = set_mtu
        self._uplink_mtu_bytes = uplink.mtu_bytes
        self._pod_mtu_bytes = 0
        self._masqueraded: tuple[frozenset[Network], frozenset[Address]] | None = None

    def apply(self, facts: Sequence[NodeFacts]) -> list[str]:
        """Make the kernel reach these nodes; return what failed."""
        failed = self.peers.unreachable(facts)
        try:
            self._uplink_mtu_bytes = mtu_of(self._uplink)
        except NoUplink as error:
            failed.append(str(error))
        mtu = overlay_mtu(self._uplink_mtu_bytes, self.peers.underlays(facts))
        overlay = self._raise(mtu, failed) if mtu else 0
        failed += self._apply_mtu(mtu or self._uplink_mtu_bytes)
        failed += self.peers.apply(facts)
        failed += apply_pod_routes(self.peers.routes(facts, overlay))
        failed += self._apply_masquerade(facts)
        if not mtu:
            remove_overlay(self._data_plane)
        return failed

    def _raise(self, mtu_bytes: int, failed: list[str]) -> int:
        try:
            return raise_overlay(self._data_plane, mtu_bytes)
        except (NetlinkError, BpfError) as error:
            failed.append(f"{DEVICE}, the way to nodes on other subnets: {error}")
            return 0

    def _apply_mtu(self, mtu_bytes: int) -> list[str]:
        if mtu_bytes == self._pod_mtu_bytes or self._set_mtu is None:
            return []
        failed = self._set_mtu(mtu_bytes)
        self._pod_mtu_bytes = 0 if failed else mtu_bytes
        return failed

    def _apply_masquerade(self, facts: Sequence[NodeFacts]) -> list[str]:
        pods = frozenset(network for node in facts for network in node.pod_networks)
        nodes = frozenset(address for node in facts for address in node.internal_ips)
        nodes |= frozenset(self._uplink.addresses)
        if (pods, nodes) == self._masqueraded:
            return []
        failed = apply_masquerade(self._uplink, pods, nodes)
        self._masqueraded = None if failed else (pods, nodes)
        return failed
