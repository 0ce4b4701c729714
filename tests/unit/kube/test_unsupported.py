"""Every gap of the table is found where it stands, and nowhere else."""

from typing import Any

import pytest

from cairn.apiserver.notes import template_warnings, warnings
from cairn.kube.crds import load
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    NETWORK_POLICIES,
    POLICY_KINDS,
    STORED_KINDS,
)
from cairn.kube.unsupported import WHOLE, Weight, unsupported

UNSAFE, IGNORED, ASIDE = Weight.UNSAFE, Weight.IGNORED, Weight.ASIDE


def service(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "annotations": annotations or {}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}], **spec},
    }


def peering(*routers: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": "p"},
        "spec": {"virtualRouters": list(routers)},
    }


def neighbor(**more: Any) -> dict[str, Any]:
    return {
        "localASN": 1,
        "neighbors": [{"peerAddress": "192.0.2.1", "peerASN": 1, **more}],
    }


def pod(annotations: dict[str, str] | None = None) -> dict[str, Any]:
    port = {"containerPort": 80, "hostPort": 8080}
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": annotations or {}},
        "spec": {"containers": [{"name": "c", "ports": [port]}]},
    }


FAMILIES = [{"afi": "ipv4", "safi": "unicast"}, {"afi": "ipv6", "safi": "unicast"}]
EVPN = [*FAMILIES, {"afi": "l2vpn", "safi": "evpn"}]


@pytest.mark.parametrize(
    ("obj", "weight", "words"),
    [
        (
            service(ports=[{"port": 9, "protocol": "SCTP", "targetPort": 90}]),
            IGNORED,
            "port 9/SCTP leads to targetPort 90",
        ),
        (
            service(type="NodePort", ports=[{"port": 9, "protocol": "SCTP", "nodePort": 30009}]),
            IGNORED,
            "nodePort 30009/SCTP",
        ),
        (service({"cairn.io/announce": "everywhere"}), IGNORED, "only value is all-nodes"),
        (service({"cairn.io/weighted": "yes"}), IGNORED, "the values are true and false"),
        (service({"service.kubernetes.io/topology-mode": "Auto"}), IGNORED, "topology-mode"),
        (service({"metallb.universe.tf/loadBalancerIPs": "1.2.3.4"}), IGNORED, "metallb"),
        (service({"lbipam.cilium.io/ip": "1.2.3.4"}), IGNORED, "lbipam.cilium.io/ip is not"),
        (pod({"kubernetes.io/egress-bandwidth": "1M"}), IGNORED, "limits no bandwidth"),
        (peering(neighbor(), neighbor()), IGNORED, "2 items"),
        (peering(neighbor(families=EVPN)), IGNORED, "l2vpn evpn is not negotiated"),
        (peering(neighbor(advertisedPathAttributes=[{}])), IGNORED, "no communities"),
        (peering(neighbor(connectRetryTimeSeconds=120)), ASIDE, "after 5 s at the latest"),
        (
            peering({**neighbor(), "serviceAdvertisements": ["LoadBalancerIP", "ClusterIP"]}),
            IGNORED,
            "serviceAdvertisements: ClusterIP is",
        ),
        (peering({**neighbor(), "podIPPoolSelector": {}}), IGNORED, "podIPPoolSelector"),
    ],
)
def test_a_field_without_effect_is_found(obj: dict[str, Any], weight: Weight, words: str) -> None:
    (gap,) = unsupported(obj)
    assert words in gap.message
    assert gap.weight is weight
    assert not gap.whole


