"""From what changed in the cluster to what the node does about it.

    Cluster (dirty keys)  ->  frontends, peers, routes, announcements  ->  appliers

Invariants  One changed Service is compiled and written alone.
            A write that failed is said once and tried again; nothing that is found in an object or
            refused by the kernel ends the loop.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from pyroute2.netlink.exceptions import NetlinkError

from cairn.abi import structs
from cairn.abi.address import write_address
from cairn.abi.structs import VipFlag
from cairn.agent.cluster import Cluster
from cairn.apply.data_plane import DataPlane
from cairn.apply.load_balancer import LoadBalancer
from cairn.apply.map_content import apply_content
from cairn.apply.masquerade import apply_masquerade
from cairn.apply.peers import Peers
from cairn.apply.uplink import Uplink, apply_pod_routes
from cairn.compile.announcements import Announced
from cairn.compile.arp import answering_node
from cairn.compile.services import compile_service
from cairn.desired.load_balancer import Frontend, LbState
from cairn.kube.metadata import Key
from cairn.libbpf import BpfError
from cairn.net import Address, L4Address, Network

RETRY_S = 2.0
RESYNC_S = 30.0
"""How often the kernel's routes are compared with what they should be."""

log = logging.getLogger(__name__)


class Reconciler:
    """Keeps one node's data plane as the cluster's objects say."""

    def __init__(
        self,
        cluster: Cluster,
        data_plane: DataPlane,
        uplink: Uplink,
        node: str,
        *,
        on_services: Callable[[Mapping[Key, Announced]], None],
    ) -> None:
        self._cluster = cluster
        self._data_plane = data_plane
        self._uplink = uplink
        self._node = node
        self._on_services = on_services
        self._peers = Peers(data_plane.maps, uplink, node)
        self._balancer = LoadBalancer(data_plane.maps, node, self._peers)
        self._states: dict[Key, LbState] = {}
        self._announced: dict[Key, Announced] = {}
        self._failed: dict[str, set[str]] = defaultdict(set)
        self._retry: set[Key] = set()
        self._everything = False
        self._masqueraded: frozenset[Network] | None = None
        self._broken = ""

    async def start(self) -> None:
        """Apply everything once, and remove what an earlier agent left that is no more."""
        await self._apply_nodes()
        self._cluster.dirty_services.clear()
        self._apply_services(set(self._cluster.services), whole=True)
        wanted = {where for state in self._states.values() for where in state}
        stale = dict.fromkeys(self._balancer.frontends - wanted)
        self._report("stale services", self._balancer.apply(stale))
        self._balancer.prune_backends()

    async def run(self) -> None:
        """Apply changes as they come, until cancelled."""
        while True:
            await self._wait()
            try:
                await self._pass()
                self._broken = ""
            except (BpfError, NetlinkError, OSError, ValueError, LookupError) as error:
                # What was half done is not known: the next pass does everything.
                self._everything = True
                if str(error) != self._broken:
                    log.error("the node's state is not as it should be: %s; trying again", error)
                self._broken = str(error)

    async def _pass(self) -> None:
        whole, self._everything = self._everything, False
        if self._cluster.dirty_nodes or whole:
            # Backends name their node by index: a node that is new there changes them all.
            whole |= await self._apply_nodes()
        dirty = self._cluster.dirty_services | self._retry
        self._cluster.dirty_services = set()
        if dirty or whole:
            keys = {*self._cluster.services, *self._states, *dirty} if whole else dirty
            self._apply_services(keys, whole=whole)
        elif self._cluster.dirty_bgp:
            self._on_services(self._announced)
        self._cluster.dirty_bgp = False

    async def _wait(self) -> None:
        again = self._retry or self._everything or self._failed["nodes"]
        try:
            async with asyncio.timeout(RETRY_S if again else RESYNC_S):
                await self._cluster.changed.wait()
        except TimeoutError:
            # The kernel forgets routes when the uplink goes down, and tells no one.
            self._cluster.dirty_nodes = True
        self._cluster.changed.clear()

    async def _apply_nodes(self) -> bool:
        """Write the other nodes; return whether any got another index."""
        self._cluster.dirty_nodes = False
        facts = tuple(self._cluster.nodes.values())
        before = self._peers.index
        failed = self._peers.apply(facts)
        routes = self._peers.routes(facts)
        failed += await asyncio.to_thread(apply_pod_routes, self._uplink, routes)
        pods = frozenset(network for node in facts for network in node.pod_networks)
        if pods != self._masqueraded:
            wrong = await asyncio.to_thread(apply_masquerade, self._uplink, pods)
            self._masqueraded = None if wrong else pods
            failed += wrong
        self._report("nodes", failed)
        return self._peers.index != before

    def _apply_services(self, keys: Iterable[Key], *, whole: bool = False) -> None:
        failed: list[str] = []
        retry, self._retry = self._retry, set()
        for key in keys:
            wrong = self._balancer.apply(self._compile(key, whole=whole or key in retry))
            failed += wrong
            if wrong:
                self._retry.add(key)
        vips = apply_content(self._data_plane.maps["vips"], self._vips())
        failed += vips
        self._everything |= bool(vips)
        self._report("services", failed)
        self._on_services(self._announced)

    def _compile(self, key: Key, *, whole: bool) -> dict[L4Address, Frontend | None]:
        """Compile one Service and return the frontends to write: all of it, or what changed."""
        service = self._cluster.services.get(key)
        before = self._states.pop(key, {})
        state: LbState = {}
        self._announced.pop(key, None)
        if service is not None:
            state = compile_service(service, self._cluster.slices.get(key, {}).values())
            self._states[key] = state
            self._announced[key] = Announced(service, self._serves(state))
        changes: dict[L4Address, Frontend | None] = {
            where: frontend
            for where, frontend in state.items()
            if whole or before.get(where) != frontend
        }
        return changes | self._left(before.keys() - state.keys())

    def _serves(self, state: LbState) -> bool:
        return any(b.node == self._node for frontend in state.values() for b in frontend.active)

    def _left(self, gone: Iterable[L4Address]) -> dict[L4Address, Frontend | None]:
        """Return what becomes of frontends that a Service no longer has.

        Another may have taken one over before, and the maps hold what the first wrote last.
        """
        found: dict[L4Address, Frontend | None] = dict.fromkeys(gone)
        for state in self._states.values() if found else ():
            found |= {where: state[where] for where in found.keys() & state.keys()}
        return found

    def _vips(self) -> dict[bytes, bytes]:
        serving: dict[Address, set[str]] = defaultdict(set)
        for state in self._states.values():
            for where, frontend in state.items():
                if frontend.external:
                    serving[where.address] |= {b.node for b in frontend.active}
        return {
            write_address(address): structs.Vip(self._vip_flags(address, nodes)).write()
            for address, nodes in serving.items()
        }

    def _vip_flags(self, address: Address, nodes: set[str]) -> VipFlag:
        on_link = address in self._uplink.network
        answers = on_link and answering_node(address, nodes) == self._node
        return VipFlag.PING | VipFlag.ARP if answers else VipFlag.PING

    def _report(self, what: str, failed: list[str]) -> None:
        for line in failed:
            if line not in self._failed[what]:
                log.error("%s: %s", what, line)
        self._failed[what] = set(failed)
