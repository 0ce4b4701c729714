"""What lint says of the reference document's manifests: all that they get wrong has a code."""

from pathlib import Path

import pytest
import yaml
from policy_cases import CLUSTER, namespace, pod

from cairn.cli.manifests import read_manifests
from cairn.diagnose.lint.found import Found
from cairn.diagnose.lint.lint import lint
from cairn.diagnose.policy.world import World
from cairn.kube.metadata import Object

MANIFESTS = Path(__file__).parents[2] / "vectors" / "scenario"
ELSEWHERE: list[Object] = [
    namespace("ingress-nginx"),
    *(
        pod(f"ingress-nginx/nginx-{n}", f"10.244.1.{20 + n}", {"app": "nginx-ingress"}, 8080)
        for n in range(2)
    ),
]
AROUND = [obj for obj in CLUSTER if obj["metadata"]["name"] != "nginx-ingress"] + ELSEWHERE
BALANCED: Object = {
    "kind": "Service",
    "metadata": {"namespace": "default", "name": "my-web-app"},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.30", "ports": [{"port": 80}]},
}


INSIDE: Object = {
    "kind": "Node",
    "metadata": {"name": "nas", "labels": {}},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.105"}]},
}
"""A machine in the middle of what the pool hands out, without the label of workers."""


def said(file: str, around: list[Object] = AROUND) -> list[Found]:
    given = read_manifests([str(MANIFESTS / file)])
    return lint(given.objects, World.of(around).changed(given.objects), given.unplaced, files=True)


# Row of what real systems do with the document's manifests, its manifest, the finding.
ROWS = [
    (1, "cilium-bgp-config.yaml", "KindDropped"),
    (2, "cilium-bgp-config.yaml", "AddressWithoutLength"),
    (3, "cilium-bgp-config.yaml", "FieldRenamed"),
    (4, "cilium-bgp-config.yaml", "MultihopIgnored"),
    (5, "cilium-bgp-config.yaml", "IbgpToRouter"),
    (6, "cilium-bgp-config.yaml", "NodeSelectorSelectsNothing"),
    (7, "cilium-bgp-config.yaml", "SelectsEveryService"),
    (8, "cilium-bgp-config.yaml", "RetriedSooner"),
    (9, "cilium-bgp-config.yaml", "SlowFailover"),
    (10, "ipv6-bgp-peering.yaml", "NameMissing"),
    (10, "ipv6-bgp-peering.yaml", "NodeSelectorMissing"),
    (11, "ipv6-bgp-peering.yaml", "FamilyRepeated"),
    (11, "ipv6-bgp-peering.yaml", "NoServiceSelector"),
    (22, "cilium-service-pool.yaml", "CidrsAlias"),
    (23, "cilium-service-pool.yaml", "HostBits"),
    (24, "cilium-service-pool.yaml", "HostBits"),
    (25, "cilium-service-pool.yaml", "SelectsNoService"),
    (25, "cilium-service-pool.yaml", "LabelLikeAnnotation"),
    (26, "cilium-service-pool.yaml", "PoolOnLink"),
    (27, "cilium-service-pool.yaml", "PoolOnLink"),
    (28, "cilium-service-pool.yaml", "PoolHoldsHost"),
    (35, "web-tier-policy.yaml", "PodSelectorAlias"),
    (35, "web-tier-policy.yaml", "PolicyTypesAlias"),
    (36, "default-deny-all.yaml", "DeniesEverything"),
    (37, "default-deny-all.yaml", "NoNamespace"),
    (38, "default-deny-all.yaml", "DnsDenied"),
    (38, "default-deny-all.yaml", "ApiServerDenied"),
    (39, "web-tier-policy.yaml", "DnsImplied"),
    (40, "web-tier-policy.yaml", "NamesWithoutPorts"),
    (41, "web-tier-policy.yaml", "PeerSelectsNothingHere"),
    (42, "ddos-protection.yaml", "RateLimitInXdp"),
    (43, "ddos-protection.yaml", "WorldOnly"),
    (44, "ddos-protection.yaml", "RateLimitInXdp"),
    (46, "web-tier-policy.yaml", "TlsIsOpaque"),
    (53, "cluster-mesh.yaml", "CairnOnlyKind"),
    (54, "cluster-mesh.yaml", "EtcdPort"),
    (55, "service-mesh-configmap.yaml", "SettingsNotRead"),
    (56, "prometheus-envoy-config.yaml", "RoutesShortForm"),
]


