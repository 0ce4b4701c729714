"""Policies in real maps: what is written, what is not, what becomes of a pod that does not fit."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cairn.abi.address import write_address
from cairn.abi.structs import (
    Endpoint,
    EndpointFlag,
    Identity,
    PolicyAction,
    PolicyDirection,
    PolicyFlag,
    PolicyKey,
    PolicyPeer,
    PolicyState,
    PolicyVerdict,
    PortKey,
)
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.compile.redirect_ports import RedirectPorts
from cairn.desired.policy import (
    DirectionPolicy,
    PortRange,
    Redirect,
    SubjectPolicy,
    Table,
    Verdict,
)
from cairn.kube.policy.rule import Direction, HttpRule, PolicyRef, RuleRef
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import parse_address, parse_network

pytestmark = pytest.mark.bpf

WEB, DATABASE, OTHER = 1000, 1001, 1002
POD = parse_address("10.244.1.5")
POLICY = PolicyRef("NetworkPolicy", "default", "web")
ALLOW = Verdict(PolicyAction.ALLOW, RuleRef(POLICY, "ingress[0]"))
DENY_RULE = RuleRef(POLICY, "ingressDeny[0]")
DENY = Verdict(PolicyAction.DENY, DENY_RULE)
DEFAULT = Verdict(PolicyAction.DEFAULT_DENY, RuleRef(POLICY, ""))
CLOSED = Table(DEFAULT)
PORT_80 = Table(DEFAULT, (PortRange(6, 80, 80, ALLOW),))
REDIRECT = Redirect(http=(HttpRule(method="GET"),))
PROXY = replace(ALLOW, action=PolicyAction.PROXY, redirect=REDIRECT)
PROXIED = Table(DEFAULT, (PortRange(6, 80, 80, PROXY),))

SHAPES = {
    "policy_peers": MapShape(MapType.HASH, 12, 20, 4096, 1),
    "policy_ports": MapShape(MapType.HASH, 8, 12, 4096, 1),
    "policy_rules": MapShape(MapType.HASH, 4, 24, 4096, 1),
    "identities": MapShape(MapType.LPM_TRIE, 20, 4, 4096, 1),
    "policy_state": MapShape(MapType.ARRAY, 4, 8, 1, 0),
    "endpoints": MapShape(MapType.HASH, 16, 24, 256, 1),
}


class Ports:
    """The ports of redirects, and a proxy that serves them or not."""

    def __init__(self) -> None:
        self.given = RedirectPorts(range(15001, 15010), last=15000)
        self.serves = True

    def follow(self, identity: int, policy: SubjectPolicy | None) -> None:
        assert self.given.follow(identity, policy)

    def port(self, identity: int, redirect: Redirect, rule: RuleRef | None = None) -> int:
        return self.given.port(identity, redirect)

    def ready(self, identity: int, redirect: Redirect) -> bool:
        return self.serves

    def directions(self, identity: int) -> frozenset[Direction]:
        return self.given.directions(identity)


class Node:
    """Maps, and an applier that can be restarted."""

    def __init__(self, **sizes: int) -> None:
        self.maps = {
            name: Map.create(replace(shape, max_entries=sizes.get(name, shape.max_entries)), name)
            for name, shape in SHAPES.items()
        }
        self.restart()

    def restart(self) -> None:
        self.rules = RuleNumbers({})
        self.ports = Ports()
        self.applier = PolicyMaps(self.maps, self.rules, self.ports)

    def wire(self, *addresses: str) -> None:
        for number, address in enumerate(addresses):
            entry = Endpoint(7 + number, b"\2" * 6, b"\3" * 6, EndpointFlag.CLOSED, 0)
            self.maps["endpoints"].update(write_address(parse_address(address)), entry.write())

    def endpoint(self, address: str = str(POD)) -> Endpoint:
        held = self.maps["endpoints"].lookup(write_address(parse_address(address)))
        assert held is not None
        return Endpoint.read(held)

    def state(self) -> PolicyState:
        return PolicyState.read(self.maps["policy_state"].lookup(bytes(4)) or bytes(8))

    def verdict(self, remote: int, port: int, protocol: int = 6) -> PolicyVerdict:
        """Ask the maps as the programs do, for what is opened towards a web pod."""
        peer = self.peer(remote, PolicyDirection.INGRESS)
        assert peer is not None
        for bits in range(16, -1, -1):
            if peer.lengths & 1 << bits:
                cut = port >> (16 - bits) << (16 - bits)
                key = PortKey(peer.table, cut, protocol, bits).write()
                found = self.maps["policy_ports"].lookup(key)
                if found is not None:
                    return PolicyVerdict.read(found)
        return PolicyVerdict(peer.rule, peer.audit_rule, peer.proxy, peer.action, peer.audit_action)

    def action(self, remote: int, port: int = 80) -> int:
        return self.verdict(remote, port).action

    def peer(self, remote: int, direction: PolicyDirection) -> PolicyPeer | None:
        table = self.maps["policy_peers"]
        held = table.lookup(PolicyKey(WEB, remote, direction).write())
        held = held or table.lookup(PolicyKey(WEB, 0, direction).write())
        return PolicyPeer.read(held) if held else None

    def contents(self) -> dict[str, dict[bytes, bytes]]:
        return {name: dict(table.items()) for name, table in self.maps.items()}


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    for table in made.maps.values():
        table.close()


def ingress(identity: int, rest: Table = CLOSED, **peers: Table) -> SubjectPolicy:
    others = {int(name[1:]): table for name, table in peers.items()}
    return SubjectPolicy(identity, ingress=DirectionPolicy(rest, others))


def web(**peers: Table) -> PolicyChange:
    """A pod with a policy."""
    return PolicyChange(
        {WEB: ingress(WEB, **peers)},
        {parse_network("10.244.1.5/32"): WEB, parse_network("10.244.2.9/32"): DATABASE},
        {POD: WEB},
    )


def test_a_pod_is_opened_with_its_policy(node: Node) -> None:
    node.wire(str(POD))
    assert not node.applier.is_open(POD)
    assert node.applier.apply(web(_1001=PORT_80)) == []
    assert node.applier.is_open(POD)
    entry = node.endpoint()
    assert (entry.identity, entry.flags) == (WEB, EndpointFlag.INGRESS)
    assert node.action(DATABASE) == PolicyAction.ALLOW
    assert node.rules.ref(node.verdict(DATABASE, 80).rule) == ALLOW.rule
    for remote, port in ((DATABASE, 81), (OTHER, 80)):
        assert node.action(remote, port) == PolicyAction.DEFAULT_DENY
    assert node.peer(DATABASE, PolicyDirection.EGRESS) is None
    assert node.state().revision > 0
    assert set(node.contents()["policy_rules"]) == {
        n.to_bytes(4, "little") for n in node.rules.refs()
    }


@pytest.mark.parametrize(
    ("first", "last"), [(0, 65535), (80, 80), (1, 65535), (1000, 2000), (7, 7000)]
)
def test_a_range_holds_its_ports_and_no_other(node: Node, first: int, last: int) -> None:
    table = Table(DENY, (PortRange(17, first, last, ALLOW),))
    node.applier.apply(PolicyChange({WEB: ingress(WEB, table)}))
    around = {0, first - 1, first, (first + last) // 2, last, last + 1, 65535}
    for port in around & set(range(65536)):
        expected = PolicyAction.ALLOW if first <= port <= last else PolicyAction.DENY
        assert node.verdict(5, port, 17).action == expected, port


def test_equal_policies_write_nothing(node: Node) -> None:
    node.wire(str(POD))
    node.applier.apply(web(_1001=PORT_80))
    before = node.contents()
    node.applier.apply(web(_1001=PORT_80))
    assert node.contents() == before


def test_a_new_agent_finds_what_the_old_one_wrote(node: Node) -> None:
    node.wire(str(POD))
    node.applier.apply(web(_1001=PORT_80, _1002=Table(DENY, (PortRange(6, 1, 99, ALLOW),))))
    before = node.contents()
    node.restart()
    assert not node.applier.is_open(POD), "this agent has not been told yet"
    assert node.contents() == before
    node.applier.apply(web(_1001=PORT_80, _1002=Table(DENY, (PortRange(6, 1, 99, ALLOW),))))
    node.applier.keep_networks(web().networks)
    node.applier.tidy()
    assert node.contents() == before


def test_what_is_no_more_goes_after_the_revision(node: Node) -> None:
    node.wire(str(POD))
    node.applier.apply(web(_1001=PORT_80, _1002=PORT_80))
    revision = node.state().revision
    change = PolicyChange({WEB: ingress(WEB, _1001=Table(ALLOW))})
    node.applier.apply(change)
    assert node.state().revision != revision
    assert node.applier.untidy
    assert len(node.contents()["policy_ports"]) == 1, "a program may be reading the table"
    node.applier.tidy()
    assert not node.applier.untidy
    assert node.contents()["policy_ports"] == {}
    assert len(node.contents()["policy_peers"]) == 2


def test_a_peer_that_lives_is_removed_at_once(node: Node) -> None:
    """Else it would go on being let in."""
    node.applier.apply(web(_1001=PORT_80))
    node.applier.apply(PolicyChange({WEB: ingress(WEB)}))
    assert node.action(DATABASE) == PolicyAction.DEFAULT_DENY


def test_a_pod_that_changes_its_labels(node: Node) -> None:
    node.wire(str(POD))
    node.applier.apply(web(_1001=PORT_80))
    node.applier.apply(PolicyChange({OTHER: SubjectPolicy(OTHER), WEB: None}, {}, {POD: OTHER}))
    assert (node.endpoint().identity, node.endpoint().flags) == (OTHER, 0)
    node.applier.tidy()
    assert list(node.applier.subjects) == [OTHER]
    assert node.contents()["policy_peers"] == {}


def test_an_identity_that_a_pod_has_is_not_forgotten(node: Node) -> None:
    node.wire(str(POD))
    node.applier.apply(web(_1001=PORT_80))
    node.restart()
    node.applier.apply(PolicyChange({WEB: None}))
    node.applier.tidy()
    assert node.action(OTHER) == PolicyAction.DEFAULT_DENY


def test_flags_of_the_programs_stay(node: Node) -> None:
    node.wire(str(POD))
    entry = node.endpoint()
    key = write_address(POD)
    flags = EndpointFlag.CLOSED | EndpointFlag.SERVES_INSIDE
    node.maps["endpoints"].update(key, replace(entry, flags=flags).write())
    node.applier.apply(web())
    assert node.endpoint().flags == EndpointFlag.INGRESS | EndpointFlag.SERVES_INSIDE
    assert node.endpoint().mac == entry.mac


@pytest.mark.parametrize("full", ["policy_ports", "policy_peers"])
def test_a_policy_that_does_not_fit_closes_its_pods(full: str) -> None:
    node = Node(**{full: 6})
    other = "10.244.1.6"
    node.wire(str(POD), other)
    node.applier.apply(
        PolicyChange({OTHER: ingress(OTHER, PORT_80)}, {}, {parse_address(other): OTHER})
    )
    many = {f"_{2000 + n}": Table(DEFAULT, (PortRange(6, n, n, ALLOW),)) for n in range(1, 9)}
    small = web(_1001=PORT_80)
    node.applier.apply(small)
    assert node.applier.apply(PolicyChange({WEB: ingress(WEB, **many)})) != []
    assert node.applier.failed == {WEB: full}
    assert node.endpoint().flags & EndpointFlag.CLOSED
    assert not node.applier.is_open(POD)
    assert node.endpoint(other).flags == EndpointFlag.INGRESS
    node.applier.tidy()
    assert node.applier.apply(PolicyChange(small.subjects)) == []
    node.applier.tidy()
    assert node.applier.failed == {}
    assert node.endpoint().flags == EndpointFlag.INGRESS
    assert node.action(DATABASE) == PolicyAction.ALLOW


def test_the_node_keeps_what_it_had_if_its_policy_does_not_fit() -> None:
    node = Node(policy_peers=4)
    node.applier.apply(PolicyChange({Identity.HOST: ingress(1, _1001=PORT_80)}))
    before = node.contents()["policy_peers"]
    assert node.state().flags == PolicyFlag.HOST_INGRESS
    many = {f"_{2000 + n}": PORT_80 for n in range(9)}
    node.applier.apply(PolicyChange({Identity.HOST: ingress(1, Table(DENY), **many)}))
    assert node.applier.failed == {Identity.HOST: "policy_peers"}
    assert node.contents()["policy_peers"] == before
    assert node.state().flags == PolicyFlag.HOST_INGRESS


def test_a_network_that_does_not_fit_closes_whom_it_concerns() -> None:
    node = Node(identities=3)
    other = "10.244.1.6"
    node.wire(str(POD), other)
    networks = {"0.0.0.0/0": 9, "10.244.2.8/32": 77, "::/0": 10}
    node.applier.apply(
        PolicyChange(
            {WEB: ingress(WEB, _1001=PORT_80), OTHER: ingress(OTHER, PORT_80)},
            {parse_network(text): identity for text, identity in networks.items()},
            {POD: WEB, parse_address(other): OTHER},
        )
    )
    late = parse_network("10.244.2.9/32")
    assert node.applier.apply(PolicyChange({}, {late: DATABASE})) != []
    assert node.applier.homeless == {late: DATABASE}
    assert node.applier.failed == {WEB: "identities"}
    assert node.endpoint().flags & EndpointFlag.CLOSED
    assert node.endpoint(other).flags == EndpointFlag.INGRESS, "it judges both alike"
    node.applier.apply(PolicyChange({}, {parse_network("10.244.2.8/32"): None}))
    assert node.applier.apply(PolicyChange({}, node.applier.homeless)) == []
    assert node.endpoint().flags == EndpointFlag.INGRESS


def test_a_proxy_is_named_once_it_serves(node: Node) -> None:
    node.wire(str(POD))
    node.applier.apply(web(_1001=PORT_80))
    before = node.contents()
    wanted = PolicyChange({WEB: ingress(WEB, _1001=PROXIED)})
    node.ports.serves = False
    node.applier.apply(wanted)
    assert node.applier.waiting == {WEB: frozenset({REDIRECT})}
    assert node.contents() == before
    node.ports.serves = True
    node.applier.apply(wanted)
    assert node.applier.waiting == {}
    found = node.verdict(DATABASE, 80)
    assert (found.action, found.proxy) == (PolicyAction.PROXY, 15001)
    assert node.applier.proxies == {15001}
    assert node.state().flags == PolicyFlag.PROXY_RUNS


def test_verdicts_of_audit_are_written_beside(node: Node) -> None:
    audited = Verdict(PolicyAction.ALLOW, None, audit=(PolicyAction.DENY, DENY_RULE))
    node.applier.apply(PolicyChange({WEB: ingress(WEB, Table(audited))}))
    found = node.verdict(5, 80)
    assert (found.action, found.rule, found.audit_action) == (
        PolicyAction.ALLOW,
        0,
        PolicyAction.DENY,
    )
    assert node.rules.ref(found.audit_rule) == DENY_RULE


def test_rules_have_the_same_numbers_in_a_new_agent(node: Node) -> None:
    number = node.rules.number(RuleRef(POLICY, "egress[3]"))
    assert RuleNumbers({}).number(RuleRef(POLICY, "egress[3]")) == number != 0
    other = RuleNumbers({number: RuleRef(POLICY, "elsewhere")})
    assert other.number(RuleRef(POLICY, "egress[3]")) != number
    assert other.ref(number) == RuleRef(POLICY, "elsewhere")


def test_one_change_among_many_is_quick(node: Node) -> None:
    """The work of one change does not grow with what the maps hold."""
    many = {n: ingress(n, PORT_80, _1001=Table(ALLOW)) for n in range(2000, 3500)}
    node.applier.apply(PolicyChange(many))
    took = []
    for n in range(2000, 2050):
        start = time.perf_counter()
        node.applier.apply(PolicyChange({n: ingress(n, PORT_80)}))
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.01
