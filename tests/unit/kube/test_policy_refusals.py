"""Cilium's policies up to layer 4: everything that is refused, with the field and the reason."""

import pytest
from policy_text import policy_object, refusal

from cairn.kube.policy.rule import NAMESPACE

KIND, WIDE = "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"


def rule(text: str, section: str = "egress") -> str:
    return f"{{endpointSelector: {{}}, {section}: [{{{text}}}]}}"


def port(text: str) -> str:
    return rule(f"toPorts: [{{ports: [{{{text}}}]}}]", "ingress")


def icmp(text: str) -> str:
    return rule(f"icmps: [{{fields: [{{{text}}}]}}]")


EGRESS, PORT = "spec.egress[0]", "spec.ingress[0].toPorts[0].ports[0]"
FIELD = f"{EGRESS}.icmps[0].fields[0]"


@pytest.mark.parametrize(
    ("kind", "spec", "path", "words"),
    [
        (KIND, "5", "spec", "is not an object"),
        (KIND, "{}", "spec", "no selector"),
        (KIND, "{endpointSelector: {}}", "spec", "closes nothing"),
        (KIND, "{endpointSelector: {}, ingress: []}", "spec", "closes nothing"),
        (
            KIND,
            "{endpointSelector: {}, podSelector: {}, ingress: [{}]}",
            "spec",
            "endpointSelector",
        ),
        (KIND, "{endpointSelector: {}, ingres: [{}]}", "spec.ingres", "unknown field"),
        (KIND, '{endpointSelector: {}, "a\\nb": 1}', "spec", "is an unknown field"),
        (KIND, "{endpointSelector: {}, ingress: {}}", "spec.ingress", "is not a list"),
        (KIND, "{endpointSelector: {}, ingress: [5]}", "spec.ingress[0]", "is not an object"),
        (
            KIND,
            f"{{endpointSelector: {{matchLabels: {{{NAMESPACE}: other}}}}, ingress: [{{}}]}}",
            "spec.endpointSelector",
            "write a CiliumClusterwideNetworkPolicy",
        ),
        (KIND, "{nodeSelector: {}, ingress: [{}]}", "spec.nodeSelector", "have no namespace"),
        (WIDE, "{nodeSelector: {}, endpointSelector: {}, ingress: [{}]}", "spec", "nodeSelector"),
        (
            KIND,
            "{endpointSelector: {matchLabels: {'cidr:10.0.0.0/8': ''}}, ingress: [{}]}",
            "spec.endpointSelector.matchLabels",
            "label source 'cidr' is unknown",
        ),
        (
            KIND,
            "{endpointSelector: {matchLabels: {':a': ''}}, ingress: [{}]}",
            "spec.endpointSelector.matchLabels",
            "is unknown",
        ),
        (
            WIDE,
            "{nodeSelector: {matchLabels: {'reserved:host': ''}}, ingress: [{}]}",
            "spec.nodeSelector.matchLabels",
            "k8s, any or node",
        ),
        (
            KIND,
            rule("toEndpoints: [{matchLabels: {'reserved:moon': ''}}]"),
            f"{EGRESS}.toEndpoints[0].matchLabels",
            "reserved group 'moon' is unknown",
        ),
        (KIND, "{endpointSelector: {}, policyTypes: [In]}", "spec.policyTypes[0]", "Ingress"),
        (
            KIND,
            "{endpointSelector: {}, enableDefaultDeny: {ingress: 1}}",
            "spec.enableDefaultDeny.ingress",
            "neither true nor false",
        ),
        (
            KIND,
            "{endpointSelector: {}, enableDefaultDeny: {in: true}}",
            "spec.enableDefaultDeny.in",
            "unknown field",
        ),
        (KIND, rule("toEntities: [moon]"), f"{EGRESS}.toEntities[0]", "known here: all, world"),
        (KIND, rule("toEntity: [world]"), f"{EGRESS}.toEntity", "unknown field"),
        (KIND, rule("fromEntities: [world]"), f"{EGRESS}.fromEntities", "unknown field"),
        (KIND, rule("toCIDR: [10.0.0.0/40]"), f"{EGRESS}.toCIDR[0]", "is not a network"),
        (KIND, rule("toCIDR: [10]"), f"{EGRESS}.toCIDR[0]", "is not a text"),
        (KIND, rule("toCIDR: ['fe80::1%eth0']"), f"{EGRESS}.toCIDR[0]", "is not a network"),
        (KIND, rule("toCIDR: [10.0.0.0/255.0.0.0]"), f"{EGRESS}.toCIDR[0]", "is not a network"),
        (KIND, rule("toCIDR: ['::ffff:10.0.0.1']"), f"{EGRESS}.toCIDR[0]", "write it as IPv4"),
        (KIND, rule("toCIDRSet: [{}]"), f"{EGRESS}.toCIDRSet[0]", "needs one of cidr"),
        (
            KIND,
            rule("toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]"),
            f"{EGRESS}.toCIDRSet[0]",
            "needs one of cidr",
        ),
        (
            KIND,
            rule("toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/8]}]"),
            f"{EGRESS}.toCIDRSet[0].except[0]",
            "is not a part of",
        ),
        (
            KIND,
            rule("toServices: [{}]"),
            f"{EGRESS}.toServices[0]",
            "k8sService or k8sServiceSelector",
        ),
        (
            KIND,
            rule("toServices: [{k8sService: {namespace: a}}]"),
            f"{EGRESS}.toServices[0].k8sService.serviceName",
            "is not a text",
        ),
        (
            WIDE,
            rule("toServices: [{k8sService: {serviceName: a}}]"),
            f"{EGRESS}.toServices[0].k8sService.namespace",
            "is missing",
        ),
        (
            KIND,
            rule("toServices: [{k8sServiceSelector: {namespace: a}}]"),
            f"{EGRESS}.toServices[0].k8sServiceSelector.selector",
            "is missing",
        ),
        (KIND, rule("toGroups: [{aws: {}}]"), f"{EGRESS}.toGroups[0]", "in a CIDRSet"),
        (
            KIND,
            rule("toEndpoints: [{}], toCIDR: [10.0.0.0/8]"),
            EGRESS,
            "toEndpoints and toCIDR stand in one rule",
        ),
        (
            KIND,
            rule("toFQDNs: [{matchName: a.b}], toEntities: [world]"),
            EGRESS,
            "toEntities and toFQDNs stand in one rule",
        ),
        (KIND, rule("toFQDNs: [{}]"), f"{EGRESS}.toFQDNs[0]", "needs matchName or matchPattern"),
        (
            KIND,
            rule("fromFQDNs: [{matchName: a.b}]", "ingress"),
            "spec.ingress[0].fromFQDNs",
            "unknown field",
        ),
        (
            KIND,
            rule("toFQDNs: [{matchName: a.b}]", "egressDeny"),
            "spec.egressDeny[0].toFQDNs",
            "unknown field",
        ),
        (
            KIND,
            rule("toPorts: [{ports: [{port: '1'}]}], icmps: [{fields: [{type: 8}]}]"),
            EGRESS,
            "toPorts and icmps stand in one rule",
        ),
        (
            KIND,
            rule("authentication: {mode: required}"),
            f"{EGRESS}.authentication.mode",
            "not authenticated here",
        ),
        (
            KIND,
            rule("authentication: {mode: perhaps}"),
            f"{EGRESS}.authentication.mode",
            "known here",
        ),
        (
            KIND,
            rule("authentication: {mode: disabled}", "ingressDeny"),
            "spec.ingressDeny[0].authentication",
            "unknown field",
        ),
        (KIND, port("protocol: TCP"), f"{PORT}.port", "is missing"),
        (KIND, port("port: '65536'"), f"{PORT}.port", "neither a port"),
        (KIND, port("port: '-1'"), f"{PORT}.port", "neither a port"),
        (KIND, port("port: a--b"), f"{PORT}.port", "nor the name of one"),
        (KIND, port("port: abcdefghijklmnop"), f"{PORT}.port", "at most 15"),
        (KIND, port("port: '80', protocol: tcp"), f"{PORT}.protocol", "known here: TCP"),
        (KIND, port("port: '80', protocol: ICMP"), f"{PORT}.port", "ICMP has no ports"),
        (KIND, port("port: http, endPort: 90"), f"{PORT}.endPort", "begins no range"),
        (KIND, port("port: '0', endPort: 90"), f"{PORT}.endPort", "begins no range"),
        (KIND, port("port: '90', endPort: 80"), f"{PORT}.endPort", "less than port 90"),
        (KIND, port("port: '90', endPort: 70000"), f"{PORT}.endPort", "from 0 to 65535"),
        (
            KIND,
            port("port: '80', rateLimit: {}"),
            f"{PORT}.rateLimit.requestsPerSecond",
            "whole number from 1",
        ),
        (
            KIND,
            port("port: '80', rateLimit: {requestsPerSecond: 1, burst: 0}"),
            f"{PORT}.rateLimit.burst",
            "whole number from 1",
        ),
        (
            KIND,
            port("port: '80', rateLimit: {requestsPerSecond: 1, scope: node}"),
            f"{PORT}.rateLimit.scope",
            "source, total",
        ),
        (
            KIND,
            port("port: '80', protocol: SCTP, rateLimit: {requestsPerSecond: 1}"),
            f"{PORT}.rateLimit",
            "only TCP and UDP",
        ),
        (
            KIND,
            rule("toPorts: [{ports: [{port: '80', rateLimit: {requestsPerSecond: 1}}]}]"),
            f"{EGRESS}.toPorts[0].ports[0].rateLimit",
            "belongs to a rule of ingress",
        ),
        (KIND, rule("icmps: [{}]"), f"{EGRESS}.icmps[0].fields", "is empty"),
        (KIND, icmp("type: 256"), f"{FIELD}.type", "from 0 to 255"),
        (KIND, icmp("type: '256'"), f"{FIELD}.type", "is no message of IPv4"),
        (KIND, icmp("type: PacketTooBig"), f"{FIELD}.type", "is no message of IPv4"),
        (KIND, icmp("type: 8, family: IPv5"), f"{FIELD}.family", "IPv4, IPv6"),
        (KIND, icmp("family: IPv4"), f"{FIELD}.type", "from 0 to 255"),
        (
            KIND,
            "{endpointSelector: {}, ingress: [{}], log: {level: x}}",
            "spec.log.level",
            "unknown field",
        ),
    ],
)
def test_what_is_not_understood_is_named(kind: str, spec: str, path: str, words: str) -> None:
    where, why = refusal(policy_object(kind, spec))
    assert where == path
    assert words in why


def test_another_kind_is_no_policy() -> None:
    obj = policy_object(KIND, "{endpointSelector: {}, ingress: [{}]}") | {"kind": "Pod"}
    assert refusal(obj) == ("kind", "'Pod' is no kind of policies")


def test_a_fault_in_one_of_several_specs_refuses_the_object() -> None:
    obj = policy_object(KIND, "{endpointSelector: {}, ingress: [{}]}")
    obj["specs"] = [{"endpointSelector": {}, "egress": [{"toEntities": ["moon"]}]}]
    assert refusal(obj)[0] == "specs[0].egress[0].toEntities[0]"
