"""ClusterNetworkPolicy: tiers, places and every kind of peer, as YAML and as read."""

from typing import Any

import pytest
from policy_text import being, pods, policy_object, read_one, refusal

from cairn.kube.policy.rule import (
    NAMESPACE_LABEL,
    Action,
    CidrPeer,
    Direction,
    FqdnPeer,
    LabelPeer,
    NodePeer,
    PolicyRef,
    PortMatch,
    Rule,
    Tier,
)
from cairn.kube.selector import Selector
from cairn.net import Protocol, parse_network

KIND = "ClusterNetworkPolicy"
IN, OUT = Direction.INGRESS, Direction.EGRESS
HEAD = "tier: Admin, priority: 5, subject: {namespaces: {}}"
TEAM = being(**{f"{NAMESPACE_LABEL}team": "x"})


def spec(rules: str) -> str:
    return f"{{{HEAD}, {rules}}}"


def egress(peer: str = "{namespaces: {}}", *, action: str = "Accept", more: str = "") -> str:
    return spec(f"egress: [{{action: {action}, to: [{peer}]{more}}}]")


def only_rule(text: str) -> Rule:
    (rule,) = read_one(KIND, text).rules
    return rule


@pytest.mark.parametrize(("word", "tier"), [("Admin", Tier.ADMIN), ("Baseline", Tier.BASELINE)])
def test_tier_priority_and_subject(word: str, tier: Tier) -> None:
    policy = read_one(KIND, f"{{tier: {word}, priority: 1000, subject: {{namespaces: {{}}}}}}")
    assert policy.ref == PolicyRef(KIND, "", "p")
    assert (policy.tier, policy.priority) == (tier, 1000)
    assert (policy.subject, policy.isolates, policy.rules) == (Selector(), frozenset(), ())


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("{namespaces: {matchLabels: {team: x}}}", TEAM),
        (
            "{namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}",
            being(namespace="shop"),
        ),
        ("{pods: {podSelector: {matchLabels: {a: b}}}}", being(a="b")),
        (
            "{pods: {namespaceSelector: {matchLabels: {team: x}}, podSelector: {}}}",
            TEAM,
        ),
        (
            "{pods: {namespaceSelector: {matchLabels: {team: x}}, "
            "podSelector: {matchLabels: {a: b}}}}",
            TEAM + being(a="b"),
        ),
    ],
)
def test_subjects_and_peers_among_pods(subject: str, expected: tuple[Any, ...]) -> None:
    policy = read_one(KIND, f"{{tier: Admin, priority: 0, subject: {subject}}}")
    assert policy.subject == Selector(expected)
    assert only_rule(egress(subject)).peers == (LabelPeer(Selector(expected)),)
    ingress = only_rule(spec(f"ingress: [{{action: Deny, from: [{subject}]}}]"))
    assert ingress == Rule("ingress[0]", IN, Action.DENY, (LabelPeer(Selector(expected)),))


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("{nodes: {}}", (NodePeer(Selector()),)),
        ("{nodes: {matchLabels: {role: a}}}", (NodePeer(Selector(being(role="a"))),)),
        (
            "{networks: [10.0.0.0/8, '2001:db8::/32']}",
            (
                CidrPeer(parse_network("10.0.0.0/8"), inside=True),
                CidrPeer(parse_network("2001:db8::/32"), inside=True),
            ),
        ),
        (
            "{domainNames: [Kubernetes.io., '*.kubernetes.io']}",
            (FqdnPeer("kubernetes.io"), FqdnPeer(pattern="**.kubernetes.io")),
        ),
    ],
)
def test_peers_of_egress(peer: str, expected: tuple[Any, ...]) -> None:
    assert only_rule(egress(peer)).peers == expected


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("{tcp: {destinationPort: {number: 80}}}", PortMatch(Protocol.TCP, 80, 80)),
        (
            "{udp: {destinationPort: {range: {start: 80, end: 90}}}}",
            PortMatch(Protocol.UDP, 80, 90),
        ),
        ("{sctp: {destinationPort: {number: 1}}}", PortMatch(Protocol.SCTP, 1, 1)),
        ("{destinationNamedPort: http}", PortMatch(None, name="http")),
    ],
)
def test_protocols(protocol: str, expected: PortMatch) -> None:
    assert only_rule(egress(more=f", protocols: [{protocol}]")).matches == (expected,)


def test_rules_keep_their_places_and_actions() -> None:
    rules = read_one(
        KIND,
        spec(
            "ingress: [{name: first, action: Pass, from: [{namespaces: {}}]}, "
            "{action: Accept, from: [{namespaces: {}}]}], "
            "egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]"
        ),
    ).rules
    assert [(rule.path, rule.action) for rule in rules] == [
        ("ingress[0]", Action.PASS),
        ("ingress[1]", Action.ALLOW),
        ("egress[0]", Action.DENY),
    ]
    assert rules[0].peers == (pods(),)


