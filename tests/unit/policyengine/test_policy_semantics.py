"""What policies mean, one sentence at a time."""

from dataclasses import dataclass, field

import pytest
from policy_values import (
    ALLOW,
    DENY,
    IN,
    OUT,
    PASS,
    cidr,
    group,
    in_namespace,
    named,
    pod,
    policy,
    rule,
    selector,
    service,
    slice_of,
    tcp,
)

from cairn.abi.structs import Identity, PolicyAction
from cairn.compile.policy import Engine
from cairn.desired.policy import Redirect, Verdict
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import (
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
    Policy,
    PolicyRef,
    PortMatch,
    ProtocolMatch,
    RateLimit,
    Rule,
    RuleRef,
    ServicePeer,
    Tier,
)
from cairn.kube.policy.workload import Workload
from cairn.net import Protocol, parse_address

WEB = pod("web", "10.0.0.1", "fd00::1", app="web", ports=(("http", Protocol.TCP, 8080),))
DB = pod("db", "10.0.0.2", node="node-2", app="db", ports=(("sql", Protocol.TCP, 5432),))
OLD = pod("old-db", "10.0.0.3", node="node-2", app="db", ports=(("sql", Protocol.TCP, 5433),))
FAR = pod("other/client", "10.0.1.1", node="node-2", app="client")
HOSTED = pod("agent", "192.168.1.11", node="node-2", host_network=True, app="db")
NODES = {
    "node-1": ({"zone": "a"}, "192.168.1.10"),
    "node-2": ({"zone": "a"}, "192.168.1.11"),
    "node-3": ({"zone": "b"}, "192.168.1.12"),
}
ENDS = {
    "host": "192.168.1.10", "node-2": "192.168.1.11", "node-3": "192.168.1.12",
    "apiserver": "192.168.1.5", "web": "10.0.0.1", "web6": "fd00::1", "db": "10.0.0.2",
    "old-db": "10.0.0.3", "client": "10.0.1.1", "nobody": "10.0.0.200", "world": "203.0.113.7",
    "world2": "203.0.113.200", "world6": "2001:db8::1",
}  # fmt: skip
ON_WEB = selector(app="web")


def engine(*policies: Policy, node: str | None = "node-1") -> Engine:
    """Return the engine of node-1, with everything that there is."""
    found = Engine(node)
    for each in (WEB, DB, OLD, FAR, HOSTED):
        found.put_pod(each)
    found.put_namespace("other", {"team": "red"})
    for name, (labels, address) in NODES.items():
        found.put_node(name, labels, [parse_address(address)])
    found.put_apiserver([parse_address("192.168.1.5")])
    for one in policies:
        found.put_policy(one)
    return found


def ask(
    found: Engine, way: Direction, other: str, port: int, protocol: int = 6, subject: str = "web"
) -> Verdict:
    """Return what becomes of a connection between a subject of node-1 and somebody."""
    policy_of = found.policy_of(found.identity_at(parse_address(ENDS[subject])))
    direction = policy_of.ingress if way is IN else policy_of.egress
    if direction is None:
        return Verdict(PolicyAction.ALLOW, None)
    return direction.at(found.identity_at(parse_address(ENDS[other])), protocol, port)


def passing(found: Engine, way: Direction, port: int = 80) -> set[str]:
    """Return with whom connections are allowed."""
    return {other for other in ENDS if ask(found, way, other, port).allows}


@dataclass(frozen=True)
class Case:
    """Peers of one rule, and whom they mean."""

    name: str
    rule: Rule
    means: str
    """Ends, separated by spaces."""
    more: tuple[Policy, ...] = field(default=())


