"""CiliumNetworkPolicy and its clusterwide form up to layer 4: YAML, and what it is read as."""

from typing import Any

import pytest
from policy_text import being, pods, policy_object, read_one, refusal, shop

from cairn.kube.policy.read import object_of, read_policies
from cairn.kube.policy.rule import (
    NAMESPACE,
    NAMESPACE_LABEL,
    SERVICE_ACCOUNT,
    Action,
    CidrPeer,
    Direction,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    IcmpMatch,
    LabelPeer,
    NodePeer,
    PolicyRef,
    PortMatch,
    ProtocolMatch,
    RateLimit,
    Rule,
    ServicePeer,
)
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Protocol, parse_network

KIND, WIDE = "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"
IN, OUT = Direction.INGRESS, Direction.EGRESS
TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
TEN = parse_network("10.0.0.0/8")


def only_rule(rule: str, section: str = "ingress", kind: str = KIND) -> Rule:
    policy = read_one(kind, f"{{endpointSelector: {{}}, {section}: [{rule}]}}")
    (found,) = [one for one in policy.rules if not one.implied]
    return found


def reasons(spec: str, kind: str = KIND, **annotations: str) -> list[str]:
    return [finding.reason for finding in read_one(kind, spec, **annotations).findings]


@pytest.mark.parametrize(
    ("kind", "selector", "expected"),
    [
        (KIND, "{}", being(namespace="shop")),
        (KIND, "{matchLabels: {app: web}}", being(namespace="shop", app="web")),
        (KIND, "{matchLabels: {'k8s:app': web}}", being(namespace="shop", app="web")),
        (KIND, "{matchLabels: {'any:app': web}}", being(namespace="shop", app="web")),
        (
            KIND,
            f"{{matchLabels: {{'k8s:{NAMESPACE}': shop}}}}",
            being(namespace="shop") + being(namespace="shop"),
        ),
        (
            KIND,
            f"{{matchLabels: {{'{SERVICE_ACCOUNT}': robot}}}}",
            (
                *being(namespace="shop"),
                Requirement(SERVICE_ACCOUNT, Operator.IN, frozenset({"robot"})),
            ),
        ),
        (WIDE, "{}", ()),
        (WIDE, "{matchLabels: {app: web}}", being(app="web")),
        (WIDE, f"{{matchLabels: {{{NAMESPACE}: other}}}}", being(namespace="other")),
        (
            WIDE,
            f"{{matchLabels: {{'{NAMESPACE_LABEL}kubernetes.io/metadata.name': other}}}}",
            being(namespace="other"),
        ),
    ],
)
def test_subjects(kind: str, selector: str, expected: tuple[Requirement, ...]) -> None:
    policy = read_one(kind, f"{{endpointSelector: {selector}, ingress: [{{}}]}}")
    assert policy.subject is not None
    assert policy.nodes is None
    assert policy.subject.requirements == expected


def test_a_clusterwide_policy_may_be_about_nodes() -> None:
    spec = "{nodeSelector: {matchLabels: {'node:role': edge}}, ingress: [{fromEntities: [world]}]}"
    policy = read_one(WIDE, spec)
    assert policy.ref == PolicyRef(WIDE, "", "p")
    assert (policy.subject, policy.nodes) == (None, Selector(being(role="edge")))
    assert policy.guarded
    assert not read_one(WIDE, spec, **{"cairn.io/host-guard": "off"}).guarded


def test_a_guard_is_of_nodes_alone() -> None:
    spec = "{endpointSelector: {}, ingress: [{}]}"
    assert reasons(spec, WIDE, **{"cairn.io/host-guard": "off"}) == ["AnnotationIgnored"]


