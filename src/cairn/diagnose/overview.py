"""The whole system on one screen: sessions, addresses, who announces what, what is wrong.

    Inventory (objects by resource)  ->  Overview (rows, problems)

Invariants  Every row that is not well has a problem that says why and what to do.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from cairn.diagnose.ejected import Ejection, ejections, pods_by_address
from cairn.diagnose.gaps import tell_gaps
from cairn.diagnose.l2 import answering_nodes, tell_l2
from cairn.diagnose.pods import PodCount, count_pods
from cairn.diagnose.policies import PolicyCounts, tell_policies
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Key, Object, key_of, metadata_of
from cairn.kube.node import XDP, Node
from cairn.kube.service import Service
from cairn.net import Address

SATISFIED = "cilium.io/IPAMRequestSatisfied"
ESTABLISHED = "established"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects that an overview is made from."""

    nodes: Sequence[Object]
    """v1.Node."""
    pods: Sequence[Object]
    """v1.Pod."""
    services: Sequence[Object]
    """v1.Service."""
    slices: Sequence[Object]
    """EndpointSlice."""
    pools: Sequence[Object] = ()
    """CiliumLoadBalancerIPPool."""
    policies: Sequence[Object] = ()
    """CiliumBGPPeeringPolicy."""
    node_configs: Sequence[Object] = ()
    """CiliumBGPNodeConfig."""
    cilium_nodes: Sequence[Object] = ()
    """CiliumNode."""
    l2_policies: Sequence[Object] = ()
    """CiliumL2AnnouncementPolicy."""
    network_policies: Sequence[Object] = ()
    """Network policies of every language, with kind and apiVersion."""
    others: Sequence[Object] = ()
    """Objects of every other kind that a user may write for Cairn, with kind and apiVersion."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or that its author should know."""

    subject: str
    """Kind and name."""
    what: str
    """What is wrong, and why."""
    remedy: str = ""
    """What to do."""
    severe: bool = True
    """Whether something does not work because of it."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node."""

    name: str
    address: str
    ready: bool
    agent: str
    """State of its agent's pod."""
    xdp: str
    """How the XDP program is at its uplink; empty until its agent has said."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One BGP session, seen from the node."""

    node: str
    peer: str
    asn: int
    state: str
    since: str
    """RFC 3339 time of the last change to Established."""
    announced: int
    """Prefixes announced to the peer."""


@dataclass(frozen=True, slots=True)
class AddressRow:
    """One Service of type LoadBalancer."""

    service: str
    addresses: tuple[str, ...]
    ports: str
    backends_ready: int
    backends: int
    announced_by: tuple[str, ...]
    """Nodes that announce it over BGP, by name."""
    answered_by: tuple[str, ...] = ()
    """Nodes that answer ARP and ND for it, by name."""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool."""

    name: str
    blocks: str
    used: str
    total: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What `cairn status` shows."""

    nodes: tuple[NodeRow, ...]
    sessions: tuple[SessionRow, ...]
    addresses: tuple[AddressRow, ...]
    pools: tuple[PoolRow, ...]
    policies: PolicyCounts = field(default_factory=PolicyCounts)
    problems: tuple[Problem, ...] = field(default=())

    @property
    def healthy(self) -> bool:
        """Whether nothing severe is wrong."""
        return not any(problem.severe for problem in self.problems)


def compile_overview(inventory: Inventory) -> Overview:
    """Return the overview of the objects."""
    problems: list[Problem] = []
    nodes = _nodes(inventory, problems)
    sessions = _sessions(inventory, problems)
    addresses = _addresses(inventory, problems)
    pools = _pools(inventory, problems)
    _policies(inventory, problems)
    problems.extend(Problem(*told) for told in tell_l2(inventory.services, inventory.l2_policies))
    problems.extend(
        Problem(told.subject, told.message, severe=told.severe)
        for told in tell_gaps(
            (*inventory.services, *inventory.pods, *inventory.policies, *inventory.others)
        )
    )
    counts, told_policies = tell_policies(inventory.network_policies)
    problems.extend(
        Problem(told.subject, told.message, severe=told.severe) for told in told_policies
    )
    return Overview(nodes, sessions, addresses, pools, counts, tuple(problems))