ALL = "web web6 db old-db client host node-2 node-3 apiserver nobody world world2 world6"
PODS = "web web6 db old-db client"
EGRESS_PEERS = (
    Case("no peers: everyone", rule(OUT), ALL),
    Case("pods by label", rule(OUT, LabelPeer(selector(app="db"))), "db old-db"),
    Case("pods of one namespace", rule(OUT, LabelPeer(in_namespace("other"))), "client"),
    Case(
        "pods by a label of their namespace",
        rule(OUT, LabelPeer(named("io.cilium.k8s.namespace.labels.team"))),
        "client",
    ),
    Case("every pod, and only pods", rule(OUT, LabelPeer(selector())), PODS),
    Case(
        "a reserved group by its label",
        rule(OUT, LabelPeer(named("reserved:world"))),
        "apiserver nobody world world2 world6",
    ),
    Case("a group that nobody is in", rule(OUT, LabelPeer(named("reserved:health"))), ""),
    Case("entity all", rule(OUT, EntityPeer("all")), ALL),
    Case("entity none", rule(OUT, EntityPeer("none")), ""),
    Case("entity host", rule(OUT, EntityPeer("host")), "host"),
    Case("entity remote-node", rule(OUT, EntityPeer("remote-node")), "node-2 node-3"),
    Case("entity cluster", rule(OUT, EntityPeer("cluster")), f"{PODS} host node-2 node-3"),
    Case("entity kube-apiserver", rule(OUT, EntityPeer("kube-apiserver")), "apiserver"),
    Case("entity world", rule(OUT, EntityPeer("world")), "apiserver nobody world world2 world6"),
    Case("entity world-ipv4", rule(OUT, EntityPeer("world-ipv4")), "apiserver nobody world world2"),
    Case("entity world-ipv6", rule(OUT, EntityPeer("world-ipv6")), "world6"),
    Case("entity health", rule(OUT, EntityPeer("health")), ""),
    Case("0.0.0.0/0 is the outside", rule(OUT, cidr("0.0.0.0/0")), "apiserver nobody world world2"),
    Case(
        "0.0.0.0/0 of a NetworkPolicy is everything over IPv4",
        rule(OUT, cidr("0.0.0.0/0", inside=True)),
        " ".join(end for end in ALL.split() if not end.endswith("6")),
    ),
    Case(
        "a network without a part of it",
        rule(OUT, cidr("203.0.113.0/24", "203.0.113.0/25")),
        "world2",
    ),
    Case(
        "a part of what another rule excepts",
        rule(OUT, cidr("203.0.113.0/24", "203.0.113.0/25"), cidr("203.0.113.7/32")),
        "world world2",
    ),
    Case(
        "pods by their addresses",
        rule(OUT, cidr("10.0.0.0/23", "10.0.0.2/32", inside=True)),
        "web old-db client nobody",
    ),
    Case("one family of a pod", rule(OUT, cidr("fd00::/16", inside=True)), "web6"),
    Case("networks of a group", rule(OUT, GroupPeer("far")), "world world2"),
    Case("groups by label", rule(OUT, GroupPeer(selector=selector(kind="far"))), "world world2"),
    Case("a group that is not there", rule(OUT, GroupPeer("near")), ""),
    Case("nodes by label", rule(OUT, NodePeer(selector(zone="b"))), "node-3"),
    Case("nodes of the own node's zone", rule(OUT, NodePeer(selector(zone="a"))), "host node-2"),
    Case("pods behind a Service", rule(OUT, ServicePeer("default", "sql")), "db old-db"),
    Case("a Service of another namespace", rule(OUT, ServicePeer("other", "sql")), ""),
    Case(
        "endpoints of a Service without a selector",
        rule(OUT, ServicePeer("default", "outer")),
        "apiserver node-3 world",
    ),
    Case(
        "Services by label",
        rule(OUT, ServicePeer("", selector=selector(service="outer"))),
        "apiserver node-3 world",
    ),
    Case("a name is nobody until it is learnt", rule(OUT, FqdnPeer(name="example.org")), ""),
)  # fmt: skip