@pytest.mark.parametrize(
    ("kind", "rule", "expected"),
    [
        (KIND, "fromEndpoints: [{}]", (shop(),)),
        (KIND, "fromEndpoints: [{matchLabels: {a: b}}, {}]", (shop(a="b"), shop())),
        (
            KIND,
            f"fromEndpoints: [{{matchLabels: {{{NAMESPACE}: other}}}}]",
            (pods(namespace="other"),),
        ),
        (
            KIND,
            "fromEndpoints: [{matchExpressions: "
            f"[{{key: 'k8s:{NAMESPACE}', operator: Exists}}]}}]",
            (LabelPeer(Selector((Requirement(NAMESPACE, Operator.EXISTS),))),),
        ),
        (
            KIND,
            f"fromEndpoints: [{{matchLabels: {{'{NAMESPACE_LABEL}team': x}}}}]",
            (LabelPeer(Selector(being(**{f"{NAMESPACE_LABEL}team": "x"}))),),
        ),
        (
            KIND,
            "fromEndpoints: [{matchLabels: {'reserved:host': ''}}]",
            (pods(**{"reserved:host": ""}),),
        ),
        (WIDE, "fromEndpoints: [{}]", (pods(),)),
        (WIDE, "fromEndpoints: [{matchLabels: {a: b}}]", (pods(a="b"),)),
        (KIND, "fromEntities: [cluster, world]", (EntityPeer("cluster"), EntityPeer("world"))),
        (KIND, "fromCIDR: [10.0.0.0/8]", (CidrPeer(TEN),)),
        (KIND, "fromCIDR: [10.0.0.1]", (CidrPeer(parse_network("10.0.0.1/32")),)),
        (KIND, "fromCIDR: ['2001:db8::1']", (CidrPeer(parse_network("2001:db8::1/128")),)),
        (
            KIND,
            "fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]",
            (CidrPeer(TEN, (parse_network("10.1.0.0/16"),)),),
        ),
        (KIND, "fromCIDRSet: [{cidrGroupRef: office}]", (GroupPeer("office"),)),
        (
            KIND,
            "fromCIDRSet: [{cidrGroupSelector: {matchLabels: {a: b}}, except: [10.1.0.0/16]}]",
            (GroupPeer(selector=Selector(being(a="b")), excepts=(parse_network("10.1.0.0/16"),)),),
        ),
        (KIND, "fromNodes: [{matchLabels: {role: a}}]", (NodePeer(Selector(being(role="a"))),)),
    ],
)
def test_who_may_come(kind: str, rule: str, expected: tuple[Any, ...]) -> None:
    found = only_rule(f"{{{rule}}}", kind=kind)
    assert (found.path, found.direction, found.action) == ("ingress[0]", IN, Action.ALLOW)
    assert (found.peers, found.matches) == (expected, ())
    mirrored = only_rule(f"{{{rule.replace('from', 'to', 1)}}}", "egress", kind)
    assert (mirrored.path, mirrored.direction, mirrored.peers) == ("egress[0]", OUT, expected)


