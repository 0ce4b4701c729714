"""Each finding of `cairn lint`: it appears where it should, and goes when its cause does."""

import pytest
from policy_cases import CLUSTER, cilium, plain, read, world

from cairn.diagnose.lint.found import Found, Weight
from cairn.diagnose.lint.lint import lint
from cairn.diagnose.policy.world import World, name_of


def findings(text: str) -> list[Found]:
    """Return what lint says of manifests in the small cluster."""
    objects = read(text)
    return lint(objects, world().changed(objects))


def codes(text: str) -> set[str]:
    return {found.code for found in findings(text)}


WEB = "endpointSelector: {matchLabels: {tier: web}}\n"
DNS = """- toEndpoints:
  - matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}
  toPorts:
  - ports: [{port: "53", protocol: ANY}]
    rules: {dns: [{matchPattern: "*"}]}
"""
NAMES = WEB + "egress:\n" + DNS
FROM_ALL = "ingress: [{fromEntities: [all]}]"

# Code, a manifest with the fault, the same without it.
CASES = [
    (
        "SelectsNothing",
        cilium("endpointSelector: {matchLabels: {tier: wep}}\n" + FROM_ALL),
        cilium(WEB + FROM_ALL),
    ),
    (
        "SelectsNothingHere",
        cilium(WEB + FROM_ALL, where="default"),
        cilium(WEB + FROM_ALL),
    ),
    (
        "PeerSelectsNothingHere",
        cilium(WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]"),
        cilium(
            WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: client, "
            '"k8s:io.kubernetes.pod.namespace": default}}]}]'
        ),
    ),
    (
        "PeerSelectsNothing",
        cilium(WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nobody}}]}]"),
        cilium(WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]"),
    ),
    (
        "PeerSelectsNothing",
        plain("podSelector: {}\ningress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}]"),
        plain("podSelector: {}\ningress: [{from: [{podSelector: {matchLabels: {tier: web}}}]}]"),
    ),
    (
        "PeerSelectsNothing",
        cilium(
            WEB + "egress: [{toServices: [{k8sService: {serviceName: x, namespace: default}}]}]"
        ),
        cilium(
            WEB
            + "egress: [{toServices: [{k8sService: {serviceName: web, namespace: production}}]}]"
        ),
    ),
    (
        "ShadowedRule",
        cilium(
            WEB + "ingress:\n- fromEntities: [cluster]\n"
            "- fromEndpoints: [{matchLabels: {app: nginx-ingress}}]\n"
        ),
        cilium(
            WEB + "ingress:\n- fromEntities: [world]\n"
            "- fromEndpoints: [{matchLabels: {app: nginx-ingress}}]\n"
        ),
    ),
    (
        "ShadowedRule",
        cilium(
            WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]\n"
            "ingressDeny: [{fromEntities: [cluster]}]"
        ),
        cilium(
            WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]\n"
            "ingressDeny: [{fromEntities: [world]}]"
        ),
    ),
    (
        "ShadowedRule",
        cilium(WEB + "ingress: [{fromEndpoints: [{}]}]")
        + cilium(
            WEB + 'ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "80", '
            "protocol: TCP}], rules: {http: [{method: GET}]}}]}]",
            name="q",
        ),
        cilium(
            WEB + 'ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "80", '
            "protocol: TCP}], rules: {http: [{method: GET}]}}]}]",
            name="q",
        ),
    ),
    (
        "ContradictoryRules",
        cilium(
            WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]\n"
            "ingressDeny: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]"
        ),
        cilium(
            WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]\n"
            "ingressDeny: [{fromEndpoints: [{matchLabels: {tier: database}}]}]"
        ),
    ),
    (
        "NamesWithoutPorts",
        cilium(NAMES + "- toFQDNs: [{matchName: api.github.com}]"),
        cilium(
            NAMES + "- toFQDNs: [{matchName: api.github.com}]\n"
            '  toPorts: [{ports: [{port: "443", protocol: TCP}]}]'
        ),
    ),
    (
        "TlsIsOpaque",
        cilium(
            NAMES + "- toFQDNs: [{matchName: api.github.com}]\n"
            '  toPorts: [{ports: [{port: "443", protocol: TCP}]}]'
        ),
        cilium(
            NAMES + "- toFQDNs: [{matchName: api.github.com}]\n"
            '  toPorts: [{ports: [{port: "443", protocol: TCP}], '
            "serverNames: [api.github.com]}]"
        ),
    ),
    (
        "TlsIsOpaque",
        cilium(
            WEB + 'ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "443", '
            "protocol: TCP}], rules: {http: [{method: GET}]}}]}]"
        ),
        cilium(
            WEB + 'ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "80", '
            "protocol: TCP}], rules: {http: [{method: GET}]}}]}]"
        ),
    ),
    (
        "DnsImplied",
        cilium(WEB + "egress: [{toFQDNs: [{matchName: api.github.com}]}]"),
        cilium(NAMES + "- toFQDNs: [{matchName: api.github.com}]"),
    ),
    (
        "DnsDenied",
        cilium(WEB + "egress: [{toEndpoints: [{matchLabels: {tier: database}}]}]"),
        cilium(WEB + "egress:\n" + DNS + "- toEndpoints: [{matchLabels: {tier: database}}]"),
    ),
    (
        "DnsDenied",
        plain("podSelector: {}\npolicyTypes: [Egress]"),
        plain("podSelector: {}\negress: [{ports: [{port: 53, protocol: UDP}]}]"),
    ),
    (
        "ApiServerDenied",
        cilium(WEB + "egress:\n" + DNS),
        cilium(WEB + "egress:\n" + DNS + "- toEntities: [kube-apiserver]"),
    ),
    (
        "WorldOnly",
        cilium(WEB + "ingress: [{fromCIDR: [0.0.0.0/0]}]"),
        cilium(WEB + FROM_ALL),
    ),
    (
        "CidrExcludesIPv6",
        plain("podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]"),
        plain(
            "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, "
            '{ipBlock: {cidr: "::/0"}}]}]'
        ),
    ),
    (
        "InvalidPolicy",
        cilium(WEB + 'ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "70000"}]}]}]'),
        cilium(WEB + 'ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "7000"}]}]}]'),
    ),
    (
        "PodSelectorAlias",
        cilium("podSelector: {matchLabels: {tier: web}}\n" + FROM_ALL),
        cilium(WEB + FROM_ALL),
    ),
    (
        "PolicyTypesAlias",
        cilium(WEB + "policyTypes: [Ingress]\n" + FROM_ALL),
        cilium(WEB + FROM_ALL),
    ),
    (
        "RateLimitInXdp",
        cilium(
            WEB + 'ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "80", '
            "protocol: TCP, rateLimit: {requestsPerSecond: 9}}]}]}]"
        ),
        cilium(
            WEB + 'ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "80", '
            "protocol: TCP}]}]}]"
        ),
    ),
    (
        "DeniesEverything",
        cilium("endpointSelector: {}\ningress: [{}]"),
        cilium("endpointSelector: {}\n" + FROM_ALL),
    ),
    (
        "PolicyDisabled",
        cilium(WEB + FROM_ALL).replace(
            "namespace: production}",
            'namespace: production, annotations: {"policy.cilium.io/disabled": "true"}}',
        ),
        cilium(WEB + FROM_ALL),
    ),
    (
        "UnknownAnnotation",
        cilium(WEB + FROM_ALL).replace(
            "namespace: production}",
            'namespace: production, annotations: {"policy.cilium.io/suspend": "true"}}',
        ),
        cilium(WEB + FROM_ALL),
    ),
    (
        "NodeSelectorSelectsNothing",
        "kind: CiliumClusterwideNetworkPolicy\nmetadata: {name: h}\nspec:\n"
        "  nodeSelector: {matchLabels: {role: x}}\n  ingress: [{fromEntities: [all]}]",
        "kind: CiliumClusterwideNetworkPolicy\nmetadata: {name: h}\nspec:\n"
        "  nodeSelector: {}\n  ingress: [{fromEntities: [all]}]",
    ),
    (
        "HostGuardOff",
        "kind: CiliumClusterwideNetworkPolicy\n"
        'metadata: {name: h, annotations: {"cairn.io/host-guard": "off"}}\nspec:\n'
        "  nodeSelector: {}\n  ingress: [{fromEntities: [all]}]",
        "kind: CiliumClusterwideNetworkPolicy\nmetadata: {name: h}\nspec:\n"
        "  nodeSelector: {}\n  ingress: [{fromEntities: [all]}]",
    ),
]