@pytest.mark.parametrize("case", EGRESS_PEERS, ids=lambda case: case.name)
def test_whom_peers_mean(case: Case) -> None:
    found = engine(policy("out", ON_WEB, case.rule))
    found.put_group(group("far", "203.0.113.0/24", kind="far"))
    found.put_service(service("sql", app="db"), [])
    ends = slice_of("outer", ENDS["apiserver"], ENDS["node-3"], ENDS["world"])
    found.put_service(service("outer"), [ends])
    assert passing(found, OUT) == set(case.means.split())
    for other in set(ENDS) - set(case.means.split()):
        denied = ask(found, OUT, other, 80)
        assert denied == Verdict(
            PolicyAction.DEFAULT_DENY, RuleRef(PolicyRef("NetworkPolicy", "default", "out"), "")
        )


PORTS: tuple[tuple[Match, set[tuple[int, int]]], ...] = (
    (PortMatch(None), {(6, 1), (17, 1), (132, 1)}),
    (PortMatch(Protocol.TCP), {(6, 1), (6, 0), (6, 65535)}),
    (tcp(80), {(6, 80)}),
    (tcp(80, 90), {(6, 80), (6, 85), (6, 90)}),
    (PortMatch(Protocol.SCTP, 80, 80), {(132, 80)}),
    (ProtocolMatch(47), {(47, 0)}),
    (IcmpMatch(4, 8), {(1, 8 << 8), (1, (8 << 8) + 3)}),
    (IcmpMatch(6, 128), {(58, 128 << 8)}),
    (PortMatch(Protocol.TCP, name="http"), {(6, 8080)}),
    (PortMatch(None, name="http"), {(6, 8080)}),
    (PortMatch(Protocol.UDP, name="http"), set()),
    (PortMatch(Protocol.TCP, name="sql"), set()),
)
PROBES = {
    (6, 0), (6, 1), (6, 79), (6, 80), (6, 85), (6, 90), (6, 91), (6, 8080), (6, 65535), (17, 1),
    (17, 80), (17, 8080), (132, 1), (132, 80), (47, 0), (50, 0), (1, 0), (1, 8 << 8),
    (58, 128 << 8), (1, (8 << 8) + 3), (58, 8 << 8), (6, 5432),
}  # fmt: skip


@pytest.mark.parametrize(("match", "means"), PORTS, ids=lambda value: str(value)[:60])
def test_which_ports_a_match_means(match: Match, means: set[tuple[int, int]]) -> None:
    found = engine(policy("in", ON_WEB, rule(IN, ports=(match,))))
    passed = {place for place in PROBES if ask(found, IN, "db", place[1], place[0]).allows}
    if match == PortMatch(None):
        assert passed == {place for place in PROBES if place[0] in (6, 17, 132)}
    elif match == PortMatch(Protocol.TCP):
        assert passed == {place for place in PROBES if place[0] == 6}
    else:
        assert passed == means


def test_a_port_by_name_is_the_other_pods_own_on_egress() -> None:
    for peers in ((), (LabelPeer(selector(app="db")),)):
        found = engine(
            policy("out", ON_WEB, rule(OUT, *peers, ports=(PortMatch(None, name="sql"),)))
        )
        assert ask(found, OUT, "db", 5432).allows
        assert ask(found, OUT, "old-db", 5433).allows
        assert not ask(found, OUT, "db", 5433).allows
        assert not ask(found, OUT, "client", 5432).allows
        assert not ask(found, OUT, "world", 5432).allows


@dataclass(frozen=True)
class Tiers:
    """Policies of several tiers, and the verdict on TCP port 80 from a pod of the database."""

    name: str
    policies: tuple[Policy, ...]
    action: PolicyAction
    decided: str
    """Which policy."""


def tier(name: str, tier: Tier, priority: int, *rules: Rule) -> Policy:
    """Return a policy of one of the cluster's tiers."""
    return Policy(
        ref=PolicyRef("ClusterNetworkPolicy", "", name),
        uid=name,
        subject=selector(),
        tier=tier,
        priority=priority,
        rules=rules,
    )


def admin(name: str, priority: int, *actions: object) -> Policy:
    """Return a policy of the Admin tier with rules for everyone."""
    rules = [rule(IN, action=action) for action in actions]  # type: ignore[arg-type]
    return tier(name, Tier.ADMIN, priority, *rules)