@pytest.mark.parametrize(
    ("kind", "rule", "expected"),
    [
        (
            KIND,
            "toServices: [{k8sService: {serviceName: db, namespace: data}}]",
            ServicePeer("data", "db"),
        ),
        (KIND, "toServices: [{k8sService: {serviceName: db}}]", ServicePeer("shop", "db")),
        (
            KIND,
            "toServices: [{k8sServiceSelector: {selector: {matchLabels: {a: b}}}}]",
            ServicePeer("shop", selector=Selector(being(a="b"))),
        ),
        (
            WIDE,
            "toServices: [{k8sServiceSelector: {selector: {matchLabels: {'k8s:a': b}}}}]",
            ServicePeer("", selector=Selector(being(a="b"))),
        ),
        (KIND, "toFQDNs: [{matchName: API.Example.COM.}]", FqdnPeer("api.example.com")),
        (KIND, "toFQDNs: [{matchPattern: '*.Example.com'}]", FqdnPeer(pattern="*.example.com")),
        (KIND, "toFQDNs: [{matchPattern: '**.example.com'}]", FqdnPeer(pattern="**.example.com")),
        (
            KIND,
            "toFQDNs: [{matchPattern: 'a*-b.example.com'}]",
            FqdnPeer(pattern="a*-b.example.com"),
        ),
        (KIND, "toFQDNs: [{matchPattern: '*'}]", FqdnPeer(pattern="*")),
    ],
)
def test_where_pods_may_go(kind: str, rule: str, expected: Any) -> None:
    assert only_rule(f"{{{rule}}}", "egress", kind).peers == (expected,)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ('{port: "80", protocol: TCP}', PortMatch(TCP, 80, 80)),
        ("{port: 80, protocol: UDP}", PortMatch(UDP, 80, 80)),
        ('{port: "80"}', PortMatch(None, 80, 80)),
        ('{port: "80", protocol: ANY}', PortMatch(None, 80, 80)),
        ('{port: "80", endPort: 90, protocol: SCTP}', PortMatch(SCTP, 80, 90)),
        ('{port: "80", endPort: 0, protocol: TCP}', PortMatch(TCP, 80, 80)),
        ('{port: "0", protocol: TCP}', PortMatch(TCP)),
        ('{port: "0"}', PortMatch(None)),
        ("{port: http, protocol: TCP}", PortMatch(TCP, name="http")),
        ('{port: "0", protocol: ICMP}', ProtocolMatch(1)),
        ('{port: "0", protocol: ICMPv6}', ProtocolMatch(58)),
        ('{port: "0", protocol: VRRP}', ProtocolMatch(112)),
        ('{port: "0", protocol: IGMP}', ProtocolMatch(2)),
    ],
)
def test_ports(port: str, expected: Any) -> None:
    found = only_rule(f"{{toPorts: [{{ports: [{port}]}}]}}")
    assert (found.path, found.peers, found.matches) == ("ingress[0].toPorts[0]", (), (expected,))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{type: 8}", IcmpMatch(4, 8)),
        ("{type: '8'}", IcmpMatch(4, 8)),
        ("{type: EchoRequest}", IcmpMatch(4, 8)),
        ("{type: EchoRequest, family: IPv6}", IcmpMatch(6, 128)),
        ("{type: DestinationUnreachable, family: IPv6}", IcmpMatch(6, 1)),
        ("{type: 255, family: IPv6}", IcmpMatch(6, 255)),
    ],
)
def test_icmp(message: str, expected: IcmpMatch) -> None:
    found = only_rule(f"{{fromEntities: [all], icmps: [{{fields: [{message}]}}]}}")
    assert found.path == "ingress[0].icmps[0]"
    assert (found.peers, found.matches) == ((EntityPeer("all"),), (expected,))


def test_each_item_of_ports_is_a_rule_with_the_peers_of_its_item() -> None:
    policy = read_one(
        KIND,
        """
endpointSelector: {}
ingressDeny:
- fromEndpoints: [{matchLabels: {a: b}}]
  toPorts:
  - ports: [{port: "1", protocol: TCP}, {port: "2", protocol: UDP}]
  - ports: [{port: "3", protocol: TCP}]
ingress:
- toPorts: [{ports: [{port: "4", protocol: TCP}]}]
""",
    )
    assert [(r.path, r.action, r.peers, r.matches) for r in policy.rules] == [
        (
            "ingress[0].toPorts[0]",
            Action.ALLOW,
            (),
            (PortMatch(TCP, 4, 4),),
        ),
        (
            "ingressDeny[0].toPorts[0]",
            Action.DENY,
            (shop(a="b"),),
            (PortMatch(TCP, 1, 1), PortMatch(UDP, 2, 2)),
        ),
        ("ingressDeny[0].toPorts[1]", Action.DENY, (shop(a="b"),), (PortMatch(TCP, 3, 3),)),
    ]


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        ("ingress: [{}]", {IN}),
        ("egress: [{}]", {OUT}),
        ("ingressDeny: [{fromEntities: [world]}]", {IN}),
        ("egressDeny: [{toEntities: [world]}], ingress: [{}]", {IN, OUT}),
        ("ingress: [{}], egress: []", {IN}),
        ("ingress: [{}], enableDefaultDeny: {ingress: false}", set()),
        ("ingress: [{}], enableDefaultDeny: {egress: true}", {IN, OUT}),
        ("enableDefaultDeny: {ingress: true, egress: false}", {IN}),
        ("policyTypes: [Ingress, Egress]", {IN, OUT}),
        ("policyTypes: [Ingress]", {IN}),
        ("policyTypes: [Ingress], egress: [{toEntities: [world]}]", {IN, OUT}),
        ("policyTypes: [Egress], enableDefaultDeny: {egress: false}", set()),
    ],
)
def test_what_is_closed(spec: str, isolates: set[Direction]) -> None:
    assert read_one(KIND, f"{{endpointSelector: {{}}, {spec}}}").isolates == isolates