def test_annotations_hold_here_too() -> None:
    policy = read_one(KIND, f"{{{HEAD}}}", **{"policy.cilium.io/audit-mode": "true"})
    assert policy.audit


TO, PORTS = "spec.egress[0].to[0]", "spec.egress[0].protocols"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("{priority: 0, subject: {namespaces: {}}}", "spec.tier", "Admin, Baseline"),
        ("{tier: Normal, priority: 0, subject: {namespaces: {}}}", "spec.tier", "Admin"),
        ("{tier: Admin, subject: {namespaces: {}}}", "spec.priority", "0 to 1000"),
        ("{tier: Admin, priority: 1001, subject: {namespaces: {}}}", "spec.priority", "0 to 1000"),
        ("{tier: Admin, priority: 0}", "spec.subject", "is not an object"),
        ("{tier: Admin, priority: 0, subject: {}}", "spec.subject", "just one"),
        (
            "{tier: Admin, priority: 0, subject: {namespaces: {}, pods: {podSelector: {}}}}",
            "spec.subject",
            "just one",
        ),
        (
            "{tier: Admin, priority: 0, subject: {pods: {namespaceSelector: {}}}}",
            "spec.subject.pods.podSelector",
            "is missing",
        ),
        (spec("egress: [{to: [{namespaces: {}}]}]"), "spec.egress[0].action", "Accept, Deny, Pass"),
        (spec("egress: [{action: Allow, to: []}]"), "spec.egress[0].action", "Accept, Deny, Pass"),
        (spec("egress: [{action: Deny, to: []}]"), "spec.egress[0].to", "is empty"),
        (spec("egress: [{action: Deny}]"), "spec.egress[0].to", "is empty"),
        (
            spec(f"egress: [{{name: {'n' * 101}, action: Deny}}]"),
            "spec.egress[0].name",
            "at most 100",
        ),
        (egress("{}"), TO, "just one"),
        (egress("{services: {}}"), f"{TO}.services", "unknown field"),
        (
            spec("ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]"),
            "spec.ingress[0].from[0].networks",
            "unknown field",
        ),
        (egress("{networks: []}"), f"{TO}.networks", "is empty"),
        (egress("{networks: [10.0.0.1]}"), f"{TO}.networks[0]", "is not a network"),
        (egress("{domainNames: [a.b]}", action="Deny"), f"{TO}.domainNames", "Accept alone"),
        (egress("{domainNames: [a.b]}", action="Pass"), f"{TO}.domainNames", "Accept alone"),
        (egress("{domainNames: ['a.*.b']}"), f"{TO}.domainNames[0]", "is not a domain name"),
        (egress("{domainNames: ['*']}"), f"{TO}.domainNames[0]", "is not a domain name"),
        (egress("{domainNames: [5]}"), f"{TO}.domainNames[0]", "is not a domain name"),
        (egress(more=", protocols: []"), PORTS, "is empty"),
        (egress(more=", protocols: [{}]"), f"{PORTS}[0]", "just one"),
        (egress(more=", protocols: [{tcp: {}}]"), f"{PORTS}[0].tcp.destinationPort", "is missing"),
        (
            egress(more=", protocols: [{tcp: {destinationPort: {}}}]"),
            f"{PORTS}[0].tcp.destinationPort",
            "just one",
        ),
        (
            egress(more=", protocols: [{tcp: {destinationPort: {number: 0}}}]"),
            f"{PORTS}[0].tcp.destinationPort.number",
            "1 to 65535",
        ),
        (
            egress(more=", protocols: [{tcp: {destinationPort: {range: {start: 9, end: 9}}}}]"),
            f"{PORTS}[0].tcp.destinationPort.range.end",
            "not greater than start",
        ),
        (
            egress(more=", protocols: [{destinationNamedPort: '80'}]"),
            f"{PORTS}[0].destinationNamedPort",
            "not the name of a port",
        ),
        (
            egress("{nodes: {}}", more=", protocols: [{destinationNamedPort: http}]"),
            PORTS,
            "is for pods",
        ),
    ],
)
def test_what_is_not_understood_is_refused(text: str, path: str, words: str) -> None:
    where, why = refusal(policy_object(KIND, text))
    assert where == path
    assert words in why


def test_host_bits_are_told_of() -> None:
    (finding,) = read_one(KIND, egress("{networks: [10.1.2.3/8, 10.0.0.0/8]}")).findings
    assert finding.reason == "HostBits"
    assert "read as 10.0.0.0/8" in finding.message