def base(name: str, priority: int, *actions: object) -> Policy:
    """Return a policy of the Baseline tier with rules for everyone."""
    rules = [rule(IN, action=action) for action in actions]  # type: ignore[arg-type]
    return tier(name, Tier.BASELINE, priority, *rules)


DB_PEER = LabelPeer(selector(app="db"))
CLOSED = policy("closed", ON_WEB)
OPEN = policy("open", ON_WEB, rule(IN, DB_PEER))
FORBIDS = policy("forbids", ON_WEB, rule(IN, DB_PEER, action=DENY), isolates=frozenset())
ADDS = policy("adds", ON_WEB, rule(IN, DB_PEER), isolates=frozenset())
A, D, DD = PolicyAction.ALLOW, PolicyAction.DENY, PolicyAction.DEFAULT_DENY
LADDER = (
    Tiers("no policy", (), A, ""),
    Tiers("isolated", (CLOSED,), DD, "closed"),
    Tiers("the union allows", (CLOSED, OPEN), A, "open"),
    Tiers("a denial wins", (CLOSED, OPEN, FORBIDS), D, "forbids"),
    Tiers("a denial does not need isolation", (FORBIDS,), D, "forbids"),
    Tiers("two isolate: the first by name is told", (policy("a", ON_WEB), CLOSED), DD, "a"),
    Tiers("Admin allows above a denial", (admin("x", 1, ALLOW), FORBIDS), A, "x"),
    Tiers("Admin denies above an allow", (admin("x", 1, DENY), OPEN), D, "x"),
    Tiers("the lower priority is asked first", (admin("x", 2, DENY), admin("y", 1, ALLOW)), A, "y"),
    Tiers("equal priorities go by name", (admin("b", 1, DENY), admin("a", 1, ALLOW)), A, "a"),
    Tiers("the first rule of a policy", (admin("x", 1, DENY, ALLOW),), D, "x"),
    Tiers("Pass skips the Admin tier", (admin("x", 1, PASS), admin("y", 2, DENY), OPEN), A, "open"),
    Tiers("Pass, then nobody isolates", (admin("x", 1, PASS), admin("y", 2, DENY)), A, ""),
    Tiers("Baseline where nobody isolates", (base("x", 1, DENY),), D, "x"),
    Tiers("Baseline after Pass", (admin("y", 1, PASS), base("x", 1, DENY)), D, "x"),
    Tiers("no Baseline where somebody isolates", (base("x", 1, ALLOW), CLOSED), DD, "closed"),
    Tiers("what a policy allows is no matter of Baseline", (base("x", 1, DENY), ADDS), A, "adds"),
    Tiers("a policy that only adds isolates nobody", (ADDS,), A, "adds"),
)


@pytest.mark.parametrize("case", LADDER, ids=lambda case: case.name)
def test_the_ladder_of_tiers(case: Tiers) -> None:
    found = ask(engine(*case.policies), IN, "db", 80)
    assert found.action is case.action
    assert (found.rule.policy.name if found.rule else "") == case.decided


def test_directions_are_apart() -> None:
    found = engine(policy("in", ON_WEB, isolates=frozenset({IN})))
    assert found.policy_of(found.identity_of(WEB.key)).egress is None
    assert passing(found, OUT) == set(ENDS)
    assert passing(found, IN) == {"host"}


def test_the_own_node_reaches_its_pods_whatever_is_written() -> None:
    found = engine(CLOSED, admin("x", 1, DENY), FORBIDS)
    assert passing(found, IN) == {"host"}
    assert ask(found, IN, "host", 80) == Verdict(PolicyAction.ALLOW, None)


GET, POST = HttpRule(method="GET"), HttpRule(method="POST")


