"""What this node may say that it serves: backends that are well, on a path that is proven.

    Announced Services of the reconciler, verdicts of the checks, proofs
    ->  Announced Services for BGP, ejected backends, answers on health check ports, Events

An address goes out once a backend of this node behind it has passed its check (or is not checked)
and a packet to it was seen to reach one. It is taken back with the last backend, at once.

Invariants  After the agent's start nothing is told before every backend was judged, or SETTLE_S
            passed: the speaker keeps what it was told by the agent before.
            What is not served though it should be is said in the log and in an Event.
Cost        a changed Service: its own backends and frontends; a verdict: the backend's Services
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from cairn.agent.check_plan import CheckPlan
from cairn.agent.cluster import Cluster
from cairn.agent.ejection_publisher import EjectionPublisher
from cairn.agent.health_monitor import Count, HealthMonitor, Verdict
from cairn.agent.health_ports import HealthPorts, LocalService
from cairn.agent.path_proof import Prove, ProvenPaths
from cairn.agent.reconciler import OnServices
from cairn.agent.serving_events import ServingEvents
from cairn.compile.announcements import Announced
from cairn.compile.endpoint_faults import endpoint_faults
from cairn.desired.load_balancer import Frontend, Kind
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.health.backend import Ejected, Health, Restored
from cairn.kube.metadata import Key
from cairn.kube.service import Service
from cairn.net import Address, L4Address

SETTLE_S = 2.0
RETRY_S = 1.0
"""A path that could not be proven is tried again after this."""
BEFORE_RESTART = "ejected before the agent's restart, not seen well since"

SetEjected = Callable[[frozenset[L4Address]], None]


class Serving:
    """Decides what one node serves."""

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        node: str,
        prove: Prove,
        recorder: EventRecorder,
        *,
        on_serving: OnServices,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._on_serving = on_serving
        self._events = ServingEvents(recorder, cluster, node)
        self._monitor = HealthMonitor(self._verdict)
        self._ports = HealthPorts(self._port_failed)
        self._publisher = EjectionPublisher(client, cluster, node)
        self._plan = CheckPlan(node)
        self._paths = ProvenPaths(prove)
        self._seen: dict[Key, Announced] = {}
        self._told: dict[Key, Announced] = {}
        self._news: set[Key] = set()
        self._pathless: dict[Key, str] = {}
        self._set_ejected: SetEjected | None = None
        self._settled = False

    def services(self, announced: Mapping[Key, Announced], changed: Collection[Key]) -> None:
        """Take the Services as the node's maps hold them now, and which of them changed."""
        changed = set(changed)
        pods, self._cluster.dirty_probes = self._cluster.dirty_probes, set()
        if pods:
            self._plan.set_pods(self._cluster.probes.values())
            known = (self._cluster.probes.get(pod) for pod in pods)
            addresses = frozenset(a for pod in known if pod for a in pod.addresses)
            changed |= self._plan.users_at(addresses)
        for key in changed:
            self._take(key, announced.get(key))
        self._spread_ejections()
        self._tell()

    async def run(
        self, set_ejected: SetEjected, count: Count, is_healthy: Callable[[], bool]
    ) -> None:
        """Check, prove and answer until cancelled.

        `set_ejected` takes backends out of the node's maps, `count` tells what connections to a
        backend came to, `is_healthy` whether the maps are as they should be.
        """
        self._set_ejected = set_ejected
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._monitor.run(count))
            tasks.create_task(self._ports.run(is_healthy))
            tasks.create_task(self._publisher.run())
            await asyncio.sleep(SETTLE_S)
            self._settled = True
            self._tell()
            while True:
                await asyncio.sleep(RETRY_S)
                if self._pathless:
                    for key in tuple(self._pathless):
                        self._judge(key)
                    self._tell()

    @property
    def unproven(self) -> Mapping[Key, str]:
        """Services with ready backends here whose path could not be proven, and why."""
        return self._pathless

    def _take(self, key: Key, entry: Announced | None) -> None:
        before = self._seen.pop(key, None)
        if entry is not None:
            self._seen[key] = entry
        checks, wrong = self._plan.update(key, entry)
        own = self._cluster.nodes.get(self._node)
        for where, check in checks:
            remembered = own is not None and not self._settled and where in own.ejected
            self._monitor.set(where, check, ejected=BEFORE_RESTART if remembered else None)
            if check is None:
                self._events.forget(where)
        if entry is not None:
            self._events.wrong(entry.service, "annotation", "HealthCheckUnreadable", wrong)
            self._tell_of_endpoints(entry.service)
        if before is not None:
            self._paths.forget(before.here.keys() - (entry.here if entry else {}).keys())
        self._judge(key)

    def _tell_of_endpoints(self, service: Service) -> None:
        """Tell of endpoints that are named in vain; one node does it for all."""
        slices = self._cluster.slices.get(service.key, {}).values()
        speaks = self._node == min(self._cluster.nodes, default=self._node)
        for about, reason, text in endpoint_faults(service, slices):
            self._events.wrong(service, about, reason, text if speaks else "")

    def _judge(self, key: Key) -> None:
        """Decide which addresses of a Service this node serves."""
        entry = self._seen.get(key)
        self._pathless.pop(key, None)
        self._ports.set(key, self._answer(entry))
        before = self._told.pop(key, None)
        if entry is not None:
            self._told[key] = self._decided(entry)
        else:
            self._events.gone(key)
        if self._told.get(key) != before:
            self._news.add(key)

    def _decided(self, entry: Announced) -> Announced:
        """Return a Service with those of its addresses that this node is known to serve."""
        service = entry.service
        if not service.load_balancer_ips:
            return entry
        served: set[Address] = set()
        wrong = ""
        for where, frontend in entry.here.items():
            if frontend.kind is not Kind.LOAD_BALANCER or not self._well(frontend):
                continue
            problem = self._paths.prove(where, frontend, frozenset(frontend.active))
            if problem:
                wrong = wrong or f"{where} is not announced by {self._node}: {problem}"
            else:
                served.add(where.address)
        if wrong:
            self._pathless[service.key] = wrong
        self._events.wrong(service, "path", "PathNotProven", wrong)
        withheld = tuple(a for a in service.load_balancer_ips if a not in served)
        return replace(entry, withheld=withheld)

    def _answer(self, entry: Announced | None) -> tuple[int, LocalService] | None:
        """Return what a Service's healthCheckNodePort says, and the port; None without one."""
        if entry is None or not entry.service.health_check_node_port:
            return None
        serving = {
            backend.address.address
            for frontend in entry.here.values()
            for backend in frontend.active
            if not backend.ejected and self._monitor.health(backend.address) is not Health.EJECTED
        }
        found = LocalService(entry.service.key, len(serving))
        return entry.service.health_check_node_port, found

    def _well(self, frontend: Frontend) -> bool:
        """Return whether a backend of this node is known to serve, or taken to, unchecked."""
        return any(
            not backend.ejected and self._monitor.health(backend.address) in (None, Health.HEALTHY)
            for backend in frontend.active
        )

    def _verdict(self, where: L4Address, event: Verdict) -> None:
        keys = self._plan.users(where)
        services = [self._seen[key].service for key in keys if key in self._seen]
        if isinstance(event, Ejected):
            self._events.ejected(where, event, services)
        elif isinstance(event, Restored):
            self._events.restored(where, event, services)
        self._spread_ejections()
        for key in keys:
            self._judge(key)
        self._tell()

    def _spread_ejections(self) -> None:
        """Have this node and the others leave out what is ejected, if that changed."""
        ejected = self._monitor.ejected
        self._publisher.set(ejected)
        if self._set_ejected is not None:
            self._set_ejected(frozenset(ejected))

    def _tell(self) -> None:
        self._settled = self._settled or not self._monitor.undecided
        if self._settled:
            news, self._news = self._news, set()
            self._on_serving(self._told, news)

    def _port_failed(self, key: Key, port: int, reason: str) -> None:
        entry = self._seen.get(key)
        text = f"healthCheckNodePort {port} of {self._node} cannot be opened: {reason}"
        if entry is not None:
            text = f"{text}; set another, or free it" if reason else ""
            self._events.wrong(entry.service, "port", "HealthCheckNodePortFailed", text)