@pytest.mark.parametrize(("code", "wrong", "right"), CASES)
def test_a_finding_appears_and_goes(code: str, wrong: str, right: str) -> None:
    assert code in codes(wrong)
    assert code not in codes(right)


def test_a_rule_is_shadowed_by_the_admin_tier() -> None:
    admin = """---
kind: ClusterNetworkPolicy
metadata: {name: first}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  ingress: [{action: %s, from: [{namespaces: {}}]}]
"""
    rule = cilium(WEB + "ingress: [{fromEndpoints: [{matchLabels: {app: nginx-ingress}}]}]")
    assert "ShadowedRule" in codes(rule + admin % "Deny")
    assert "ShadowedRule" not in codes(rule + admin % "Pass")


def test_a_selector_that_would_select_elsewhere_says_where() -> None:
    (found,) = [
        f
        for f in findings(cilium(WEB + FROM_ALL, where="default"))
        if f.code == "SelectsNothingHere"
    ]
    assert found.weight is Weight.ERROR
    assert "in namespace default, but 1 in production" in found.message


def test_a_policy_without_a_namespace_lands_in_the_default_one() -> None:
    (policy,) = read(cilium(WEB + FROM_ALL, where="default"))
    around = World.of([*CLUSTER, policy])
    unplaced = {f.code for f in lint([policy], around, frozenset({name_of(policy)}))}
    assert "NoNamespace" in unplaced
    assert "NoNamespace" not in {f.code for f in lint([policy], around)}


def test_codes_are_words_and_sentences_end_in_a_mend() -> None:
    found = [f for _, wrong, _ in CASES for f in findings(wrong)]
    assert found
    for finding in found:
        assert finding.code.isalnum()
        assert finding.code[0].isupper()
        assert len(finding.message) > 30


def test_ten_thousand_rules_are_looked_at_and_it_is_said_how() -> None:
    rules = [
        {"fromCIDR": [f"10.{n >> 8}.{n & 255}.0/24"], "toPorts": [{"ports": [{"port": "80"}]}]}
        for n in range(10_000)
    ]
    spec = {"endpointSelector": {}, "ingress": [*rules, rules[0]]}
    metadata = {"name": "many", "namespace": "production"}
    policy = {"kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
    found = {one.code for one in lint([policy], world().changed([policy]))}
    assert {"NotAllCompared", "ShadowedRule"} <= found