def test_conditions_of_several_rules_add_up() -> None:
    found = engine(
        policy("b", ON_WEB, rule(IN, DB_PEER, ports=(tcp(80),), http=(GET,), path="second")),
        policy("a", ON_WEB, rule(IN, ports=(tcp(80, 81),), http=(POST, GET), path="first")),
        policy("c", ON_WEB, rule(IN, DB_PEER, ports=(tcp(81),))),
    )
    both = ask(found, IN, "db", 80)
    assert both.action is PolicyAction.PROXY
    assert both.redirect == Redirect(http=(POST, GET), direction=IN)
    assert both.rule is not None
    assert both.rule.path == "first"
    assert ask(found, IN, "client", 80).redirect == Redirect(http=(POST, GET), direction=IN)
    assert ask(found, IN, "db", 81).action is PolicyAction.ALLOW, "allowed without conditions, too"
    assert ask(found, IN, "client", 81).action is PolicyAction.PROXY


def test_a_condition_that_nothing_meets_is_still_one() -> None:
    found = engine(policy("a", ON_WEB, rule(IN, http=(), ports=(tcp(80),))))
    assert ask(found, IN, "db", 80).redirect == Redirect(http=(), direction=IN)


def test_a_denial_wins_over_conditions() -> None:
    found = engine(policy("a", ON_WEB, rule(IN, DB_PEER, http=(GET,))), FORBIDS)
    assert ask(found, IN, "db", 80).action is PolicyAction.DENY


EXAMPLE = FqdnPeer(name="example.org")
TO_NAME = rule(OUT, EXAMPLE, ports=(tcp(443),))
DNS_RULE = rule(
    OUT, DB_PEER, ports=(PortMatch(None, 53, 53),), dns=(DnsRule(name="example.org"),), path="dns"
)


def test_a_name_has_an_identity_that_opens_what_its_rule_says() -> None:
    found = engine(policy("names", ON_WEB, TO_NAME, rule(OUT, cidr("203.0.113.0/24"))))
    number = found.selectors()[EXAMPLE]
    assert number >= 1 << 25
    egress = found.policy_of(found.identity_of(WEB.key)).egress
    assert egress is not None
    assert egress.at(int(Identity.WORLD_IPV4), 6, 443).action is PolicyAction.DEFAULT_DENY
    assert egress.at(int(Identity.WORLD_IPV4), 6, 443, (number,)).action is PolicyAction.ALLOW
    assert egress.at(int(Identity.WORLD_IPV4), 6, 80, (number,)).action is PolicyAction.DEFAULT_DENY
    assert found.labels_of(number) == {"fqdn:example.org": ""}


def test_rules_for_everyone_are_not_repeated_for_names() -> None:
    found = engine(policy("names", ON_WEB, TO_NAME, rule(OUT, ports=(tcp(80),))))
    egress = found.policy_of(found.identity_of(WEB.key)).egress
    assert egress is not None
    own = egress.peers[found.selectors()[EXAMPLE]]
    assert own.at(6, 443).action is PolicyAction.ALLOW
    assert own.at(6, 80).action is PolicyAction.DEFAULT_DENY


def test_who_has_rules_by_name_asks_the_dns_through_the_proxy() -> None:
    open_dns = rule(OUT, DB_PEER, ports=(PortMatch(None, 50, 60),), path="plain")
    found = engine(policy("names", ON_WEB, TO_NAME, open_dns))
    for protocol in (6, 17):
        verdict = ask(found, OUT, "db", 53, protocol)
        assert verdict.action is PolicyAction.PROXY
        assert verdict.redirect == Redirect(dns=(DnsRule(pattern="*"),), direction=OUT)
        assert verdict.rule is not None
        assert verdict.rule.path == "plain"
        assert ask(found, OUT, "db", 54, protocol).action is PolicyAction.ALLOW
    assert ask(found, OUT, "db", 53, 132).action is PolicyAction.ALLOW
    assert ask(found, OUT, "client", 53, 17).action is PolicyAction.DEFAULT_DENY
    assert found.dns_rules(found.identity_of(WEB.key)) == (DnsRule(pattern="*"),)


def test_who_has_no_rules_by_name_asks_the_dns_directly() -> None:
    found = engine(policy("plain", ON_WEB, rule(OUT, DB_PEER)))
    assert ask(found, OUT, "db", 53, 17).action is PolicyAction.ALLOW
    assert found.dns_rules(found.identity_of(WEB.key)) == ()


