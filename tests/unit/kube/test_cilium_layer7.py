"""What Cilium's rules say above layer 4, and of names."""

from typing import Any

import pytest
from policy_text import policy_object, read_one, refusal

from cairn.kube.policy.rule import DnsRule, HeaderMatch, HttpRule, PortMatch, Rule
from cairn.net import Protocol

KIND = "CiliumNetworkPolicy"


def rule_with(item: str, section: str = "egress") -> Rule:
    policy = read_one(KIND, f"{{endpointSelector: {{}}, {section}: [{{toPorts: [{item}]}}]}}")
    (found,) = policy.rules
    return found


def http(rule: str) -> HttpRule:
    ports = 'ports: [{port: "80", protocol: TCP}]'
    found = rule_with(f"{{{ports}, rules: {{http: [{rule}]}}}}", "ingress").http
    assert found is not None
    (request,) = found
    return request


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{}", HttpRule()),
        ("{method: GET|HEAD}", HttpRule(method="GET|HEAD")),
        ("{path: '/api/v[12]/.*'}", HttpRule(path="/api/v[12]/.*")),
        ("{host: '.*[.]example[.]com'}", HttpRule(host=".*[.]example[.]com")),
        ("{headers: [X-Token]}", HttpRule(headers=(HeaderMatch("x-token", None),))),
        ("{headers: ['X-Token: a b']}", HttpRule(headers=(HeaderMatch("x-token", "a b"),))),
        ("{headers: ['X-Token true']}", HttpRule(headers=(HeaderMatch("x-token", "true"),))),
        ("{headers: ['X-Token:true']}", HttpRule(headers=(HeaderMatch("x-token", "true"),))),
        (
            "{headerMatches: [{name: X-A, value: b}]}",
            HttpRule(headers=(HeaderMatch("x-a", "b"),)),
        ),
        ("{headerMatches: [{name: X-A}]}", HttpRule(headers=(HeaderMatch("x-a", None),))),
        (
            "{headerMatches: [{name: X-A, value: b, mismatch: REPLACE}]}",
            HttpRule(headers=(HeaderMatch("x-a", "b", "REPLACE"),)),
        ),
        (
            "{headerMatches: [{name: X-A, mismatch: LOG, secret: {namespace: n, name: s}}]}",
            HttpRule(headers=(HeaderMatch("x-a", None, "LOG", ("n", "s")),)),
        ),
        (
            "{method: PUT, path: /x, host: h, headers: [A], headerMatches: [{name: B, value: c}]}",
            HttpRule("PUT", "/x", "h", (HeaderMatch("a", None), HeaderMatch("b", "c"))),
        ),
    ],
)
def test_requests(rule: str, expected: HttpRule) -> None:
    assert http(rule) == expected


def test_names_that_may_be_asked_for() -> None:
    item = (
        '{ports: [{port: "53", protocol: ANY}], rules: {dns: '
        "[{matchName: Api.Example.com.}, {matchPattern: '*.test'}, {matchPattern: '*'}]}}"
    )
    found = rule_with(item)
    assert found.matches == (PortMatch(None, 53, 53),)
    assert found.dns == (
        DnsRule("api.example.com"),
        DnsRule(pattern="*.test"),
        DnsRule(pattern="*"),
    )
    assert found.http is None


def test_tls_server_names() -> None:
    item = "{ports: [{port: '443', protocol: TCP}], serverNames: [A.example.com, '*.example.com']}"
    found = rule_with(item)
    assert found.matches == (PortMatch(Protocol.TCP, 443, 443),)
    assert found.server_names == ("a.example.com", "*.example.com")


HTTP = 'ports: [{port: "80", protocol: TCP}], rules: {http: [{}]}'
DNS = 'ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchPattern: "*"}]}'
TOP = "spec.egress[0].toPorts[0]"


def item_rules(text: str) -> str:
    return f'ports: [{{port: "80", protocol: TCP}}], rules: {text}'


