"""NetworkPolicy of Kubernetes: every field, as YAML and as what it is read as."""

from typing import Any

import pytest
from policy_text import being, pods, policy_object, read_one, refusal, shop

from cairn.kube.policy.rule import (
    NAMESPACE_LABEL,
    Action,
    CidrPeer,
    Direction,
    EntityPeer,
    LabelPeer,
    PolicyRef,
    PortMatch,
    Rule,
    Tier,
)
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Protocol, parse_network

KIND = "NetworkPolicy"
IN, OUT = Direction.INGRESS, Direction.EGRESS
TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
OWN_NODE = Rule("implied.host", OUT, Action.ALLOW, (EntityPeer("host"),), implied=True)
TEN = parse_network("10.0.0.0/8")


def peers(text: str) -> tuple[Any, ...]:
    (rule,) = read_one(KIND, f"{{podSelector: {{}}, ingress: [{{from: [{text}]}}]}}").rules
    return rule.peers


def matches(text: str) -> tuple[Any, ...]:
    (rule,) = read_one(KIND, f"{{podSelector: {{}}, ingress: [{{ports: [{text}]}}]}}").rules
    return rule.matches


def test_a_policy_is_about_pods_of_its_namespace() -> None:
    policy = read_one(KIND, "podSelector: {matchLabels: {app: web}}")
    assert policy.ref == PolicyRef(KIND, "shop", "p")
    assert policy.uid == "u"
    assert policy.subject == Selector(being(namespace="shop", app="web"))
    assert (policy.tier, policy.rules, policy.findings) == (Tier.NORMAL, (), ())
    assert policy.isolates == {IN}


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        ("{}", {IN}),
        ("{podSelector: {}, ingress: []}", {IN}),
        ("{podSelector: {}, egress: []}", {IN}),
        ("{podSelector: {}, egress: [{}]}", {IN, OUT}),
        ("{podSelector: {}, policyTypes: []}", {IN}),
        ("{podSelector: {}, policyTypes: [Ingress]}", {IN}),
        ("{podSelector: {}, policyTypes: [Egress]}", {OUT}),
        ("{podSelector: {}, policyTypes: [Ingress, Egress]}", {IN, OUT}),
    ],
)
def test_policy_types_default_as_the_api_says(spec: str, isolates: set[Direction]) -> None:
    policy = read_one(KIND, spec)
    assert policy.isolates == isolates
    assert (OWN_NODE in policy.rules) == (OUT in isolates)


def test_rules_of_a_direction_that_is_not_named_are_told_of() -> None:
    policy = read_one(KIND, "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}")
    assert policy.rules == ()
    (finding,) = policy.findings
    assert finding.reason == "PolicyTypeMissing"
    assert "spec.egress is not in force" in finding.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("podSelector: {matchLabels: {a: b}}", (shop(a="b"),)),
        ("podSelector: {}", (shop(),)),
        ("namespaceSelector: {}", (pods(),)),
        (
            "namespaceSelector: {matchLabels: {team: x}}",
            (LabelPeer(Selector(being(**{f"{NAMESPACE_LABEL}team": "x"}))),),
        ),
        (
            "{namespaceSelector: {matchLabels: {team: x}}, podSelector: {matchLabels: {a: b}}}",
            (LabelPeer(Selector((*being(**{f"{NAMESPACE_LABEL}team": "x"}), *being(a="b")))),),
        ),
        (
            "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}",
            (pods(namespace="other"),),
        ),
        (
            "podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b, c]}]}",
            (
                LabelPeer(
                    Selector(
                        (
                            *being(namespace="shop"),
                            Requirement("a", Operator.NOT_IN, frozenset({"b", "c"})),
                        )
                    )
                ),
            ),
        ),
        (
            "namespaceSelector: {matchExpressions: [{key: t, operator: DoesNotExist}]}",
            (LabelPeer(Selector((Requirement(f"{NAMESPACE_LABEL}t", Operator.DOES_NOT_EXIST),))),),
        ),
        ("ipBlock: {cidr: 10.0.0.0/8}", (CidrPeer(TEN, inside=True),)),
        ("ipBlock: {cidr: 10.1.2.3/8}", (CidrPeer(TEN, inside=True),)),
        (
            "ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}",
            (
                CidrPeer(
                    TEN,
                    (parse_network("10.1.0.0/16"), parse_network("10.2.0.0/16")),
                    inside=True,
                ),
            ),
        ),
        (
            'ipBlock: {cidr: "2001:db8::/32"}',
            (CidrPeer(parse_network("2001:db8::/32"), inside=True),),
        ),
        (
            "{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}",
            (shop(), CidrPeer(TEN, inside=True)),
        ),
    ],
)
def test_peers(text: str, expected: tuple[Any, ...]) -> None:
    assert peers(text if text.startswith("{") or not text else f"{{{text}}}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("{port: 80}", (PortMatch(TCP, 80, 80),)),
        ("{port: 80, protocol: UDP}", (PortMatch(UDP, 80, 80),)),
        ("{port: 80, protocol: SCTP, endPort: 90}", (PortMatch(SCTP, 80, 90),)),
        ("{port: 80, endPort: 80}", (PortMatch(TCP, 80, 80),)),
        ("{port: http}", (PortMatch(TCP, name="http"),)),
        ("{protocol: UDP}", (PortMatch(UDP),)),
        ("{}", (PortMatch(TCP),)),
        ("{port: 1}, {port: 65535}", (PortMatch(TCP, 1, 1), PortMatch(TCP, 65535, 65535))),
    ],
)
def test_ports(text: str, expected: tuple[Any, ...]) -> None:
    assert matches(text) == expected