COMMANDS = {
    **dict.fromkeys((15, 16, 17, 18), "cairn bgpctl show rib; cairn why (CRN-215)"),
    19: "cairn router takes peers of a whole network; cairn lab node add",
    20: "cairn why (CRN-206)",
    21: "cairn doctor",
    **dict.fromkeys((29, 30, 31, 32, 34), "cairn status; cairn why"),
    33: "cairn doctor (CRN-908)",
    **dict.fromkeys((47, 48, 49), "cairn flows"),
    **dict.fromkeys((50, 51, 52), "cairn status"),
    **dict.fromkeys((58, 59), "docs/benchmarks.md"),
}
"""Rows about commands, figures and what happens, by what covers them: there is no manifest."""
MADE = {12, 13, 14, 45, 57}
"""Rows whose manifests are made from fragments below."""


def test_every_row_is_covered() -> None:
    rows = {row for row, _, _ in ROWS}
    assert rows | COMMANDS.keys() | MADE == set(range(1, 60))
    assert not rows & COMMANDS.keys()


@pytest.mark.parametrize(("row", "file", "code"), ROWS)
def test_what_others_do_silently_is_said(row: int, file: str, code: str) -> None:
    assert code in {found.code for found in said(file, [*AROUND, BALANCED, INSIDE])}


def test_an_ingress_that_lives_elsewhere_is_counted_there() -> None:
    (found,) = [f for f in said("web-tier-policy.yaml") if f.code == "PeerSelectsNothingHere"]
    assert "selects no pod in namespace production, but 2 in ingress-nginx" in found.message


@pytest.mark.parametrize(
    ("annotation", "code"),
    [("disabled", "PolicyDisabled"), ("suspended", "UnknownAnnotation")],
)
def test_a_policy_that_is_off_and_one_that_is_not(annotation: str, code: str) -> None:
    policy = yaml.safe_load((MANIFESTS / "web-tier-policy.yaml").read_text())
    policy["metadata"]["annotations"] = {f"policy.cilium.io/{annotation}": "true"}
    codes = {f.code for f in lint([policy], World.of([*AROUND, policy]))}
    assert code in codes
    assert len(codes & {"PolicyDisabled", "UnknownAnnotation"}) == 1


# Dialect, manifest, finding.
DIALECT = [
    ("D1", "cilium-service-pool.yaml", "CidrsAlias"),
    ("D2", "cilium-service-pool.yaml", "HostBits"),
    ("D3", "cilium-service-pool.yaml", "SelectsNoService"),
    ("D4", "cilium-bgp-config.yaml", "MultihopIgnored"),
    ("D5", "cilium-bgp-config.yaml", "SelectsEveryService"),
    ("D6", "cilium-service-pool.yaml", "PoolOnLink"),
    ("D7", "web-tier-policy.yaml", "PodSelectorAlias"),
    ("D8", "web-tier-policy.yaml", "DnsImplied"),
    ("D9", "ddos-protection.yaml", "RateLimitInXdp"),
    ("D10", "cluster-mesh.yaml", "CairnOnlyKind"),
    ("D11", "prometheus-envoy-config.yaml", "RoutesShortForm"),
    ("D12", "ipv6-bgp-peering.yaml", "NameMissing"),
    ("D12", "ipv6-bgp-peering.yaml", "NodeSelectorMissing"),
    ("D16", "cilium-bgp-config.yaml", "KindDropped"),
    ("D17", "ddos-protection.yaml", "WorldOnly"),
]