@pytest.mark.parametrize(
    ("item", "path", "words"),
    [
        ("rules: {http: [{}]}", f"{TOP}.ports", "is empty"),
        ("ports: []", f"{TOP}.ports", "is empty"),
        (item_rules("{http: []}"), f"{TOP}.rules.http", "is empty"),
        (item_rules("{dns: []}"), f"{TOP}.rules.dns", "is empty"),
        (item_rules("{http: [{}], dns: [{}]}"), f"{TOP}.rules", "stand together"),
        (item_rules("{kafka: []}"), f"{TOP}.rules.kafka", "Kafka"),
        (item_rules("{l7proto: x}"), f"{TOP}.rules.l7proto", "parsers of one's own"),
        (item_rules("{l7: []}"), f"{TOP}.rules.l7", "parsers of one's own"),
        (item_rules("{grpc: []}"), f"{TOP}.rules.grpc", "unknown field"),
        (item_rules("{http: [{paht: /}]}"), f"{TOP}.rules.http[0].paht", "unknown field"),
        (item_rules("{http: [{path: '('}]}"), f"{TOP}.rules.http[0].path", "is not closed"),
        (item_rules("{http: [{path: 5}]}"), f"{TOP}.rules.http[0].path", "is not a text"),
        (
            item_rules("{http: [{headers: ['a b c\\x01']}]}".replace("'", '"')),
            f"{TOP}.rules.http[0].headers[0]",
            "control characters",
        ),
        (
            item_rules("{http: [{headers: ['ä: b']}]}"),
            f"{TOP}.rules.http[0].headers[0]",
            "not the name of a header",
        ),
        (
            item_rules("{http: [{headerMatches: [{value: b}]}]}"),
            f"{TOP}.rules.http[0].headerMatches[0].name",
            "is not a text",
        ),
        (
            item_rules("{http: [{headerMatches: [{name: a, mismatch: DROP}]}]}"),
            f"{TOP}.rules.http[0].headerMatches[0].mismatch",
            "LOG, ADD, DELETE, REPLACE",
        ),
        (
            item_rules("{http: [{headerMatches: [{name: a, mismatch: ADD}]}]}"),
            f"{TOP}.rules.http[0].headerMatches[0].mismatch",
            "needs a value",
        ),
        (
            item_rules("{http: [{headerMatches: [{name: a, secret: {name: s}}]}]}"),
            f"{TOP}.rules.http[0].headerMatches[0].secret.namespace",
            "is not a text",
        ),
        (
            item_rules(
                "{http: [{headerMatches: [{name: a, value: b, secret: {namespace: n, name: s}}]}]}"
            ),
            f"{TOP}.rules.http[0].headerMatches[0]",
            "exclude each other",
        ),
        (
            'ports: [{port: "80", protocol: UDP}], rules: {http: [{}]}',
            f"{TOP}.rules.http",
            "needs protocol: TCP",
        ),
        ('ports: [{port: "80"}], rules: {http: [{}]}', f"{TOP}.rules.http", "needs protocol: TCP"),
        (
            'ports: [{port: "0", protocol: TCP}], rules: {http: [{}]}',
            f"{TOP}.rules.http",
            "is all ports",
        ),
        (
            'ports: [{port: "53", protocol: SCTP}], rules: {dns: [{matchName: a}]}',
            f"{TOP}.rules.dns",
            "UDP, TCP or ANY",
        ),
        (item_rules("{dns: [{}]}"), f"{TOP}.rules.dns[0]", "needs matchName or matchPattern"),
        (
            item_rules("{dns: [{matchName: a, matchPattern: b}]}"),
            f"{TOP}.rules.dns[0]",
            "and not both",
        ),
        (
            item_rules("{dns: [{matchName: '*.a'}]}"),
            f"{TOP}.rules.dns[0].matchName",
            "write it as matchPattern",
        ),
        (item_rules("{dns: [{matchName: a..b}]}"), f"{TOP}.rules.dns[0].matchName", "of the DNS"),
        (
            item_rules(f"{{dns: [{{matchName: {'a' * 64}}}]}}"),
            f"{TOP}.rules.dns[0].matchName",
            "of the DNS",
        ),
        (
            item_rules(f"{{dns: [{{matchName: {'a.' * 126}aa}}]}}"),
            f"{TOP}.rules.dns[0].matchName",
            "of the DNS",
        ),
        (
            item_rules("{dns: [{matchPattern: 'a.**.b'}]}"),
            f"{TOP}.rules.dns[0].matchPattern",
            "not a pattern",
        ),
        (
            item_rules("{dns: [{matchPattern: '[a].b'}]}"),
            f"{TOP}.rules.dns[0].matchPattern",
            "not a pattern",
        ),
        (f"{HTTP}, serverNames: [a.b]", f"{TOP}.serverNames", "rules see nothing"),
        (
            'ports: [{port: "443", protocol: UDP}], serverNames: [a.b]',
            f"{TOP}.serverNames",
            "needs protocol: TCP",
        ),
        (
            'ports: [{port: "443", protocol: TCP}], serverNames: [""]',
            f"{TOP}.serverNames[0]",
            "is not a text",
        ),
        (f"{HTTP}, listener: {{}}", f"{TOP}.listener", "is not supported"),
        (f"{HTTP}, terminatingTLS: {{}}", f"{TOP}.terminatingTLS", "TLS is not ended"),
        (f"{HTTP}, originatingTLS: {{}}", f"{TOP}.originatingTLS", "TLS is not begun"),
    ],
)
def test_what_is_not_understood_above_layer_4_is_refused(item: str, path: str, words: str) -> None:
    spec = f"{{endpointSelector: {{}}, egress: [{{toPorts: [{{{item}}}]}}]}}"
    where, why = refusal(policy_object(KIND, spec))
    assert where == path
    assert words in why


