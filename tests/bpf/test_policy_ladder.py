"""The ladder in BPF and its twin in Python agree; names, audit and proxies as the ladder says."""

import os
import random
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import packets
import pytest
import trial
from packets import GRE, ICMP, SCTP, TCP, UDP
from policy_trial import (
    ALLOW,
    DATABASE,
    DEFAULT,
    DENY,
    NAMED,
    NOBODY,
    OPEN,
    POLICY,
    SHUT,
    STRANGER,
    WEB,
    Policed,
    frame,
    policed,
    segment,
)
from trial import CLIENT, NODE, OTHER_POD, POD, REMOTE_POD

from cairn.abi.structs import (
    NAME_SELECTORS,
    NameKey,
    NamePage,
    PolicyAction,
    PolicyFlag,
    PolicyFlow,
)
from cairn.abi.verdicts import Verdict as Outcome
from cairn.desired.policy import (
    DirectionPolicy,
    PortRange,
    Redirect,
    SubjectPolicy,
    Table,
    Verdict,
)
from cairn.kube.policy.rule import HttpRule, PolicyRef, RuleRef

pytestmark = pytest.mark.bpf

CASES = int(os.environ.get("CAIRN_LADDER_CASES", "12"))
REDIRECT = Redirect(http=(HttpRule(method="GET"),))
AUDITING = RuleRef(PolicyRef("NetworkPolicy", "default", "tried"), "ingress[0]")
REMOTES = {OTHER_POD: DATABASE, CLIENT: STRANGER, REMOTE_POD: 9, NODE: 1}
PROTOCOLS = (TCP, UDP, SCTP, GRE, ICMP)


@pytest.fixture
def node() -> Iterator[Policed]:
    with policed() as made:
        yield made


def some_verdict(chance: random.Random) -> Verdict:
    action = chance.choice(list(PolicyAction))
    rule = RuleRef(POLICY, f"egress[{chance.randrange(50)}]")
    return Verdict(action, rule, REDIRECT if action is PolicyAction.PROXY else None)


def some_ports(chance: random.Random, protocol: int) -> list[tuple[int, int]]:
    if protocol == GRE:
        return [(0, 0)]
    if protocol == ICMP:
        return [(kind << 8, kind << 8) for kind in sorted(chance.sample(range(40), 3))]
    edges = sorted(chance.sample(range(65536), 2 * chance.randrange(1, 4)))
    whole = [(0, 65535)] if chance.random() < 0.2 else []
    return whole or list(zip(edges[::2], edges[1::2], strict=True))


def some_table(chance: random.Random) -> Table:
    chosen = sorted(chance.sample(PROTOCOLS, chance.randrange(0, 4)))
    ranges = [
        PortRange(protocol, first, last, some_verdict(chance))
        for protocol in chosen
        for first, last in some_ports(chance, protocol)
    ]
    rest = Verdict(PolicyAction.DEFAULT_DENY, RuleRef(POLICY, ""))
    return Table(rest if chance.random() < 0.7 else some_verdict(chance), tuple(ranges))


def some_policy(chance: random.Random, selectors: list[int]) -> DirectionPolicy:
    remotes = [*REMOTES.values(), *selectors]
    peers = {number: some_table(chance) for number in remotes if chance.random() < 0.6}
    return DirectionPolicy(some_table(chance), peers)


def opening(chance: random.Random, to: str, number: int) -> tuple[bytes, int, int]:
    """Return a packet that opens something, with its protocol and port."""
    protocol = chance.choice(PROTOCOLS)
    source = 1024 + number
    if protocol == TCP:
        port = chance.randrange(65536)
        return segment(POD, source, to, port), protocol, port
    if protocol in (UDP, SCTP):
        port = chance.randrange(65536)
        payload = struct.pack("!HHIII", source, port, 12 << 16, 0, 0)
        return frame(payload, POD, to, protocol), protocol, port
    if protocol == GRE:
        return frame(bytes(16), POD, to, GRE), GRE, 0
    kind = chance.choice([8, 13, 17, 30])
    rest = struct.pack("!HH", source, 1) + b"ping"
    return frame(packets.icmp(kind, rest=rest), POD, to, ICMP), ICMP, kind << 8


