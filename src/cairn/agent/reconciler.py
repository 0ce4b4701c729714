"""From what changed in the cluster to what the node does about it.

    Cluster (dirty keys)  ->  frontends, addresses, peers, routes, announcements  ->  appliers

Invariants  One changed Service is compiled and written alone.
            A write that failed is said once and tried again; nothing that is found in an object or
            refused by the kernel ends the loop.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from cairn.abi.structs import BackendCounters
from cairn.agent.cluster import Cluster
from cairn.agent.early_drops import EarlyDrops
from cairn.agent.ejections import Ejections
from cairn.agent.frontend_table import FrontendTable
from cairn.agent.reach import Reach, SetMtu
from cairn.agent.vip_table import Elect, VipTable
from cairn.apply.backend_table import BackendPlace
from cairn.apply.data_plane import DataPlane
from cairn.apply.load_balancer import LoadBalancer
from cairn.apply.map_content import apply_content
from cairn.apply.peers import prefix_of
from cairn.apply.uplink import Uplink
from cairn.compile.announcements import NOWHERE, Announced
from cairn.compile.ejection import exclude_ejected
from cairn.compile.health_checks import local_frontends
from cairn.compile.host_ports import compile_host_ports
from cairn.compile.l2 import serving_node
from cairn.compile.pool_networks import refused_networks
from cairn.compile.services import compile_service
from cairn.desired.load_balancer import Frontend, LbState
from cairn.drive.metrics_text import Histogram
from cairn.kube.metadata import Key
from cairn.libbpf import BpfError, Map
from cairn.net import L4Address
from cairn.netlink.iproute import NetlinkError
from cairn.observe.lb_rows import BackendName, name_of

RETRY_S = 2.0
RESYNC_S = 30.0
"""How often the kernel's routes are compared with what they should be."""
AT_ONCE = 256
"""Services whose frontends are written together."""
_HELD = b"\1\0\0\0"

_NONE_HERE: Mapping[int, int] = {}
"""For the many Services without a backend here: held once."""