@pytest.mark.parametrize(
    ("kind", "spec", "path", "words"),
    [
        (
            KIND,
            f"{{endpointSelector: {{}}, ingress: [{{toPorts: [{{{DNS}}}]}}]}}",
            "spec.ingress[0].toPorts[0].rules.dns",
            "under egress",
        ),
        (
            KIND,
            f"{{endpointSelector: {{}}, egressDeny: [{{toPorts: [{{{HTTP}}}]}}]}}",
            "spec.egressDeny[0].toPorts[0].rules",
            "end at layer 4",
        ),
        (
            "CiliumClusterwideNetworkPolicy",
            f"{{nodeSelector: {{}}, ingress: [{{toPorts: [{{{HTTP}}}]}}]}}",
            "spec.ingress[0]",
            "up to layer 4",
        ),
        (
            "CiliumClusterwideNetworkPolicy",
            "{nodeSelector: {}, egress: [{toFQDNs: [{matchName: a.b}]}]}",
            "spec.egress[0].toFQDNs",
            "write toCIDR",
        ),
    ],
)
def test_rules_above_layer_4_have_their_places(kind: str, spec: str, path: str, words: str) -> None:
    where, why = refusal(policy_object(kind, spec))
    assert where == path
    assert words in why


def names_and_dns(policy: Any) -> list[tuple[str, Any]]:
    return [(rule.path, rule.dns) for rule in policy.rules if rule.implied]


def test_names_with_a_rule_for_the_dns_imply_nothing() -> None:
    policy = read_one(
        KIND,
        f"{{endpointSelector: {{}}, egress: [{{toFQDNs: [{{matchName: a.b}}]}}, "
        f"{{toPorts: [{{{DNS}}}]}}]}}",
    )
    assert names_and_dns(policy) == []
    assert policy.findings == ()


def test_names_where_egress_is_open_imply_nothing() -> None:
    policy = read_one(
        KIND,
        "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: a.b}]}], "
        "enableDefaultDeny: {egress: false}}",
    )
    assert names_and_dns(policy) == []
