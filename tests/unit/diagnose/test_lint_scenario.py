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


def said(file: str, around: list[Object] = AROUND) -> list[Found]:
    given = read_manifests([str(MANIFESTS / file)])
    return lint(given.objects, World.of(around).changed(given.objects), given.unplaced)


# Row of what real systems do with the document's policies, its manifest, the finding.
ROWS = [
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
]


@pytest.mark.parametrize(("row", "file", "code"), ROWS)
def test_what_others_do_silently_is_said(row: int, file: str, code: str) -> None:
    assert code in {found.code for found in said(file)}


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