OnServices = Callable[[Mapping[Key, Announced], Collection[Key]], None]
"""Takes the Services as they are, and which of them changed since the last time."""

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
        on_services: OnServices,
        elect: Elect = serving_node,
        on_release: Callable[[BackendPlace], None] = lambda _: None,
        set_mtu: SetMtu | None = None,
        early: EarlyDrops | None = None,
    ) -> None:
        self._cluster = cluster
        self._data_plane = data_plane
        self._uplink = uplink
        self._node = node
        self._on_services = on_services
        self._reach = Reach(data_plane, uplink, node, set_mtu=set_mtu)
        self._balancer = LoadBalancer(
            data_plane.maps, node, self._reach.peers, on_release=on_release
        )
        self._ejections = Ejections(node)
        self._early = early or EarlyDrops(data_plane.maps)
        self._frontends = FrontendTable()
        self.vips = VipTable(data_plane.maps, uplink, node, elect)
        """The addresses that this node serves."""
        self._announced: dict[Key, Announced] = {}
        self._failed: dict[str, set[str]] = defaultdict(set)
        self._retry: set[Key] = set()
        self._everything = False
        self._broken = ""
        self.reconciled_at = 0.0
        """When a pass last ended well, since 1970."""
        self.took = Histogram()
        """From the API server's word of a Service to its frontends in the maps."""

    async def start(self) -> None:
        """Apply everything once, and remove what an earlier agent left that is no more."""
        await self._apply_nodes()
        self._apply_pools()
        self._ejections.set_nodes(self._cluster.nodes.values())
        self._cluster.dirty_services.clear()
        self._cluster.dirty_pods.clear()
        self._apply_pods(set(self._cluster.pods), whole=True)
        self._apply_groups()
        await self._apply_services(set(self._cluster.services), whole=True)
        stale = dict.fromkeys(w for w in self._balancer.frontends if w not in self._frontends)
        self._report("stale services", [str(failure) for failure in self._balancer.apply(stale)])
        self._balancer.prune_backends()
        self._early.advance()
        self._report("XDP", await self._early.apply_hook())
        self.reconciled_at = time.time()

    def states(self) -> LbState:
        """Return the frontends of all Services and pods."""
        return self._frontends.states()

    @property
    def frontends(self) -> int:
        """How many frontends the maps hold."""
        return len(self._balancer.frontends)

    async def run(self) -> None:
        """Apply changes as they come, until cancelled."""
        while True:
            await self._wait()
            began, asked = self._cluster.changed_at, bool(self._cluster.dirty_services)
            try:
                try:
                    await self._pass()
                finally:
                    self._early.advance()
                self._report("XDP", await self._early.apply_hook())
                self._broken = ""
                self.reconciled_at = time.time()
                if asked:
                    self.took.observe(time.monotonic() - began)
            except (BpfError, NetlinkError, OSError, ValueError, LookupError) as error:
                # What was half done is not known: the next pass does everything.
                self._everything = True
                if str(error) != self._broken:
                    log.error("the node's state is not as it should be: %s; trying again", error)
                self._broken = str(error)

    def serves(self, backend: BackendPlace) -> bool:
        """Return whether any frontend uses a backend."""
        return self._balancer.serves(backend)

    def counters(self, backend: L4Address) -> BackendCounters | None:
        """Return what connections to a backend came to; None if the maps do not have it."""
        return self._balancer.counters(backend)

    @property
    def broken(self) -> str:
        """Why the last pass did not end; empty if it did."""
        return self._broken

    @property
    def failures(self) -> Mapping[str, Collection[str]]:
        """What could not be written, by what it is about."""
        return {what: lines for what, lines in self._failed.items() if lines}

    @property
    def maps(self) -> Mapping[str, Map]:
        """The data plane's maps."""
        return self._data_plane.maps

    def written(self) -> Mapping[L4Address, tuple[int, tuple[int, ...]]]:
        """Return what the load balancer's maps were last made to hold."""
        return self._balancer.written()

    @property
    def healthy(self) -> bool:
        """Whether the node's state is as it should be."""
        return not (self._broken or self._everything or self._retry)

    def set_ejected(self, own: frozenset[L4Address]) -> None:
        """Leave these backends of this node out: they do not serve. The next pass does it, now."""
        changed = self._ejections.set_own(own)
        if changed:
            self._mark_users(changed)
            self._cluster.changed.set()

    def _mark_users(self, backends: frozenset[L4Address]) -> None:
        """Have the Services compiled again that stand before any of these backends."""
        for where in self._balancer.frontends_of(backends):
            for name in self._frontends.claimants(where):
                kind, _, key = name.partition(" ")
                if kind == "service":
                    self._cluster.dirty_services.add(Key(*key.split("/")))

    def name_backends(self, numbers: Collection[int]) -> dict[int, BackendName]:
        """Return what people call these backends of the maps; unknown ones are left out."""
        found = {}
        for number, ((address, port), users) in self._balancer.users(numbers).items():
            services = sorted({self._frontends.service(where) for where in users} - {""})
            found[number] = BackendName(name_of(address, port), ",".join(services))
        return found

    def elect_again(self) -> None:
        """Decide anew who answers ARP and ND for every address: a node came or went."""
        self.vips.elect_again()
        self._report("addresses", self.vips.write())
        self._early.advance()

    async def _pass(self) -> None:
        whole, self._everything = self._everything, False
        if self._cluster.dirty_groups or self._cluster.dirty_nodes or whole:
            self._apply_groups()
        if self._cluster.dirty_nodes or whole:
            # Backends name their node by index: a node that is new there changes them all.
            whole |= await self._apply_nodes()
        if self._cluster.dirty_pools or whole:
            self._apply_pools()
        pods, self._cluster.dirty_pods = self._cluster.dirty_pods, set()
        if pods or whole:
            self._apply_pods({*self._cluster.pods, *pods} if whole else pods, whole=whole)
        if self._cluster.dirty_ejections:
            self._cluster.dirty_ejections = False
            self._mark_users(self._ejections.set_nodes(self._cluster.nodes.values()))
        dirty = self._cluster.dirty_services | self._retry
        self._cluster.dirty_services = set()
        if dirty or whole:
            keys = {*self._cluster.services, *self._announced, *dirty} if whole else dirty
            await self._apply_services(keys, whole=whole)
        elif self._cluster.dirty_bgp or self._cluster.dirty_probes:
            self._on_services(self._announced, ())
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
        """Write the other nodes; return whether what backends say of them is another now."""
        self._cluster.dirty_nodes = False
        facts = tuple(self._cluster.nodes.values())
        before = self._reach.peers.index, self._balancer.zone
        failed = await asyncio.to_thread(self._reach.apply, facts)
        own = self._cluster.nodes.get(self._node)
        self._balancer.zone = own.zone if own else ""
        addresses = {address for node in facts for address in node.internal_ips}
        self.vips.set_nodes(addresses | set(self._uplink.addresses))
        failed += self.vips.write()
        self._report("nodes", failed)
        return (self._reach.peers.index, self._balancer.zone) != before

    def _apply_pools(self) -> None:
        self._cluster.dirty_pools = False
        networks = refused_networks(self._cluster.pools.values(), self._uplink.networks)
        desired = {prefix_of(network).write(): _HELD for network in networks}
        self._report("pools", apply_content(self._data_plane.maps["pools"], desired))

    def _apply_groups(self) -> None:
        self._cluster.dirty_groups = False
        nodes = {a for node in self._cluster.nodes.values() for a in node.internal_ips}
        groups = self._cluster.groups.values()
        nodes |= set(self._uplink.addresses)
        self._report("deny list", self._early.apply_groups(groups, nodes))

    def _apply_pods(self, keys: Iterable[Key], *, whole: bool = False) -> None:
        changes: dict[L4Address, Frontend | None] = {}
        for key in keys:
            pod = self._cluster.pods.get(key)
            state = compile_host_ports(pod, self._uplink.addresses) if pod else {}
            changes |= self._changes(f"pod {key}", state, whole=whole)
        failed = [str(failure) for failure in self._balancer.apply(changes)]
        self._everything |= bool(failed)
        self._report("host ports", failed)

    async def _apply_services(self, keys: Iterable[Key], *, whole: bool = False) -> None:
        failed: list[str] = []
        retry, self._retry = self._retry, set()
        changed: set[Key] = set()
        listed = list(keys)
        for at in range(0, len(listed), AT_ONCE):
            of: dict[L4Address, Key] = {}
            changes: dict[L4Address, Frontend | None] = {}
            for key in listed[at : at + AT_ONCE]:
                announced = self._announced.get(key)
                own = self._compile(key, whole=whole or key in retry)
                changes |= own
                of |= dict.fromkeys(own, key)
                if self._announced.get(key) != announced:
                    changed.add(key)
            for failure in self._balancer.apply(changes):
                failed.append(str(failure))
                self._retry.add(of[failure.where])
            self._early.advance()
            await asyncio.sleep(0)
        vips = self.vips.write(whole=whole)
        self._everything |= bool(vips)
        self._report("services", failed + vips)
        self._report("claims", [_claim(*three) for three in self._frontends.contested()])
        self._on_services(self._announced, changed)

    def _compile(self, key: Key, *, whole: bool) -> dict[L4Address, Frontend | None]:
        """Compile one Service and return the frontends to write: all of it, or what changed."""
        service = self._cluster.services.get(key)
        state: LbState = {}
        self._announced.pop(key, None)
        if service is not None:
            state = compile_service(service, self._cluster.slices.get(key, {}).values())
            state = exclude_ejected(state, self._ejections.by_node)
            here = local_frontends(service, state, self._node) or NOWHERE
            self._announced[key] = Announced(service, self._serves(state), here)
        self.vips.update(key, state)
        self._early.note(key, service)
        return self._changes(f"service {key}", state, whole=whole)

    def _changes(
        self, name: str, state: LbState, *, whole: bool
    ) -> dict[L4Address, Frontend | None]:
        changes = self._frontends.update(name, state)
        return changes | dict(self._frontends.holders(name)) if whole else changes

    def _serves(self, state: LbState) -> Mapping[int, int]:
        """Return how many ready backends of each IP version this node has."""
        here = {
            backend.address.address
            for frontend in state.values()
            for backend in frontend.backends
            if backend.node == self._node and not backend.draining and not backend.ejected
        }
        return Counter(address.version for address in here) if here else _NONE_HERE

    def _report(self, what: str, failed: list[str]) -> None:
        for line in failed:
            if line not in self._failed[what]:
                log.error("%s: %s", what, line)
        self._failed[what] = set(failed)


def _claim(where: L4Address, held: Frontend, claim: Frontend) -> str:
    return (
        f"{where} ({claim.kind.value}) of {claim.service} is {held.service}'s "
        f"({held.kind.value}): change one of them"
    )