@pytest.mark.parametrize(
    "obj",
    [
        service(),
        service({"cairn.io/announce": "all-nodes", "lbipam.cilium.io/ips": "192.0.2.1"}),
        service(
            sessionAffinity="ClientIP",
            sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
        ),
        service(
            ipFamilies=["IPv4", "IPv6"],
            loadBalancerSourceRanges=["10.0.0.0/8"],
            externalIPs=["192.0.2.9"],
            trafficDistribution="PreferClose",
            externalTrafficPolicy="Local",
            healthCheckNodePort=30001,
        ),
        service(type="NodePort", ports=[{"port": 80, "nodePort": 30000}]),
        service(ports=[{"port": 9, "protocol": "SCTP", "targetPort": 9, "nodePort": 30009}]),
        pod(),
        peering(neighbor(families=FAMILIES)),
        {"kind": "ConfigMap", "metadata": {"namespace": "default", "name": "cilium-config"}},
        {"kind": "Deployment", "metadata": {"name": "d"}},
        {},
    ],
)
def test_what_is_honoured_has_no_gap(obj: dict[str, Any]) -> None:
    assert unsupported(obj) == ()


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_a_kind_without_effect_is_named_when_it_is_applied(kind: str) -> None:
    (gap,) = unsupported({"kind": kind, "metadata": {"name": "x"}})
    assert gap.whole
    (warning,) = [
        w for w in warnings({"kind": kind, "metadata": {"name": "x"}}) if "kind of" not in w
    ]
    assert gap.message in warning


def test_every_kind_without_effect_is_followed() -> None:
    followed = {resource.kind for resource in (*STORED_KINDS, BGP_ADVERTISEMENTS)}
    in_part = {"CiliumCIDRGroup"}  # read for policies and for its deny list
    assert followed - in_part == set(WHOLE)


def test_the_followed_kinds_are_served_under_the_names_that_are_followed() -> None:
    served = {
        (crd["spec"]["group"], version["name"], crd["spec"]["names"]["plural"])
        for crd in load()
        for version in crd["spec"]["versions"]
    }
    custom = {*STORED_KINDS, *POLICY_KINDS} - {NETWORK_POLICIES}
    assert {(r.group, r.version, r.plural) for r in custom} <= served


def test_an_advertisement_that_the_operator_made_is_no_gap() -> None:
    owner = [{"kind": "CiliumBGPPeeringPolicy", "name": "p"}]
    made = {"kind": "CiliumBGPAdvertisement", "metadata": {"name": "p", "ownerReferences": owner}}
    assert unsupported(made) == ()


def test_policies_are_honoured_and_have_no_gap() -> None:
    for resource in POLICY_KINDS:
        assert unsupported({"kind": resource.kind, "metadata": {"name": "x"}, "spec": {}}) == ()


def test_settings_of_cilium_are_named() -> None:
    config = {
        "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "cilium-config"},
        "data": {"enable-gateway-api": "true", "enable-envoy-config": "true"},
    }
    (gap,) = unsupported(config)
    assert "enable-envoy-config, enable-gateway-api change nothing" in gap.message


def test_the_pods_of_a_workload_are_looked_at() -> None:
    limited = pod({"kubernetes.io/ingress-bandwidth": "1M"})
    template = {"metadata": limited["metadata"], "spec": limited["spec"]}
    (note,) = template_warnings({"kind": "Deployment", "spec": {"template": template}})
    assert "kubernetes.io/ingress-bandwidth is not honoured" in note


@pytest.mark.parametrize("wrong", [None, 5, [], "x", {"ports": 7}, {"ports": [3]}])
@pytest.mark.parametrize("kind", ["Service", "Pod", "CiliumBGPPeeringPolicy", "ConfigMap"])
def test_wrong_types_raise_nothing(kind: str, wrong: Any) -> None:
    for obj in (
        {"kind": kind, "metadata": {"name": "x"}, "spec": wrong, "data": wrong},
        {"kind": kind, "metadata": {"name": "x"}, "spec": {"virtualRouters": wrong}},
        {"kind": kind, "metadata": {"annotations": wrong}, "spec": {"externalIPs": wrong}},
    ):
        for gap in unsupported(obj):
            assert gap.message


def test_rbac_is_told_to_be_stored_alone() -> None:
    (note,) = warnings({"kind": "RoleBinding", "metadata": {"name": "x"}})
    assert "stored but not enforced" in note