@pytest.mark.parametrize(
    ("rule", "reasons_of_it"),
    [
        ("{}", []),
        ("{fromEndpoints: []}", ["MatchesNothing"]),
        ("{fromCIDR: []}", ["MatchesNothing"]),
        ("{fromEntities: [], toPorts: [{ports: [{port: '80'}]}]}", ["MatchesNothing"]),
    ],
)
def test_a_rule_that_names_nobody_allows_nothing_and_closes(
    rule: str, reasons_of_it: list[str]
) -> None:
    policy = read_one(KIND, f"{{endpointSelector: {{}}, ingress: [{rule}]}}")
    assert policy.rules == ()
    assert policy.isolates == {IN}
    assert [finding.reason for finding in policy.findings] == reasons_of_it


def test_an_empty_list_beside_one_that_names_somebody_adds_nobody() -> None:
    assert only_rule("{fromEndpoints: [], fromEntities: [host]}").peers == (EntityPeer("host"),)


def test_requirements_stand_for_the_whole_subject() -> None:
    policy = read_one(
        KIND,
        "{endpointSelector: {}, ingress: [{fromRequires: [{matchLabels: {env: a}}]}], "
        "egress: [{toRequires: [{matchLabels: {env: b}}], toEntities: [all]}]}",
    )
    assert policy.requires == (
        (IN, Selector(being(namespace="shop", env="a"))),
        (OUT, Selector(being(namespace="shop", env="b"))),
    )
    assert [(rule.path, rule.peers) for rule in policy.rules] == [
        ("egress[0]", (EntityPeer("all"),))
    ]


def test_specs_about_one_subject_make_one_policy() -> None:
    obj = policy_object(KIND, "{endpointSelector: {}, ingress: [{fromEntities: [host]}]}")
    obj["specs"] = [
        {"endpointSelector": {}, "egress": [{"toEntities": ["world"]}]},
        {"endpointSelector": {"matchLabels": {"a": "b"}}, "ingress": [{}]},
    ]
    first, second = read_policies(obj)
    assert [rule.path for rule in first.rules] == ["ingress[0]", "specs[0].egress[0]"]
    assert first.isolates == {IN, OUT}
    assert [str(policy.ref) for policy in (first, second)] == [
        "CiliumNetworkPolicy/shop/p",
        "CiliumNetworkPolicy/shop/p[1]",
    ]
    assert {object_of(policy.ref) for policy in (first, second)} == {first.ref}


def test_a_rate_limit_is_a_rule_of_its_own() -> None:
    policy = read_one(
        KIND,
        """
endpointSelector: {}
ingress:
- toPorts:
  - ports:
    - {port: "80", protocol: TCP, rateLimit: {requestsPerSecond: 10}}
    - {port: "81", protocol: TCP}
    - {port: "82", rateLimit: {requestsPerSecond: 5, burst: 9, scope: total}}
""",
    )
    assert [(r.path, r.matches, r.rate) for r in policy.rules] == [
        ("ingress[0].toPorts[0].ports[0]", (PortMatch(TCP, 80, 80),), RateLimit(10, 10)),
        (
            "ingress[0].toPorts[0].ports[2]",
            (PortMatch(None, 82, 82),),
            RateLimit(5, 9, total=True),
        ),
        ("ingress[0].toPorts[0]", (PortMatch(TCP, 81, 81),), None),
    ]
    assert [finding.reason for finding in policy.findings] == ["RateLimitOwn"]