def test_names_that_may_be_asked_for() -> None:
    found = engine(policy("names", ON_WEB, TO_NAME, DNS_RULE))
    verdict = ask(found, OUT, "db", 53, 17)
    assert verdict.redirect == Redirect(dns=(DnsRule(name="example.org"),), direction=OUT)
    assert found.dns_rules(found.identity_of(WEB.key)) == (DnsRule(name="example.org"),)


def test_a_denial_after_a_name_leaves_it_to_the_name_and_one_before_does_not() -> None:
    after = tier(
        "x",
        Tier.ADMIN,
        1,
        rule(OUT, EXAMPLE),
        rule(OUT, cidr("0.0.0.0/0", inside=True), action=DENY),
    )
    before = tier(
        "x",
        Tier.ADMIN,
        1,
        rule(OUT, cidr("0.0.0.0/0", inside=True), action=DENY),
        rule(OUT, EXAMPLE),
    )
    for written, action in ((after, PolicyAction.DEFAULT_DENY), (before, PolicyAction.DENY)):
        found = engine(written)
        verdict = ask(found, OUT, "world", 443)
        assert verdict.action is action
        assert verdict.rule is not None
        assert verdict.rule.policy.name == "x"


def test_what_is_required_narrows_every_allowed_peer_of_the_subject() -> None:
    requires = Policy(
        PolicyRef("CiliumNetworkPolicy", "default", "requires"),
        "",
        ON_WEB,
        requires=((IN, selector(tier="data")),),
    )
    found = engine(OPEN, requires, policy("cidr", ON_WEB, rule(IN, cidr("203.0.113.0/24"))))
    assert passing(found, IN) == {"host", "world", "world2"}
    found.put_pod(pod("db", "10.0.0.2", node="node-2", app="db", tier="data"))
    assert passing(found, IN) == {"host", "db", "world", "world2"}
    found.put_policy(FORBIDS)
    assert not ask(found, IN, "old-db", 80).allows
    found.drop_policy(requires.ref)
    assert ask(found, IN, "old-db", 80).action is PolicyAction.DENY


def test_a_policy_in_audit_mode_is_told_and_not_enforced() -> None:
    audit = policy("audit", ON_WEB, rule(IN, LabelPeer(selector(app="client"))), audit=True)
    found = engine(audit)
    closed = RuleRef(audit.ref, "")
    verdict = ask(found, IN, "db", 80)
    assert verdict == Verdict(PolicyAction.ALLOW, None, audit=(PolicyAction.DEFAULT_DENY, closed))
    assert ask(found, IN, "client", 80) == Verdict(PolicyAction.ALLOW, None)
    found.put_policy(CLOSED)
    opened = RuleRef(audit.ref, "ingress[0]")
    verdict = ask(found, IN, "client", 80)
    assert (verdict.action, verdict.audit) == (DD, (PolicyAction.ALLOW, opened))
    assert ask(found, IN, "db", 80).audit is None


def test_an_audited_pass_is_told_by_the_rule_that_passes() -> None:
    passes = tier("p", Tier.ADMIN, 0, rule(IN, action=PASS, path="ingress[7]"))
    audited = Policy(**{name: getattr(passes, name) for name in Policy.__slots__} | {"audit": True})
    found = engine(admin("x", 1, DENY), audited)
    assert ask(found, IN, "db", 80).audit == (A, RuleRef(passes.ref, "ingress[7]"))


def test_a_policy_that_is_disabled_takes_no_part() -> None:
    found = engine(CLOSED)
    assert passing(found, IN) == {"host"}
    found.put_policy(policy("closed", ON_WEB, disabled=True))
    assert passing(found, IN) == set(ENDS)
    assert found.policy_of(found.identity_of(WEB.key)).ingress is None
    found.put_policy(CLOSED)
    assert passing(found, IN) == {"host"}


