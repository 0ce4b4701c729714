"""`cairn agent`: wires one node's network and keeps it as the cluster's objects say.

    options, environment  ->  a running agent; exit status 1 with one line if it cannot run

Start       kernel probe, own Node, uplink, programs (taking over what is pinned), pods (likewise),
            the cluster's objects, first reconciliation, then CNI: a pod is wired only when the
            node can forward for it.
"""

import argparse
import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cairn.agent.bgp import BgpLink
from cairn.agent.cluster import Cluster
from cairn.agent.cni_config import write_cni_config
from cairn.agent.cni_server import CniServer, is_whole
from cairn.agent.dead_sockets import DeadSockets
from cairn.agent.drop_log import log_drops
from cairn.agent.early_drops import EarlyDrops
from cairn.agent.endpoint_publisher import EndpointPublisher
from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.host_guard import HostGuard
from cairn.agent.l2 import L2
from cairn.agent.metrics import PORT, MetricsServer, NodeMetrics
from cairn.agent.node_metrics import AgentMetrics
from cairn.agent.node_record import NodeRecord, wait_for_node
from cairn.agent.path_proof import PathProof
from cairn.agent.policies import Policies
from cairn.agent.policy_metrics import PolicyMetrics
from cairn.agent.policy_rates import PolicyRates
from cairn.agent.reconciler import Reconciler
from cairn.agent.serving import Serving
from cairn.agent.upkeep import Upkeep
from cairn.apply import pod_link
from cairn.apply.data_plane import FIXED_MAPS, DataPlane
from cairn.apply.revision import RevisionMap
from cairn.apply.uplink import NoUplink, Uplink, find_uplink, prepare_node
from cairn.apply.xdp import XdpHook
from cairn.compile.announcements import Announced
from cairn.compile.xdp_form import Wish
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.daemon import collect_once, run_daemon
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.node import Node, NodeFacts
from cairn.libbpf import BpfError, probe
from cairn.linux import memory
from cairn.netlink.link_watch import watch_interface
from cairn.observe.map_fill import Notice

MAP_ENTRIES = (16, 1 << 24)
"""The fewest and the most entries that a map may be told to hold."""

log = logging.getLogger("agent")


@dataclass(frozen=True, slots=True)
class Options:
    """How the agent was started."""

    node: str
    kubeconfig: str | None
    run: Path
    bpf: Path
    cgroup: Path
    cni: Path
    metrics_port: int = 0
    map_sizes: Mapping[str, int] = field(default_factory=dict)
    xdp: Wish = Wish.AUTO


def main(argv: list[str]) -> int:
    """Run the agent until told to stop."""
    options = parse(argv)
    memory.share_arenas()
    return run_daemon("agent", run(options))


def parse(argv: list[str]) -> Options:
    """Return the options; leaves with status 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="cairn agent", description="Run one node's network.")
    parser.add_argument("--node", default=os.environ.get("NODE_NAME"), help="default: $NODE_NAME")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the pod's account")
    parser.add_argument("--run", type=Path, default=Path("/run/cairn"), help="sockets, records")
    parser.add_argument("--bpf", type=Path, default=Path("/sys/fs/bpf/cairn"), help="pins")
    parser.add_argument("--cgroup", type=Path, default=cgroup_default(), help="the node's cgroup")
    parser.add_argument("--cni", type=Path, default=Path("/etc/cni/net.d"), help="CNI conf folder")
    parser.add_argument("--metrics", type=int, default=PORT, metavar="PORT",
                        help="of GET /metrics at the node's addresses; 0: none")  # fmt: skip
    parser.add_argument("--map-size", type=map_size, action="append", metavar="MAP=ENTRIES",
                        help="how much a map holds, e.g. conntrack=500000; default: what "
                        "$CAIRN_MAP_SIZES names, separated by commas")  # fmt: skip
    parser.add_argument("--xdp", choices=[wish.value for wish in Wish], default=Wish.AUTO.value,
                        help="what to do before the kernel makes packets of frames; default: what "
                        "fits the uplink's device")  # fmt: skip
    found = parser.parse_args(argv)
    if not found.node:
        parser.error("which node is this? set NODE_NAME or pass --node")
    sizes = found.map_size
    if sizes is None:
        try:
            sizes = [
                map_size(word) for word in os.environ.get("CAIRN_MAP_SIZES", "").split(",") if word
            ]
        except argparse.ArgumentTypeError as error:
            parser.error(f"CAIRN_MAP_SIZES: {error}")
    return Options(
        found.node,
        found.kubeconfig,
        found.run,
        found.bpf,
        found.cgroup,
        found.cni,
        found.metrics,
        dict(sizes),
        Wish(found.xdp),
    )


def map_size(text: str) -> tuple[str, int]:
    """Return a map's name and how many entries it is to hold."""
    name, _, number = text.partition("=")
    if not name or name in FIXED_MAPS:
        raise argparse.ArgumentTypeError(f"{name!r} is no map whose size can be chosen")
    if not number.isdecimal() or not MAP_ENTRIES[0] <= int(number) <= MAP_ENTRIES[1]:
        raise argparse.ArgumentTypeError(
            f"{text!r}: a map holds {MAP_ENTRIES[0]} to {MAP_ENTRIES[1]:,} entries"
        )
    return name, int(number)


