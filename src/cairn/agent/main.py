"""`cairn agent`: wires one node's network and keeps it as the cluster's objects say.

    options, environment  ->  a running agent; exit status 1 with one line if it cannot run

Start       kernel probe, own Node, uplink, programs (taking over what is pinned), pods (likewise),
            the cluster's objects, first reconciliation, then CNI: a pod is wired only when the
            node can forward for it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial

from cairn.agent.bgp import BgpLink
from cairn.agent.cluster import Cluster
from cairn.agent.cni_config import write_cni_config
from cairn.agent.cni_server import CniServer, is_whole
from cairn.agent.dead_sockets import DeadSockets
from cairn.agent.early_drops import EarlyDrops
from cairn.agent.endpoint_publisher import EndpointPublisher
from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.flow_metrics import FlowMetrics
from cairn.agent.flow_parts import FlowSources, make_flows
from cairn.agent.flow_question import FlowQuestion
from cairn.agent.flow_server import serve_flows
from cairn.agent.flows import Flows
from cairn.agent.happenings import Happenings
from cairn.agent.host_guard import HostGuard
from cairn.agent.l2 import L2
from cairn.agent.metrics import MetricsServer, NodeMetrics
from cairn.agent.node_metrics import AgentMetrics
from cairn.agent.node_record import NodeRecord, wait_for_node
from cairn.agent.observed_node import ObservedNode
from cairn.agent.options import Options, parse
from cairn.agent.path_proof import PathProof
from cairn.agent.policies import Policies
from cairn.agent.policy_metrics import PolicyMetrics
from cairn.agent.policy_rates import PolicyRates
from cairn.agent.reconciler import Reconciler
from cairn.agent.self_report import SelfReport
from cairn.agent.serving import Serving
from cairn.agent.upkeep import Upkeep
from cairn.apply import pod_link
from cairn.apply.data_plane import DataPlane
from cairn.apply.revision import RevisionMap
from cairn.apply.uplink import NoUplink, Uplink, find_uplink, prepare_node
from cairn.apply.xdp import XdpHook
from cairn.compile.announcements import Announced
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

log = logging.getLogger("agent")


def main(argv: list[str]) -> int:
    """Run the agent until told to stop."""
    options = parse(argv)
    memory.share_arenas()
    return run_daemon("agent", run(options))


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
        self._data_plane = DataPlane.load(
            options.bpf, uplink, options.map_sizes, events=options.events
        )
        self._store = EndpointStore(options.run / "endpoints")
        self._cluster = Cluster(client, node.name)
        facts = NodeFacts(node.name, node.internal_ips, node.pod_networks, uplink.mac)
        self._bgp = BgpLink(client, self._cluster, facts, options.run / "speaker.sock")
        maps = self._data_plane.maps
        self._sockets = DeadSockets(client, maps["socket_reverse"], self._store.netns)
        self._l2 = L2(client, self._cluster.services, facts, uplink, options.run / "speaker.sock")
        self._mtu_bytes = uplink.mtu_bytes
        self._recorder = EventRecorder(client, "cairn-agent")
        self._hook = XdpHook(self._data_plane, uplink, RevisionMap(maps))
        self._early = EarlyDrops(maps, self._hook, options.xdp)
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
        self._happenings = Happenings(self._policies)
        self._publisher = EndpointPublisher(client, node, self._policies.of_endpoint)
        self._guard = self._make_guard()
        self._rates = self._make_rates()
        self._policies.keeper.on_written = self._policies_written
        self._upkeep = Upkeep(maps, self._tell, self._is_refused)
        self._flows = self._make_flows()
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
        guard = HostGuard(
            self._node.name,
            self._policies.engine,
            self._cluster,
            segments=self._uplink.networks,
            policies=self._policies.about_node,
            on_change=self._policies.keeper.look_again,
        )
        self._policies.keeper.before_compile = guard.look
        return guard

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

    def _make_flows(self) -> Flows:
        sources = FlowSources(self._data_plane, self._policies, self._cluster, self._upkeep)
        flows = make_flows(sources, self._node.name, self._options)
        flows.tracer.switch = self._switch_trace
        return flows

    def _switch_trace(self, on: bool) -> None:
        self._data_plane.trace(on=on)
        self._hook.reload()
        self._flows.kernel.reload()

    def _make_metrics(self) -> MetricsServer:
        maps, upkeep = self._data_plane.maps, self._upkeep
        self._policies.maps.with_proxies = lambda: upkeep.flows is None or upkeep.flows.proxied > 0
        node = NodeMetrics(maps, self._options.bpf, upkeep, self._reconciler.name_backends)
        own = AgentMetrics(self._cluster, self._reconciler, self._policies.keeper, self._bgp)
        store = self._flows.feed.store
        flows = FlowMetrics(self._flows.counts, store.__len__, self._flows.kernel.name)
        return MetricsServer(
            (node, PolicyMetrics(maps, self._policies), own, flows),
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
            tasks.create_task(self._flows.run(self._options.run / "dns.sock"))
            node = ObservedNode(
                self._node.name, self._flows.feed, self._happenings.events, self._cluster.nodes
            )
            tasks.create_task(serve_flows(node, self._options.run, self._options.flows_tls))
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

    def _is_refused(self) -> bool:
        """Return whether something is not in the maps that should be."""
        return not self._reconciler.healthy or bool(self._policies.maps.failed)

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
            on_create=self._attach_pod,
            on_add=self._add_pod,
            on_delete=partial(self._delete_pod, asyncio.get_running_loop()),
            admit=self._policies.admit,
            report=SelfReport(
                self._cluster,
                self._reconciler,
                self._policies,
                self._serving,
                self._flows,
            ),
            flows=FlowQuestion(self._flows.feed.store),
            trace=self._flows.tracer.serve,
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
        self._flows.start(self._store)

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

    def _attach_pod(self, endpoint: PodEndpoint) -> None:
        self._data_plane.attach_pod(endpoint)
        self._flows.kernel.add(endpoint)

    def _add_pod(self, endpoint: PodEndpoint) -> None:
        pod_link.set_mtu(endpoint, self._mtu_bytes)  # it may have changed since it was wired
        self._happenings.wired(endpoint)
        self._publisher.changed.set()

    def _delete_pod(self, loop: asyncio.AbstractEventLoop, endpoint: PodEndpoint) -> None:
        self._data_plane.detach_pod(endpoint)
        self._happenings.wired(endpoint, gone=True)
        self._flows.kernel.remove(endpoint)
        self._policies.unwire_from(loop, endpoint)
        self._publisher.changed.set()
