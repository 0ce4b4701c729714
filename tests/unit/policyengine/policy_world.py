"""Random clusters with random policies, and what is to be said of them, read off one by one.

`Naive` knows no identities, indexes, sets or tables: it asks of each rule whether it matches two
addresses and a port.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from policy_values import BOTH, cidr, group, pod, service, slice_of

from cairn.abi.structs import PolicyAction
from cairn.compile.policy import Engine
from cairn.desired.policy import Redirect
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.policy.rule import (
    NAMESPACE,
    Action,
    CidrPeer,
    Direction,
    DnsRule,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    HttpRule,
    IcmpMatch,
    LabelPeer,
    Match,
    NodePeer,
    Peer,
    Policy,
    PolicyRef,
    PortMatch,
    ProtocolMatch,
    Rule,
    RuleRef,
    ServicePeer,
    Tier,
    workload_labels,
)
from cairn.kube.policy.workload import Workload
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.kube.service import Service
from cairn.net import Address, Protocol, parse_address

NODE = "node-1"
NODES = {NODE: "192.168.1.10", "node-2": "192.168.1.11", "node-3": "192.168.1.12"}
API_SERVERS = ("192.168.1.5", "192.168.1.11", "192.168.1.10", "203.0.113.7")
OUTSIDE = ("192.168.1.5", "203.0.113.7", "203.0.113.9", "10.0.0.77", "8.8.8.8", "2001:db8::1")
PORTS = ((6, 53), (17, 53), (6, 80), (6, 8080), (6, 443), (132, 80), (1, 8 << 8), (58, 7), (47, 0))


@dataclass
class Objects:
    """Everything that a cluster has."""

    pods: list[Workload] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    apiserver: tuple[Address, ...] = ()
    groups: list[CidrGroup] = field(default_factory=list)
    services: list[tuple[Service, EndpointSlice]] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)


LABELS = st.fixed_dictionaries(
    {}, optional={"app": st.sampled_from("xyz"), "tier": st.sampled_from("ab")}
)


@st.composite
def pods(draw: st.DrawFn) -> list[Workload]:
    """Return pods, some of one kind, with addresses of one or both families."""
    found = []
    for number in range(draw(st.integers(1, 6))):
        v4, v6 = f"10.0.0.{number + 1}", f"fd00::{number + 1}"
        found.append(
            pod(
                f"{draw(st.sampled_from(['one', 'two']))}/pod-{number}",
                *draw(st.sampled_from([(v4,), (v4, v6), (v6,), (v4,)])),
                node=draw(st.sampled_from(list(NODES))),
                ports=draw(st.sampled_from([(), (("http", Protocol.TCP, 80),), HTTPS])),
                labels=draw(LABELS),
            )
        )
    return found


HTTPS = (("http", Protocol.TCP, 8080), ("https", Protocol.TCP, 443))

REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from(["app", "tier"]),
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.frozensets(st.sampled_from("abxy"), min_size=1, max_size=2),
    ),
    st.builds(
        Requirement,
        st.sampled_from(["app", "tier"]),
        st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST]),
    ),
    st.builds(
        Requirement,
        st.just(NAMESPACE),
        st.just(Operator.IN),
        st.frozensets(st.sampled_from(["one", "two"]), min_size=1, max_size=1),
    ),
    st.builds(
        Requirement,
        st.just("io.cilium.k8s.namespace.labels.team"),
        st.just(Operator.IN),
        st.frozensets(st.sampled_from(["red", "blue"]), min_size=1, max_size=1),
    ),
)
SELECTORS = st.lists(REQUIREMENTS, max_size=2).map(lambda some: Selector(tuple(some)))
RESERVED = st.sampled_from(["reserved:host", "reserved:world", "reserved:kube-apiserver"]).map(
    lambda key: Selector((Requirement(key, Operator.EXISTS),))
)
ZONES = st.sampled_from("pq").map(
    lambda zone: Selector((Requirement("zone", Operator.IN, frozenset({zone})),))
)
CIDRS = st.builds(
    cidr,
    st.sampled_from(
        ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "192.168.1.0/24", "192.168.1.11/32"]
    ),
    inside=st.booleans(),
) | st.sampled_from(
    [
        cidr("203.0.113.0/24", "203.0.113.7/32"),
        cidr("0.0.0.0/0", "10.0.0.0/30", "192.168.1.0/24", inside=True),
        cidr("10.0.0.0/8", "10.0.0.2/32", inside=True),
        cidr("::/0", "2001:db8::/32"),
        cidr("2001:db8::/32"),
        cidr("fd00::/16", inside=True),
        cidr("203.0.113.7/32"),
    ]
)
WORDS = "all world world-ipv4 world-ipv6 cluster host remote-node kube-apiserver none health init"
ENTITIES = st.sampled_from(WORDS.split()).map(EntityPeer)
NAMES = st.sampled_from([FqdnPeer(name="example.org"), FqdnPeer(pattern="*.example.org")])
SERVICES = (
    ServicePeer("one", "web"),
    ServicePeer("one", "outer"),
    ServicePeer("", selector=Selector()),
)
PEERS = st.one_of(
    SELECTORS.map(LabelPeer),
    SELECTORS.map(LabelPeer),
    RESERVED.map(LabelPeer),
    ENTITIES,
    CIDRS,
    ZONES.map(NodePeer),
    st.sampled_from([GroupPeer("far"), GroupPeer(selector=Selector())]),
    st.sampled_from(SERVICES),
)
MATCHES: st.SearchStrategy[Match] = st.sampled_from(
    [
        PortMatch(Protocol.TCP, 80, 80),
        PortMatch(Protocol.TCP, 50, 100),
        PortMatch(None, 80, 90),
        PortMatch(Protocol.UDP),
        PortMatch(Protocol.UDP, 53, 53),
        PortMatch(Protocol.TCP, name="http"),
        PortMatch(None, name="https"),
        ProtocolMatch(47),
        ProtocolMatch(132),
        IcmpMatch(4, 8),
        IcmpMatch(6, 0),
    ]
)
CONDITIONS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {},
        {},
        {"http": (HttpRule(method="GET"),)},
        {"http": (HttpRule(path="/a"), HttpRule(method="GET"))},
        {"dns": (DnsRule(name="example.org"),)},
        {"server_names": ("a.example.org",)},
    ]
)


@st.composite
def policies(draw: st.DrawFn, number: int = 0, *, names: bool = False) -> Policy:
    """Return a policy of any tier."""
    tier = draw(st.sampled_from([Tier.NORMAL, Tier.NORMAL, Tier.NORMAL, Tier.ADMIN, Tier.BASELINE]))
    about_nodes = tier is Tier.NORMAL and draw(st.integers(0, 5)) == 0
    rules = []
    for place in range(draw(st.integers(0, 3))):
        direction = draw(st.sampled_from(Direction))
        actions = list(Action) if tier is Tier.ADMIN else [Action.ALLOW, Action.ALLOW, Action.DENY]
        action = draw(st.sampled_from(actions))
        is_name = names and direction is Direction.EGRESS and action is Action.ALLOW
        peers = PEERS | NAMES if is_name else PEERS
        conditional = tier is Tier.NORMAL and action is Action.ALLOW
        rules.append(
            Rule(
                f"{direction.value}[{place}]",
                direction,
                action,
                tuple(draw(st.lists(peers, max_size=2))),
                tuple(draw(st.lists(MATCHES, max_size=2))),
                **(draw(CONDITIONS) if conditional else {}),
            )
        )
    return Policy(
        ref=PolicyRef("Policy", "", f"policy-{number}"),
        uid="",
        subject=None if about_nodes else draw(SELECTORS),
        nodes=draw(ZONES) if about_nodes else None,
        tier=tier,
        priority=draw(st.integers(0, 2)) if tier is not Tier.NORMAL else 0,
        isolates=draw(st.frozensets(st.sampled_from(Direction))) if tier is Tier.NORMAL else BOTH,
        rules=tuple(rules),
        requires=((Direction.INGRESS, draw(SELECTORS)),)
        if tier is Tier.NORMAL and not about_nodes and draw(st.integers(0, 4)) == 0
        else (),
        audit=draw(st.integers(0, 4)) == 0,
        disabled=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def objects(draw: st.DrawFn, *, names: bool = False, most: int = 5) -> Objects:
    """Return a cluster with policies."""
    teams = st.fixed_dictionaries({}, optional={"team": st.sampled_from(["red", "blue"])})
    zones = st.fixed_dictionaries({"zone": st.sampled_from("pq")})
    web = service("web", "one", **draw(LABELS))
    return Objects(
        pods=draw(pods()),
        namespaces=draw(st.fixed_dictionaries({"one": teams, "two": teams})),
        nodes=draw(st.fixed_dictionaries(dict.fromkeys(NODES, zones))),
        apiserver=tuple(
            map(parse_address, draw(st.lists(st.sampled_from(API_SERVERS), max_size=2)))
        ),
        groups=[group("far", *draw(st.sampled_from(GROUPS)))],
        services=[
            (web, slice_of("web", "10.0.0.1", namespace="one")),
            (service("outer", "one"), slice_of("outer", "10.0.0.2", "8.8.8.8", namespace="one")),
        ],
        policies=[
            draw(policies(number, names=names)) for number in range(draw(st.integers(0, most)))
        ],
    )


GROUPS = (("203.0.113.0/24",), ("10.0.0.0/8", "8.8.8.8/32"), ())


def fill(engine: Engine, cluster: Objects) -> Engine:
    """Give an engine all of a cluster."""
    for step in steps(cluster):
        step(engine)
    return engine


def steps(cluster: Objects) -> list["Step"]:
    """Return what an engine must be told of a cluster, a piece at a time."""
    return [
        *(Step("put_pod", (pod,)) for pod in cluster.pods),
        *(Step("put_namespace", pair) for pair in cluster.namespaces.items()),
        *(
            Step("put_node", (name, labels, (parse_address(NODES[name]),)))
            for name, labels in cluster.nodes.items()
        ),
        Step("put_apiserver", (cluster.apiserver,)),
        *(Step("put_group", (group,)) for group in cluster.groups),
        *(Step("put_service", (one, (own,))) for one, own in cluster.services),
        *(Step("put_policy", (policy,)) for policy in cluster.policies),
    ]


@dataclass(frozen=True)
class Step:
    """One call."""

    name: str
    arguments: tuple[object, ...]

    def __call__(self, engine: Engine) -> None:
        """Make it."""
        getattr(engine, self.name)(*self.arguments)


@dataclass(frozen=True)
class Remote:
    """The other end of a connection."""

    address: Address
    names: frozenset[FqdnPeer] = frozenset()


@dataclass(frozen=True)
class Said:
    """What becomes of a connection."""

    action: PolicyAction
    rule: RuleRef | None
    redirect: Redirect | None = None

    @property
    def allows(self) -> bool:
        """Whether it may begin."""
        return self.action in (PolicyAction.ALLOW, PolicyAction.PROXY)


class Naive:
    """What the policies of a cluster say, asked one by one."""

    def __init__(self, cluster: Objects, *, audit: bool = False) -> None:
        self.cluster = cluster
        self.policies = [p for p in cluster.policies if not p.disabled and (audit or not p.audit)]
        self.apiserver = set(cluster.apiserver)
        self.nodes = {parse_address(NODES[name]): name for name in cluster.nodes}
        self.pods = {address: pod for pod in cluster.pods for address in pod.addresses}

    def flat(self, pod: Workload) -> dict[str, str]:
        """Return the flat labels of a pod."""
        return workload_labels(
            pod.labels,
            namespace=pod.namespace,
            namespace_labels=self.cluster.namespaces[pod.namespace],
            service_account=pod.service_account,
        )

    def chosen(self, subject: Workload | None) -> list[Policy]:
        """Return the policies about a pod, or about the own node."""
        if subject is None:
            labels = self.cluster.nodes[NODE]
            return [p for p in self.policies if p.nodes is not None and p.nodes.matches(labels)]
        flat = self.flat(subject)
        return [p for p in self.policies if p.subject is not None and p.subject.matches(flat)]

    def says(
        self, subject: Workload | None, way: Direction, remote: Remote, protocol: int, port: int
    ) -> Said:
        """Return the verdict on a connection."""
        address = remote.address
        if way is Direction.INGRESS and subject is not None and self.nodes.get(address) == NODE:
            return Said(PolicyAction.ALLOW, None)
        chosen = self.chosen(subject)
        ported = subject if way is Direction.INGRESS else self.pods.get(address)
        ports = ported.ports if ported is not None else ()
        found = []
        for policy in chosen:
            for place, rule in enumerate(policy.rules):
                if rule.direction is way and self.hits(rule, policy, chosen, remote):
                    spans = rule.matches
                    if not spans or any(covers(m, protocol, port, ports) for m in spans):
                        found.append((policy, place, rule))
        names = any(
            isinstance(peer, FqdnPeer)
            for policy in chosen
            for rule in policy.rules
            if rule.direction is way and not any(p == EntityPeer("all") for p in rule.peers)
            for peer in rule.peers
        )
        said = ladder(found, chosen, way)
        if names and said.action is PolicyAction.ALLOW and (protocol, port) in ((6, 53), (17, 53)):
            return Said(PolicyAction.PROXY, said.rule, Redirect(dns=(DnsRule(pattern="*"),)))
        return said

    def hits(self, rule: Rule, policy: Policy, chosen: list[Policy], remote: Remote) -> bool:
        """Return whether a rule is about the other end."""
        required = [
            selector
            for other in chosen
            if other.tier is Tier.NORMAL
            for way, selector in other.requires
            if way is rule.direction
        ]
        if policy.tier is not Tier.NORMAL or rule.action is not Action.ALLOW:
            required = []
        return not rule.peers or any(self.means(peer, remote, required) for peer in rule.peers)

    def means(self, peer: Peer, remote: Remote, required: list[Selector]) -> bool:
        """Return whether a peer means an address."""
        address = remote.address
        pod, node = self.pods.get(address), self.nodes.get(address)
        inside = pod is not None or node is not None
        match peer:
            case LabelPeer(selector):
                reserved = any(r.key.startswith("reserved:") for r in selector.requirements)
                if pod is None and not reserved:
                    return False
                labels = self.flat(pod) if pod is not None else self.reserved(address)
                return all(one.matches(labels) for one in (selector, *required))
            case EntityPeer(entity):
                return entity == "all" or entity in self.natures(address)
            case CidrPeer(network, excepts, means_inside):
                if inside and not means_inside:
                    return False
                return address in network and not any(address in part for part in excepts)
            case GroupPeer(name, selector):
                return any(
                    self.means(CidrPeer(network, peer.excepts), remote, [])
                    for one in self.cluster.groups
                    if (selector is not None and selector.matches(one.metadata.labels))
                    or one.metadata.name == name
                    for network in one.networks
                )
            case NodePeer(selector):
                return node is not None and selector.matches(self.cluster.nodes[node])
            case FqdnPeer():
                return peer in remote.names
            case ServicePeer():
                return any(self.serves(one, own, peer, address) for one, own in self.services)

    @property
    def services(self) -> list[tuple[Service, EndpointSlice]]:
        """All Services with their endpoints."""
        return self.cluster.services

    def serves(self, one: Service, own: EndpointSlice, peer: ServicePeer, address: Address) -> bool:
        """Return whether an address is behind a Service that a peer means."""
        if peer.namespace not in ("", one.metadata.namespace):
            return False
        if peer.selector is not None and not peer.selector.matches(one.metadata.labels):
            return False
        if peer.selector is None and peer.name != one.metadata.name:
            return False
        if not one.selector:
            return address in own.addresses
        pod = self.pods.get(address)
        return (
            pod is not None
            and pod.namespace == one.metadata.namespace
            and all(pod.labels.get(key) == value for key, value in one.selector)
        )

    def natures(self, address: Address) -> set[str]:
        """Return the entities of an address."""
        found = {"kube-apiserver"} if address in self.apiserver else set()
        if address in self.pods:
            return {"cluster"}
        if address in self.nodes:
            own = self.nodes[address] == NODE
            return found | {"cluster", "host" if own else "remote-node"}
        return found | {"world", f"world-ipv{address.version}"}

    def reserved(self, address: Address) -> dict[str, str]:
        """Return the reserved labels of an address."""
        return {f"reserved:{nature}": "" for nature in self.natures(address) - {"cluster"}}


def covers(match: Match, protocol: int, port: int, ports: tuple[tuple[str, int, int], ...]) -> bool:
    """Return whether a match means a protocol and port."""
    match match:
        case PortMatch(wanted, first, last, name):
            if protocol not in (6, 17, 132) or wanted not in (None, protocol):
                return False
            if name:
                return any((name, protocol, port) == tuple(one) for one in ports)
            return first <= port <= last
        case ProtocolMatch(number):
            return number == protocol
        case IcmpMatch(family, kind):
            return protocol == {4: 1, 6: 58}[family] and port >> 8 == kind


def ladder(found: list[tuple[Policy, int, Rule]], chosen: list[Policy], way: Direction) -> Said:
    """Return what the rules that match say together."""
    for tier in (Tier.ADMIN, Tier.NORMAL, Tier.BASELINE):
        here = [item for item in found if item[0].tier is tier]
        if tier is not Tier.NORMAL:
            here.sort(key=lambda item: (item[0].priority, item[0].ref.name, item[1]))
            for policy, _, rule in here:
                if rule.action is Action.PASS:
                    break
                action = PolicyAction.DENY if rule.action is Action.DENY else PolicyAction.ALLOW
                return Said(action, RuleRef(policy.ref, rule.path))
            continue
        here.sort(key=lambda item: (item[2].implied, item[0].ref, item[1]))
        for policy, _, rule in here:
            if rule.action is Action.DENY:
                return Said(PolicyAction.DENY, RuleRef(policy.ref, rule.path))
        plain = [i for i in here if (i[2].http, i[2].dns) == (None, None) and not i[2].server_names]
        for policy, _, rule in plain:
            return Said(PolicyAction.ALLOW, RuleRef(policy.ref, rule.path))
        if here:
            return Said(
                PolicyAction.PROXY, RuleRef(here[0][0].ref, here[0][2].path), union(here, way)
            )
        isolating = sorted(p.ref for p in chosen if p.tier is tier and way in p.isolates)
        if isolating:
            return Said(PolicyAction.DEFAULT_DENY, RuleRef(isolating[0], ""))
    return Said(PolicyAction.ALLOW, None)


def union(found: list[tuple[Policy, int, Rule]], way: Direction) -> Redirect:
    """Return the conditions of rules, any of which will do."""
    rules = [rule for _, _, rule in found]
    http = [one for rule in rules for one in rule.http or ()]
    dns = [one for rule in rules for one in rule.dns or ()]
    return Redirect(
        http=tuple(dict.fromkeys(http)) if any(r.http is not None for r in rules) else None,
        dns=tuple(dict.fromkeys(dns)) if any(r.dns is not None for r in rules) else None,
        server_names=tuple(dict.fromkeys(n for rule in rules for n in rule.server_names)),
        direction=way,
    )