def test_the_node_is_a_subject_of_policies_about_nodes() -> None:
    about = policy("node", None, rule(IN, DB_PEER), nodes=selector(zone="a"))
    elsewhere = policy("elsewhere", None, nodes=selector(zone="b"))
    found = engine(about, elsewhere)
    assert found.policies_of(1) == {about.ref}
    passed = {other for other in ENDS if ask(found, IN, other, 80, subject="host").allows}
    assert passed == {"db", "old-db"}
    found.put_node("node-1", {"zone": "b"}, [parse_address("192.168.1.10")])
    assert found.policies_of(1) == {elsewhere.ref}
    found.drop_node("node-1")
    assert found.policies_of(1) == set()
    assert found.policy_of(1).ingress is None


def test_limits_on_new_traffic() -> None:
    limit = RateLimit(10, 20)
    limited = policy(
        "limited",
        ON_WEB,
        rule(IN, rate=limit, ports=(tcp(80), PortMatch(Protocol.TCP, name="http")), path="a"),
        rule(IN, rate=limit, path="b"),
        rule(OUT, rate=limit, path="c"),
    )
    found = engine(limited)
    assert found.rates(found.identity_of(WEB.key)) == (
        (6, 80, 80, limit, RuleRef(limited.ref, "a")),
        (6, 8080, 8080, limit, RuleRef(limited.ref, "a")),
        (0, 0, 65535, limit, RuleRef(limited.ref, "b")),
    )
    found.put_policy(policy("limited", ON_WEB, rule(IN, rate=limit), audit=True))
    assert found.rates(found.identity_of(WEB.key)) == ()


IDENTITIES = {
    "host": Identity.HOST, "node-2": Identity.REMOTE_NODE, "node-3": Identity.REMOTE_NODE,
    "apiserver": Identity.KUBE_APISERVER, "nobody": Identity.WORLD_IPV4,
    "world": Identity.WORLD_IPV4, "world6": Identity.WORLD_IPV6,
}  # fmt: skip


def test_groups_have_hubbles_numbers() -> None:
    found = engine()
    for end, identity in IDENTITIES.items():
        assert found.identity_at(parse_address(ENDS[end])) == identity
    assert found.identity_of(HOSTED.key) == Identity.REMOTE_NODE
    assert engine(node="node-2").identity_of(HOSTED.key) == Identity.HOST
    assert found.labels_of(1) == {"reserved:host": ""}
    assert found.labels_of(4) == {"reserved:health": ""}
    assert found.labels_of(12345) == {}


def test_nodes_differ_where_a_policy_tells_them_apart() -> None:
    found = engine(policy("out", ON_WEB, rule(OUT, NodePeer(selector(zone="b")))))
    assert found.identity_at(parse_address(ENDS["node-2"])) == Identity.REMOTE_NODE
    assert found.identity_at(parse_address(ENDS["node-3"])) >= 1 << 24
    found.drop_policy(PolicyRef("NetworkPolicy", "default", "out"))
    assert found.identity_at(parse_address(ENDS["node-3"])) == Identity.REMOTE_NODE


def test_an_api_server_outside_is_in_the_networks_around_it() -> None:
    found = engine(policy("out", ON_WEB, rule(OUT, EntityPeer("none"))))
    assert passing(found, OUT) == set()
    found.put_policy(policy("net", ON_WEB, rule(OUT, cidr("192.168.1.0/24"))))
    assert passing(found, OUT) == {"apiserver"}
    found.put_policy(policy("net", ON_WEB, rule(OUT, cidr("192.168.1.0/24", "192.168.1.4/30"))))
    assert passing(found, OUT) == set()
    found.drop_policy(PolicyRef("NetworkPolicy", "default", "net"))
    assert found.identity_at(parse_address(ENDS["apiserver"])) == Identity.KUBE_APISERVER