def name(node: Policed, address: str, selectors: list[int]) -> None:
    """Let an address have been learnt for names."""
    for page in range(-(-len(selectors) // NAME_SELECTORS)):
        held = selectors[page * NAME_SELECTORS : (page + 1) * NAME_SELECTORS]
        raw = b"".join(one.to_bytes(4, "little") for one in held)
        key = NameKey(ip_address(address), page).write()
        node.node.maps["policy_names"].update(key, raw.ljust(NamePage.SIZE, b"\0"))


def forget(node: Policed) -> None:
    for key, _ in list(node.node.maps["policy_flows"].items()):
        node.node.maps["policy_flows"].delete(key)


@pytest.mark.parametrize("seed", range(CASES))
def test_both_ladders_say_the_same(node: Policed, seed: int) -> None:
    chance = random.Random(seed)
    selectors = [NAMED + number for number in range(20)]
    names = {to: tuple(chance.sample(selectors, chance.randrange(0, 20))) for to in REMOTES}
    policy = some_policy(chance, selectors)
    node.apply(SubjectPolicy(WEB, egress=policy))
    for to, learnt in names.items():
        name(node, to, list(learnt))
    decided = set()
    for number in range(150):
        to = chance.choice(list(REMOTES))
        packet, protocol, port = opening(chance, to, number)
        expected = policy.at(REMOTES[to], protocol, port, names[to])
        decided.add(expected.action)
        forget(node)
        run = node.node.run(packet, "pod_ingress")
        allowed = expected.action is PolicyAction.ALLOW
        assert (run.verdict != trial.DROP) == allowed, (to, protocol, port, expected)
        flows = [PolicyFlow.read(value) for _, value in node.node.maps["policy_flows"].items()]
        tracked = protocol != ICMP or port == 8 << 8
        assert bool(flows) == (expected.allows and tracked)
        for flow in flows:
            assert expected.rule is not None
            assert flow.egress_rule == node.rules.number(expected.rule)
            assert bool(flow.proxy) == (expected.action is PolicyAction.PROXY)
    assert len(decided) > 1


def test_a_name_allows_what_no_address_does(node: Policed) -> None:
    node.apply(
        SubjectPolicy(WEB, egress=DirectionPolicy(SHUT, {NAMED: OPEN, STRANGER: Table(DENY)}))
    )
    to = segment(POD, 40000, REMOTE_POD, 443)
    assert node.outcome(to) == Outcome.DROP_POLICY_DEFAULT
    name(node, REMOTE_POD, [NAMED + 1, NAMED])
    assert node.outcome(to) == Outcome.TO_NODE
    name(node, CLIENT, [NAMED])
    assert node.outcome(segment(POD, 40000, CLIENT, 443)) == Outcome.DROP_POLICY_DENIED


def test_a_policy_that_is_tried_is_counted_once_and_bites_not(node: Policed) -> None:
    tried = Verdict(ALLOW.action, ALLOW.rule, audit=(PolicyAction.DEFAULT_DENY, AUDITING))
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(Table(tried))))
    for _ in range(3):
        assert node.outcome(segment(CLIENT, 40000, POD, 80), "uplink_ingress") == Outcome.TO_POD
    assert node.counters(Verdict(PolicyAction.DENY, AUDITING)).audited == 1
    assert node.events() == [(Outcome.AUDITED, str(AUDITING))]
    assert node.counters(ALLOW).allowed == 1


def test_a_policy_that_is_tried_sees_connections_that_stand(node: Policed) -> None:
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(OPEN)))
    to = segment(CLIENT, 40000, POD, 80, packets.ACK)
    assert node.outcome(to, "uplink_ingress") == Outcome.TO_POD
    tried = Verdict(ALLOW.action, ALLOW.rule, audit=(PolicyAction.DENY, AUDITING))
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(Table(tried))))
    assert node.outcome(to, "uplink_ingress") == Outcome.TO_POD
    node.flags(0)
    assert node.outcome(to, "uplink_ingress") == Outcome.TO_POD
    assert node.counters(Verdict(PolicyAction.DENY, AUDITING)).audited == 1


def test_what_a_tried_policy_would_allow_is_counted(node: Policed) -> None:
    tried = Verdict(DEFAULT.action, DEFAULT.rule, audit=(PolicyAction.ALLOW, AUDITING))
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(Table(tried))))
    to = segment(CLIENT, 40000, POD, 80)
    assert node.outcome(to, "uplink_ingress") == Outcome.DROP_POLICY_DEFAULT
    assert node.counters(Verdict(PolicyAction.ALLOW, AUDITING)).audited == 1
    assert node.events() == [(Outcome.DROP_POLICY_DEFAULT, str(DEFAULT.rule))]


def test_what_no_proxy_judges_does_not_pass(node: Policed) -> None:
    proxied = Verdict(PolicyAction.PROXY, ALLOW.rule, REDIRECT)
    node.apply(SubjectPolicy(WEB, egress=DirectionPolicy(Table(proxied))))
    assert node.outcome(segment(POD, 40000, CLIENT, 80)) == Outcome.DROP_PROXY_GONE
    node.apply(SubjectPolicy(WEB, ingress=DirectionPolicy(Table(proxied)), egress=NOBODY))
    to = segment(CLIENT, 40000, POD, 80)
    assert node.outcome(to, "uplink_ingress") == Outcome.DROP_PROXY_GONE
    to_vip = segment(CLIENT, 40000, trial.VIP, trial.LOCAL_PORT)
    assert node.outcome(to_vip, "uplink_ingress") == Outcome.DROP_PROXY_GONE
    node.flags(PolicyFlag.PROXY_RUNS)
    assert node.outcome(to, "uplink_ingress") == Outcome.DROP_PROXY_GONE