@pytest.mark.parametrize(("name", "file", "code"), DIALECT)
def test_the_dialect_is_told_of(name: str, file: str, code: str) -> None:
    assert code in {found.code for found in said(file, [*AROUND, BALANCED])}


def test_the_fragment_of_a_neighbor_list_is_told_of() -> None:
    fragment = yaml.safe_load((MANIFESTS / "bgp-security-fragment.yaml.txt").read_text())
    policy = {
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": "p"},
        "spec": {"virtualRouters": [{"localASN": 64512, **fragment}]},
    }
    codes = {found.code for found in lint([policy], World.of([policy]))}
    assert {"NeighborFragment", "PasswordInTheOpen", "CairnOnlyField"} <= codes


FRAGMENT = yaml.safe_load((MANIFESTS / "bgp-security-fragment.yaml.txt").read_text())
HELD: Object = {
    **BALANCED,
    "status": {"loadBalancer": {"ingress": [{"ip": "192.168.1.100"}]}},
}


def secured(**changes: str) -> set[str]:
    """Return the codes for a policy of the fragment, with the last item's fields changed."""
    *first, last = FRAGMENT["neighbors"]
    router = {"localASN": 64512, "neighbors": [*first, last | changes]}
    policy = {
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": "p"},
        "spec": {"virtualRouters": [router]},
    }
    return {found.code for found in lint([policy], World.of([policy, HELD]))}


def test_rows_12_and_13_password_and_items_of_their_own() -> None:
    assert {"PasswordInTheOpen", "NeighborFragment", "NothingImported"} <= secured()


def test_row_14_the_export_filter_is_tried_on_the_addresses() -> None:
    # As written, an exact /24 would let no /32 pass; here it is told which holds.
    as_written = secured() & {"FilterDeniesAddress", "FilterTried"}
    assert len(as_written) == 1
    assert "FilterDeniesAddress" in secured(exportFilter="permit 10.0.0.0/8")
    assert "FilterTried" in secured(exportFilter="permit 192.168.1.100/32")


def test_row_10_a_second_policy_for_the_same_nodes() -> None:
    node = {**INSIDE, "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": ""}}}
    first = yaml.safe_load((MANIFESTS / "cilium-bgp-config.yaml").read_text())
    first["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    second = yaml.safe_load((MANIFESTS / "ipv6-bgp-peering.yaml").read_text())
    second["metadata"] = {"name": "v6", "creationTimestamp": "2026-01-02T00:00:00Z"}
    found = {f.code for f in lint([second], World.of([node, first, second]))}
    assert "TwoPolicies" in found
    assert "TwoPolicies" not in {f.code for f in lint([first], World.of([node, first, second]))}


def test_row_57_a_backup_carries_what_is_the_servers() -> None:
    pool = yaml.safe_load((MANIFESTS / "cilium-service-pool.yaml").read_text())
    kept = {**pool, "metadata": {**pool["metadata"], "uid": "1", "resourceVersion": "2"}}
    assert "ServerFields" in {f.code for f in lint([kept], World.of([kept]), files=True)}
    assert "ServerFields" not in {f.code for f in lint([pool], World.of([pool]), files=True)}
    assert "ServerFields" not in {f.code for f in lint([kept], World.of([kept]))}


def test_row_25_from_the_services_side() -> None:
    pool = yaml.safe_load((MANIFESTS / "cilium-service-pool.yaml").read_text())
    labelled = {
        **BALANCED,
        "metadata": {
            **BALANCED["metadata"], "labels": {"io.cilium/lb-ipam-ips": "pool-homelab"},
        },
    }  # fmt: skip
    assert "NoPoolSelects" in {f.code for f in lint([BALANCED], World.of([BALANCED, pool]))}
    assert "NoPoolSelects" not in {f.code for f in lint([labelled], World.of([labelled, pool]))}
    assert "NoPool" in {f.code for f in lint([BALANCED], World.of([BALANCED]))}