def test_an_api_server_on_a_node_is_both() -> None:
    for entity in ("kube-apiserver", "remote-node", "cluster"):
        found = engine(policy("out", ON_WEB, rule(OUT, EntityPeer(entity))))
        found.put_apiserver([parse_address(ENDS["node-2"])])
        assert "node-2" in passing(found, OUT)
        assert found.identity_at(parse_address(ENDS["node-2"])) == Identity.KUBE_APISERVER
    found = engine(policy("out", ON_WEB, rule(OUT, EntityPeer("kube-apiserver"))))
    found.put_apiserver([parse_address(ENDS["host"])])
    assert passing(found, OUT) == {"host"}
    assert found.identity_at(parse_address(ENDS["host"])) == Identity.HOST


def test_addresses_of_one_pod_differ_only_where_a_network_tells_them_apart() -> None:
    found = engine()
    four, six = (found.identity_at(address) for address in WEB.addresses)
    assert four == six == found.identity_of(WEB.key)
    found.put_policy(policy("out", ON_WEB, rule(OUT, cidr("10.0.0.0/8", inside=True))))
    told, other = (found.identity_at(address) for address in WEB.addresses)
    assert other == six
    assert told != four
    assert found.identity_of(WEB.key) == told
    assert {told, other} <= found.subjects()
    assert found.policy_of(told).egress == found.policy_of(other).egress


def test_a_pod_may_have_no_address_yet() -> None:
    found = engine(policy("young", selector(app="young")))
    found.put_pod(pod("young", app="young"))
    identity = found.identity_of(Key("default", "young"))
    assert identity in found.changes().subjects
    found.put_pod(pod("young", "10.0.0.9", app="young"))
    assert found.identity_of(Key("default", "young")) == identity
    assert found.identity_at(parse_address("10.0.0.9")) == identity


def test_of_two_pods_that_claim_an_address_the_first_by_name_has_it() -> None:
    found = engine()
    found.put_pod(pod("a-new-one", "10.0.0.2", app="new"))
    new = found.identity_of(Key("default", "a-new-one"))
    assert found.identity_at(parse_address("10.0.0.2")) == new
    found.drop_pod(Key("default", "a-new-one"))
    assert found.identity_at(parse_address("10.0.0.2")) == found.identity_of(DB.key)


def test_a_pod_of_another_node_is_no_subject_here() -> None:
    found = engine()
    assert found.identity_of(DB.key) not in found.subjects()
    with pytest.raises(KeyError):
        found.policy_of(found.identity_of(DB.key))
    with pytest.raises(KeyError):
        found.identity_of(Key("default", "nobody"))


@dataclass(frozen=True)
class Touch:
    """A change, and whether the policy of `web` must be compiled again."""

    name: str
    change: Workload | Policy | Key
    touches: bool


CALLERS = policy("callers", ON_WEB, rule(IN, DB_PEER))
CALLERS_OF_DB = policy("of-db", selector(app="db"), rule(IN, LabelPeer(ON_WEB)))
AWAY = "node-2"
TOUCHES = (
    Touch("a pod of a new kind that is meant", pod("x", "10.0.0.9", node=AWAY, app="db"), True),
    Touch("one more pod of a kind", pod("other/x", "10.0.0.9", node=AWAY, app="client"), False),
    Touch("a pod that nobody means", pod("x", "10.0.0.9", node=AWAY, app="x"), False),
    Touch("the last pod of a kind that is meant goes", OLD.key, True),
    Touch("a pod that nobody means goes", FAR.key, False),
    Touch("a policy about it", policy("more", ON_WEB, rule(IN, EntityPeer("world"))), True),
    Touch("a policy about others", policy("more", selector(app="x")), False),
    Touch("the same policy again", CALLERS, False),
)


@pytest.mark.parametrize("case", TOUCHES, ids=lambda case: case.name)
def test_only_what_a_change_touches_is_compiled_again(case: Touch) -> None:
    found = engine(CALLERS, CALLERS_OF_DB)
    for identity in found.changes().subjects:
        found.policy_of(identity)
    match case.change:
        case Workload():
            found.put_pod(case.change)
        case Policy():
            found.put_policy(case.change)
        case key:
            found.drop_pod(key)
    web = found.identity_of(WEB.key)
    changed = found.changes()
    assert (web in changed.subjects) == case.touches
    assert changed.subjects <= {web}