def test_annotations_say_how_a_policy_is_applied() -> None:
    spec = "{endpointSelector: {}, ingress: [{}]}"
    plain = read_one(KIND, spec)
    assert (plain.audit, plain.disabled, plain.findings) == (False, False, ())
    audit = read_one(KIND, spec, **{"policy.cilium.io/audit-mode": "true"})
    assert (audit.audit, audit.disabled) == (True, False)
    disabled = read_one(KIND, spec, **{"policy.cilium.io/disabled": "true"})
    assert (disabled.audit, disabled.disabled) == (False, True)
    assert [f.reason for p in (audit, disabled) for f in p.findings] == [
        "PolicyAudited",
        "PolicyDisabled",
    ]


@pytest.mark.parametrize("value", ["True", "yes", "1", ""])
def test_a_mode_that_is_not_understood_leaves_the_policy_in_force(value: str) -> None:
    policy = read_one(
        KIND,
        "{endpointSelector: {}, ingress: [{}]}",
        **{"policy.cilium.io/disabled": value, "policy.cilium.io/audit-mode": value},
    )
    assert not policy.disabled
    assert not policy.audit
    assert {finding.reason for finding in policy.findings} == {"UnknownAnnotationValue"}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("fromCIDR: [0.0.0.0/0]", "cluster and IPv6 are not in it"),
        ("fromCIDR: ['::/0']", "cluster and IPv4 are not in it"),
        ("fromCIDR: [0.0.0.0/0, '::/0']", "of the cluster are not in it"),
        ("fromCIDRSet: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}]", "cluster and IPv6"),
    ],
)
def test_a_network_of_all_addresses_is_not_everyone(rule: str, words: str) -> None:
    (finding,) = read_one(KIND, f"{{endpointSelector: {{}}, ingress: [{{{rule}}}]}}").findings
    assert finding.reason == "WorldOnly"
    assert words in finding.message
    assert "fromEntities: [all]" in finding.message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{podSelector: {}, ingress: [{}]}", ["PodSelectorAlias"]),
        ("{endpointSelector: {}, policyTypes: [Ingress]}", ["PolicyTypesAlias"]),
        ("{endpointSelector: {}, ingress: [], egress: [{}]}", ["EmptySection"]),
        ("{endpointSelector: {}, ingress: [{}], log: {value: x}}", ["LogIgnored"]),
        ("{endpointSelector: {}, ingress: [{fromCIDR: [10.1.2.3/8]}]}", ["HostBits"]),
        (
            "{endpointSelector: {}, egress: "
            "[{toCIDRSet: [{cidr: 10.1.2.3/8, except: [10.0.0.1, 10.1.1.1/16]}]}]}",
            ["HostBits", "HostBits"],
        ),
        ("{endpointSelector: {}, ingress: [{}], ingressDeny: [{}]}", ["MatchesNothing"]),
        (
            "{endpointSelector: {matchLabels: {'reserved:init': ''}}, ingress: [{}]}",
            ["SelectsNothing"],
        ),
        (
            "{endpointSelector: {}, ingress: [{authentication: {mode: disabled}}]}",
            ["MatchesNothing"],
        ),
        ("{endpointSelector: {}, description: d, labels: [{key: a}], ingress: [{}]}", []),
    ],
)
def test_what_is_read_otherwise_than_written_is_told(spec: str, expected: list[str]) -> None:
    assert reasons(spec) == expected


def test_ten_thousand_rules_are_read_in_the_time_of_ten_thousand() -> None:
    rules = [
        {
            "fromEndpoints": [{"matchLabels": {"app": f"client-{number}"}}],
            "toPorts": [{"ports": [{"port": str(number % 65535 + 1), "protocol": "TCP"}]}],
        }
        for number in range(10_000)
    ]
    policy = read_one(KIND, {"endpointSelector": {}, "ingress": rules})
    assert len(policy.rules) == 10_000
    assert policy.rules[-1].peers == (shop(app="client-9999"),)


def test_a_policy_without_a_spec_is_refused() -> None:
    obj = policy_object(KIND, "{}")
    del obj["spec"]
    assert refusal(obj)[0] == "spec"