def cgroup_default() -> Path:
    """Return where cgroup v2 usually is: alone, or beside version 1."""
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.is_dir() else Path("/sys/fs/cgroup")


async def run(options: Options) -> None:
    """Run until cancelled; raises OSError with one line if the node cannot be served."""
    missing = probe(options.bpf.parent)
    if missing:
        raise OSError("; ".join(item.sentence for item in missing))
    async with Client.connect(options.kubeconfig) as client:
        node = await wait_for_node(client, options.node)
        try:
            # pyroute2 runs an event loop of its own, which must not be inside ours.
            uplink = await asyncio.to_thread(find_uplink_of, node)
            agent = Agent(options, client, node, uplink)
            await agent.run()
        except (BpfError, NoUplink) as error:
            raise OSError(str(error)) from error


def find_uplink_of(node: Node) -> Uplink:
    """Return the uplink of the node's addresses and make the kernel forward."""
    uplink = find_uplink(*node.internal_ips)
    for name in prepare_node(uplink):
        log.warning("the kernel has no setting %s: forwarding may not work", name)
    return uplink


class Agent:
    """The parts of one agent, wired."""

    def __init__(self, options: Options, client: Client, node: Node, uplink: Uplink) -> None:
        self._options = options
        self._client = client
        self._node = node
        self._uplink = uplink
        self._data_plane = DataPlane.load(options.bpf, uplink, options.map_sizes)
        self._store = EndpointStore(options.run / "endpoints")
        self._cluster = Cluster(client, node.name)
        facts = NodeFacts(node.name, node.internal_ips, node.pod_networks, uplink.mac)
        self._bgp = BgpLink(client, self._cluster, facts, options.run / "speaker.sock")
        maps = self._data_plane.maps
        self._sockets = DeadSockets(client, maps["socket_reverse"], self._store.netns)
        self._l2 = L2(client, self._cluster.services, facts, uplink, options.run / "speaker.sock")
        self._mtu_bytes = uplink.mtu_bytes
        self._recorder = EventRecorder(client, "cairn-agent")
        self._early = EarlyDrops(
            maps, XdpHook(self._data_plane, uplink, RevisionMap(maps)), options.xdp
        )
        self._serving = Serving(
            client,
            self._cluster,
            node.name,
            PathProof(self._data_plane, uplink).prove,
            self._recorder,
            on_serving=self._bgp.services,
        )
        self._reconciler = Reconciler(
            self._cluster,
            self._data_plane,
            uplink,
            node.name,
            on_services=self._take_services,
            on_release=self._sockets.release,
            elect=self._l2.elect,
            set_mtu=self._set_mtu,
            early=self._early,
        )
        self._l2.on_neighbours = self._bgp.watch
        self._l2.on_change = self._reconciler.elect_again
        self._reconciler.vips.on_answered = self._l2.answer
        self._policies = self._make_policies()
        self._publisher = EndpointPublisher(client, node, self._policies.of_endpoint)
        self._guard = self._make_guard()
        self._rates = self._make_rates()
        self._policies.keeper.before_compile = self._guard.look
        self._policies.keeper.on_written = self._policies_written
        self._upkeep = Upkeep(maps, self._tell)
        self._metrics = self._make_metrics()

    def _make_policies(self) -> Policies:
        return Policies(
            self._client,
            self._node,
            self._uplink.addresses,
            cluster=self._cluster,
            endpoints=self._store,
            maps=self._data_plane.maps,
            run=self._options.run,
            recorder=self._recorder,
        )

    def _make_guard(self) -> HostGuard:
        return HostGuard(
            self._node.name,
            self._policies.engine,
            self._cluster,
            segments=self._uplink.networks,
            policies=self._policies.about_node,
            on_change=self._policies.keeper.look_again,
        )

    def _make_rates(self) -> PolicyRates:
        return PolicyRates(
            self._policies.engine,
            self._policies.rules,
            self._data_plane.maps,
            self._early,
            wired=lambda: self._policies.pods.wired,
            frontends=self._reconciler.states,
            nodes=self._uplink.addresses,
            on_change=self._cluster.changed.set,
        )

    def _make_metrics(self) -> MetricsServer:
        maps, upkeep = self._data_plane.maps, self._upkeep
        self._policies.maps.with_proxies = lambda: upkeep.flows is None or upkeep.flows.proxied > 0
        node = NodeMetrics(maps, self._options.bpf, upkeep, self._reconciler.name_backends)
        own = AgentMetrics(self._cluster, self._reconciler, self._policies.keeper, self._bgp)
        return MetricsServer(
            (node, PolicyMetrics(maps, self._policies), own),
            self._uplink.addresses,
            self._options.metrics_port,
        )

    async def run(self) -> None:
        """Start in order, then follow the cluster until cancelled."""
        await asyncio.to_thread(self._take_over_pods)
        self._data_plane.attach_node(self._options.cgroup)
        log.info(
            "node %s on %s (%s), programs attached, %d pods taken over",
            self._node.name,
            self._uplink.name,
            self._uplink.address,
            len(tuple(self._store)),
        )
        async with asyncio.TaskGroup() as tasks:
            record = NodeRecord(self._client, self._node, self._uplink)
            self._early.on_state = record.tell_xdp
            tasks.create_task(record.keep())
            tasks.create_task(watch_interface(self._uplink.name, self._look_again(record)))
            for runner in (*self._cluster.runners(), *self._policies.runners()):
                tasks.create_task(runner)
            await self._fill(tasks)
            await self._policies.keeper.start()
            collect_once()
            memory.trim()
            tasks.create_task(self._policies.keeper.run())
            tasks.create_task(self._guard.run())
            server = await self._serve_cni()
            tasks.create_task(server.serve_forever())
            rules = self._reconciler
            tasks.create_task(
                self._serving.run(rules.set_ejected, rules.counters, lambda: rules.healthy)
            )
            tasks.create_task(rules.run())
            tasks.create_task(self._bgp.run())
            tasks.create_task(self._publisher.run(self._store))
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._upkeep.run())
            tasks.create_task(self._metrics.run())
            tasks.create_task(self._sockets.run(self._reconciler.serves))
            tasks.create_task(log_drops(self._data_plane.maps["events"], self._policies.names))
            log.info("ready")

    async def _fill(self, tasks: asyncio.TaskGroup) -> None:
        """Read the cluster's objects and make the data plane what they say."""
        clock = asyncio.get_running_loop().time
        began = clock()
        await self._cluster.synced()
        await self._l2_started(tasks)
        read = clock()
        await self._reconciler.start()
        log.info(
            "%d services: read in %.2f s, %d frontends in force after %.2f s more",
            len(self._cluster.services),
            read - began,
            self._reconciler.frontends,
            clock() - read,
        )

    def _tell(self, notice: Notice) -> None:
        name, uid = self._node.name, self._node.metadata.uid
        about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": uid}}
        self._recorder.record(about, notice.reason, notice.message, warning=notice.warning)

    async def _l2_started(self, tasks: asyncio.TaskGroup) -> None:
        started = asyncio.Event()
        tasks.create_task(self._l2.run(started))
        await started.wait()

    async def _serve_cni(self) -> asyncio.Server:
        cni = CniServer(
            self._store,
            self._node.pod_networks,
            mtu_bytes=lambda: self._mtu_bytes,
            on_create=self._data_plane.attach_pod,
            on_add=self._add_pod,
            on_delete=partial(self._delete_pod, asyncio.get_running_loop()),
            admit=self._policies.admit,
        )
        socket = self._options.run / "agent.sock"
        server = await cni.serve(socket)
        write_cni_config(self._options.cni, socket)
        return server

    def _take_services(self, services: Mapping[Key, Announced], changed: Collection[Key]) -> None:
        self._serving.services(services, changed)
        if changed and self._policies.keeper.ready:
            self._limit()

    def _policies_written(self) -> None:
        self._publisher.changed.set()
        self._limit()

    def _limit(self) -> None:
        """Have the rate limits of policies where they belong."""
        for text in self._rates.apply():
            log.error("rate limits of policies: %s", text)

    def _take_over_pods(self) -> None:
        for endpoint in self._store:
            if not is_whole(endpoint):
                log.info("pod %s/%s went while away", endpoint.namespace, endpoint.pod)
                # An ADD that was broken off may have left the link: its address goes to others.
                pod_link.disconnect(endpoint.host_ifname)
                self._store.remove(endpoint)
        self._data_plane.take_over(self._store)

    def _look_again(self, record: NodeRecord) -> Callable[[], None]:
        def look() -> None:
            record.look.set()
            self._cluster.dirty_nodes = True
            self._cluster.changed.set()

        return look

    def _set_mtu(self, mtu_bytes: int) -> list[str]:
        """Give every pod this MTU, now and when it comes; return what failed."""
        if mtu_bytes != self._mtu_bytes:
            log.info("MTU of pods: %d", mtu_bytes)
        self._mtu_bytes = mtu_bytes
        failed = []
        for endpoint in tuple(self._store):
            try:
                pod_link.set_mtu(endpoint, mtu_bytes)
            except pod_link.WiringFailed as error:
                if is_whole(endpoint):  # else it went meanwhile
                    failed.append(f"pod {endpoint.namespace}/{endpoint.pod}: {error}")
        return failed

    def _add_pod(self, endpoint: PodEndpoint) -> None:
        pod_link.set_mtu(endpoint, self._mtu_bytes)  # it may have changed since it was wired
        self._publisher.changed.set()

    def _delete_pod(self, loop: asyncio.AbstractEventLoop, endpoint: PodEndpoint) -> None:
        self._data_plane.detach_pod(endpoint)
        self._policies.unwire_from(loop, endpoint)
        self._publisher.changed.set()