def test_both_directions_in_the_order_of_the_spec() -> None:
    policy = read_one(
        KIND,
        """
podSelector: {}
policyTypes: [Ingress, Egress]
ingress:
- {}
- from: [{podSelector: {}}]
  ports: [{port: 80}]
egress:
- to: [{podSelector: {matchLabels: {a: b}}}]
""",
    )
    assert policy.rules == (
        Rule("ingress[0]", IN, Action.ALLOW),
        Rule("ingress[1]", IN, Action.ALLOW, (shop(),), (PortMatch(TCP, 80, 80),)),
        Rule("egress[0]", OUT, Action.ALLOW, (shop(a="b"),)),
        OWN_NODE,
    )


def spec_with(peer: str = "", port: str = "") -> str:
    return f"{{podSelector: {{}}, egress: [{{to: [{peer}], ports: [{port}]}}]}}"


TO, PORT = "spec.egress[0].to[0]", "spec.egress[0].ports[0]"


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ("[]", "spec", "is not an object"),
        ("{podSelectors: {}}", "spec.podSelectors", "unknown field"),
        ("{podSelector: 5}", "spec.podSelector", "is not an object"),
        ("{podSelector: {}, policyTypes: [Both]}", "spec.policyTypes[0]", "Ingress, Egress"),
        ("{podSelector: {}, ingress: {}}", "spec.ingress", "is not a list"),
        ("{podSelector: {}, ingress: [{to: []}]}", "spec.ingress[0].to", "unknown field"),
        (spec_with("{}"), TO, "is empty"),
        (spec_with("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}"), TO, "stands alone"),
        (spec_with("{ipBlock: {}}"), f"{TO}.ipBlock.cidr", "is not a text"),
        (spec_with("{ipBlock: {cidr: 10.0.0.1}}"), f"{TO}.ipBlock.cidr", "is not a network"),
        (spec_with("{ipBlock: {cidr: 10.0.0.0/33}}"), f"{TO}.ipBlock.cidr", "is not a network"),
        (spec_with('{ipBlock: {cidr: "::ffff:10.0.0.0/104"}}'), f"{TO}.ipBlock.cidr", "as IPv4"),
        (
            spec_with("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}"),
            f"{TO}.ipBlock.except[0]",
            "is not a part of",
        ),
        (
            spec_with("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}"),
            f"{TO}.ipBlock.except[0]",
            "is not a part of",
        ),
        (
            spec_with('{ipBlock: {cidr: 10.0.0.0/8, except: ["2001:db8::/32"]}}'),
            f"{TO}.ipBlock.except[0]",
            "is not a part of",
        ),
        (spec_with(port="{port: 0}"), f"{PORT}.port", "neither a port from 1"),
        (spec_with(port="{port: 65536}"), f"{PORT}.port", "neither a port"),
        (spec_with(port='{port: "80"}'), f"{PORT}.port", "neither a port"),
        (spec_with(port="{port: true}"), f"{PORT}.port", "neither a port"),
        (spec_with(port="{port: Not-A-Name}"), f"{PORT}.port", "nor the name of one"),
        (spec_with(port="{port: http, endPort: 90}"), f"{PORT}.endPort", "begins no range"),
        (spec_with(port="{port: 90, endPort: 80}"), f"{PORT}.endPort", "less than port 90"),
        (spec_with(port="{endPort: 80}"), f"{PORT}.endPort", "needs port"),
        (spec_with(port="{port: 80, protocol: ICMP}"), f"{PORT}.protocol", "TCP, UDP, SCTP"),
        (spec_with(port="{port: 80, rateLimit: {}}"), f"{PORT}.rateLimit", "unknown field"),
        (
            "{podSelector: {matchLabels: {a: 5}}}",
            "spec.podSelector.matchLabels.a",
            "quote it",
        ),
        (
            "{podSelector: {matchLabels: {'k8s:a': b}}}",
            "spec.podSelector.matchLabels",
            "leave out the prefix",
        ),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: Near}]}}",
            "spec.podSelector.matchExpressions[0].operator",
            "In, NotIn, Exists, DoesNotExist",
        ),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
            "spec.podSelector.matchExpressions[0].values",
            "needs values",
        ),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
            "spec.podSelector.matchExpressions[0].values",
            "takes no values",
        ),
    ],
)
def test_what_is_not_understood_is_refused(spec: str, path: str, words: str) -> None:
    where, why = refusal(policy_object(KIND, spec))
    assert where == path
    assert words in why


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("a" * 63, "v" * 63, True),
        ("a" * 64, "v", False),
        ("a", "v" * 64, False),
        (f"{'d' * 253}/n", "", True),
        (f"{'d' * 254}/n", "", False),
        ("-a", "b", False),
        ("a", "-b", False),
        ("a/b/c", "d", False),
        ("Upper.example/x", "y", False),
        ("", "y", False),
    ],
)
def test_labels_at_their_limits(key: str, value: str, *, good: bool) -> None:
    where, _ = refusal(policy_object(KIND, {"podSelector": {"matchLabels": {key: value}}}))
    assert (where == "") == good


def test_host_bits_are_told_of() -> None:
    policy = read_one(
        KIND,
        "{podSelector: {}, ingress: "
        "[{from: [{ipBlock: {cidr: 10.1.2.3/8, except: [10.1.2.3/16, 10.2.0.0/16]}}]}]}",
    )
    assert [(f.reason, f.message.partition(";")[0]) for f in policy.findings] == [
        (
            "HostBits",
            "spec.ingress[0].from[0].ipBlock.cidr: 10.1.2.3/8 has host bits set and is read as "
            "10.0.0.0/8",
        ),
        (
            "HostBits",
            "spec.ingress[0].from[0].ipBlock.except[0]: 10.1.2.3/16 has host bits set and is read "
            "as 10.1.0.0/16",
        ),
    ]