def _nodes(inventory: Inventory, problems: list[Problem]) -> tuple[NodeRow, ...]:
    agents: dict[str, PodCount] = count_pods(inventory.pods, "kube-system", {"k8s-app": "cairn"})
    xdp = {m.name: m.annotations.get(XDP, "") for m in map(metadata_of, inventory.cilium_nodes)}
    rows = []
    if not inventory.nodes:
        what = "has no node: no kubelet has registered"
        problems.append(Problem("the cluster", what, "cairn lab status"))
    for node in sorted(map(Node.from_object, inventory.nodes), key=lambda node: node.name):
        agent = agents.get(node.name)
        state = agent.state if agent else "missing"
        address = ", ".join(map(str, node.internal_ips))
        rows.append(NodeRow(node.name, address, node.ready, state, xdp.get(node.name, "")))
        if not node.ready:
            remedy = f"kubectl describe node {node.name}"
            problems.append(Problem(f"node {node.name}", "is not ready", remedy))
        elif state != "running":
            what = f"its agent is {state}: {agent.reason}" if agent else "no agent runs there"
            remedy = "kubectl -n kube-system get pods -l k8s-app=cairn -o wide"
            problems.append(Problem(f"node {node.name}", what, remedy))
    return tuple(rows)


def _sessions(inventory: Inventory, problems: list[Problem]) -> tuple[SessionRow, ...]:
    rows = []
    for config in sorted(inventory.node_configs, key=key_of):
        node = key_of(config).name
        states = _peer_states(config)
        for instance in (config.get("spec") or {}).get("bgpInstances") or ():
            for peer in instance.get("peers") or ():
                status = states.get(peer.get("peerAddress", ""), {})
                rows.append(_session(node, peer, status))
                if rows[-1].state != ESTABLISHED:
                    problems.append(_session_problem(rows[-1], str(status.get("lastError") or "")))
        for condition in (config.get("status") or {}).get("conditions") or ():
            if condition.get("status") == "False":
                subject = f"BGP on {node}"
                problems.append(Problem(subject, condition.get("message") or "", severe=True))
    return tuple(rows)


def _peer_states(config: Object) -> dict[str, Mapping[str, object]]:
    status = config.get("status") or {}
    return {
        peer.get("peerAddress", ""): peer
        for instance in status.get("bgpInstances") or ()
        for peer in instance.get("peers") or ()
    }


def _session(node: str, peer: Mapping[str, object], status: Mapping[str, object]) -> SessionRow:
    counts = status.get("routeCount") or ()
    announced = sum(c.get("advertised", 0) for c in counts) if isinstance(counts, list) else 0
    return SessionRow(
        node=node,
        peer=str(peer.get("peerAddress", "")),
        asn=int(str(peer.get("peerASN") or 0)),
        state=str(status.get("peeringState") or "not reported").lower(),
        since=str(status.get("establishedTime") or ""),
        announced=announced,
    )


def _session_problem(row: SessionRow, error: str) -> Problem:
    what = f"BGP is {row.state}, not established" + (f": {error}" if error else "")
    remedy = (
        f"see that {row.peer} runs BGP with AS {row.asn}, accepts {row.node}, and no firewall "
        "drops TCP port 179 between them"
    )
    return Problem(f"session {row.node} to {row.peer}", what, remedy)


def _addresses(inventory: Inventory, problems: list[Problem]) -> tuple[AddressRow, ...]:
    slices: dict[Key, list[EndpointSlice]] = {}
    for raw in inventory.slices:
        part = EndpointSlice.from_object(raw)
        slices.setdefault(part.service, []).append(part)
    announcers = _announcers(inventory.node_configs)
    parts = [part for found in slices.values() for part in found]
    ejected = tuple(ejections(inventory.cilium_nodes, parts, pods_by_address(inventory.slices)))
    problems.extend(_ejected(ejected))
    dead = {(entry.service, entry.where.address) for entry in ejected}
    answering = answering_nodes(inventory.cilium_nodes)
    rows = []
    for raw in sorted(inventory.services, key=key_of):
        service = Service.from_object(raw)
        if service.type == "LoadBalancer":
            row = _address(service, slices.get(service.key, []), announcers, answering, dead)
            rows.append(row)
            problems.extend(_address_problems(service, row, raw, inventory))
    return tuple(rows)


def _address(
    service: Service,
    slices: list[EndpointSlice],
    announcers: Mapping[str, tuple[str, ...]],
    answering: Mapping[str, tuple[str, ...]],
    dead: Set[tuple[Key, Address]],
) -> AddressRow:
    endpoints = {address: state for part in slices for address, state in part.endpoints}
    addresses = tuple(str(address) for address in service.load_balancer_ips)
    by = {node for address in addresses for node in announcers.get(address, ())}
    return AddressRow(
        service=str(service.key),
        addresses=addresses,
        ports=", ".join(f"{port.port}/{port.protocol.name}" for port in service.ports),
        backends_ready=sum(
            state.ready and (service.key, address) not in dead
            for address, state in endpoints.items()
        ),
        backends=len(endpoints),
        announced_by=tuple(sorted(by)),
        answered_by=tuple(sorted({n for a in addresses for n in answering.get(a, ())})),
    )


def _ejected(ejected: Iterable[Ejection]) -> Iterator[Problem]:
    for entry in sorted(ejected, key=lambda entry: (entry.service, entry.where.sort_key())):
        who = f"pod {entry.pod}" if entry.pod else "a backend"
        what = f"{who} does not serve at {entry.where}: {entry.reason}; {entry.node} found so and "
        what += "nobody is sent there"
        namespace, _, name = entry.pod.partition("/")
        remedy = f"kubectl -n {namespace} logs {name}" if entry.pod else ""
        yield Problem(f"service {entry.service}", what, remedy)


def _announcers(configs: Iterable[Object]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for config in configs:
        for entry in (config.get("status") or {}).get("announcements") or ():
            address = str(entry.get("prefix", "")).split("/")[0]
            found[address] = (*found.get(address, ()), key_of(config).name)
    return found


def _address_problems(
    service: Service, row: AddressRow, raw: Object, inventory: Inventory
) -> list[Problem]:
    subject = f"service {row.service}"
    if not row.addresses:
        if load_balancer_of(raw).foreign:
            what = f"has loadBalancerClass {service.load_balancer_class}, which is not Cairn's"
            remedy = "leave the class out, unless another controller is to give the address"
            return [Problem(subject, what, remedy, severe=False)]
        return [Problem(subject, f"has no address: {_pending_reason(raw)}")]
    if not row.backends_ready:
        return [Problem(subject, *_no_backend(raw, row))]
    if not row.announced_by:
        if row.answered_by and not inventory.policies:
            what = "is answered for by ARP and ND in the nodes' subnet, and announced over no BGP"
            remedy = "apply a CiliumBGPPeeringPolicy if clients beyond the router are to reach it"
            return [Problem(subject, what, remedy, severe=False)]
        if not inventory.policies:
            what = "no CiliumBGPPeeringPolicy exists, so no router knows its address"
        else:
            what = "no node announces its address: no policy's serviceSelector selects it, or none "
            what += "of the nodes with a ready pod has a session"
        return [Problem(subject, what, "kubectl get ciliumbgppeeringpolicy -o wide")]
    return []


def _pending_reason(raw: Object) -> str:
    for condition in (raw.get("status") or {}).get("conditions") or ():
        if condition.get("type") == SATISFIED:
            return condition.get("message") or ""
    return "the operator has not looked at it yet (kubectl -n kube-system get pods)"


def _no_backend(raw: Object, row: AddressRow) -> tuple[str, str]:
    selector = (raw.get("spec") or {}).get("selector") or {}
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    namespace = key_of(raw).namespace
    if row.backends:
        what = f"none of its {row.backends} pods is ready and serves, so no node announces it"
    else:
        what = f"no pod matches its selector {labels or '(none)'}, so no node announces it"
    return what, f"kubectl -n {namespace} get pods -l {labels}" if labels else ""


def _pools(inventory: Inventory, problems: list[Problem]) -> tuple[PoolRow, ...]:
    rows = []
    for pool in sorted(inventory.pools, key=key_of):
        spec, name = pool.get("spec") or {}, key_of(pool).name
        blocks = [*(spec.get("blocks") or ()), *(spec.get("cidrs") or ())]
        conditions = {c["type"]: c for c in (pool.get("status") or {}).get("conditions") or ()}
        rows.append(
            PoolRow(
                name=name,
                blocks=", ".join(map(_block, blocks)),
                used=_count(conditions, "cilium.io/IPsUsed"),
                total=_count(conditions, "cilium.io/IPsTotal"),
            )
        )
        problems.extend(_conditions(f"pool {name}", conditions, ("cilium.io/PoolConflict",)))
    return tuple(rows)


def _block(raw: Mapping[str, str]) -> str:
    return raw.get("cidr") or f"{raw.get('start')} to {raw.get('stop') or raw.get('start')}"


def _count(conditions: Mapping[str, Mapping[str, str]], name: str) -> str:
    return conditions.get(name, {}).get("message") or "?"


def _policies(inventory: Inventory, problems: list[Problem]) -> None:
    for policy in sorted(inventory.policies, key=key_of):
        conditions = {c["type"]: c for c in (policy.get("status") or {}).get("conditions") or ()}
        subject = f"policy {key_of(policy).name}"
        problems.extend(_conditions(subject, conditions, ("cairn.io/Conflict",)))
        selected = conditions.get("cairn.io/Selected", {})
        if selected.get("status") == "False":
            problems.append(Problem(subject, selected.get("message") or "selects no node"))


def _conditions(
    subject: str, conditions: Mapping[str, Mapping[str, str]], bad_if_true: Sequence[str]
) -> list[Problem]:
    found = [
        Problem(subject, conditions[name].get("message") or "")
        for name in bad_if_true
        if conditions.get(name, {}).get("status") == "True"
    ]
    findings = conditions.get("cairn.io/Findings")
    if findings and findings.get("message"):
        found.append(Problem(subject, findings["message"], severe=False))
    return found
