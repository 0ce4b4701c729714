"""Services: what is filled in, what is kept, what is refused."""

import copy
from typing import Any

import pytest

from cairn.apiserver.builtin_service_defaults import complete_service
from cairn.apiserver.builtin_service_rules import service_errors
from cairn.apiserver.kind import CompletionError
from cairn.apiserver.schema import admit
from cairn.kube.service import SOURCE_RANGES


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def annotated(ranges: str) -> dict[str, Any]:
    made = service(type="LoadBalancer")
    made["metadata"]["annotations"] = {SOURCE_RANGES: ranges}
    return made


@pytest.fixture
def make(kinds: Any, allocator: Any) -> Any:
    def made(obj: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
        result, errors, _ = admit(kinds["v1", "Service"], obj, "Strict")
        assert errors == []
        complete_service(result, allocator(old))
        return result

    return made


def test_cluster_ip_service(make: Any) -> None:
    assert make(service())["spec"] == {
        "type": "ClusterIP",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "clusterIP": "10.96.1.1",
        "clusterIPs": ["10.96.1.1"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
    }


def test_load_balancer_has_node_ports(make: Any) -> None:
    spec = make(service(type="LoadBalancer"))["spec"]
    assert spec["ports"][0]["nodePort"] == 30000
    assert spec["allocateLoadBalancerNodePorts"] is True
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert "healthCheckNodePort" not in spec


def test_load_balancer_without_node_ports(make: Any) -> None:
    spec = make(service(type="LoadBalancer", allocateLoadBalancerNodePorts=False))["spec"]
    assert "nodePort" not in spec["ports"][0]


def test_local_load_balancer_has_a_health_port(make: Any) -> None:
    spec = make(service(type="LoadBalancer", externalTrafficPolicy="Local"))["spec"]
    assert spec["healthCheckNodePort"] in range(30000, 32768)


def test_one_number_for_both_protocols_of_a_port(make: Any) -> None:
    ports = [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]
    spec = make(service(type="NodePort", ports=ports))["spec"]
    assert [port["nodePort"] for port in spec["ports"]] == [30000, 30000]


def test_headless(make: Any) -> None:
    spec = make(service(clusterIP="None"))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_external_name_has_no_address(make: Any) -> None:
    spec = make(
        {"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "x.y"}}
    )
    assert "clusterIP" not in spec["spec"]
    assert service_errors(spec, None) == []


def test_dual_stack(make: Any) -> None:
    spec = make(service(ipFamilyPolicy="RequireDualStack"))["spec"]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert len(spec["clusterIPs"]) == 2


def test_the_family_of_an_address_that_was_asked_for(make: Any) -> None:
    spec = make(service(clusterIP="fd00::77"))["spec"]
    assert (spec["ipFamilies"], spec["clusterIPs"]) == (["IPv6"], ["fd00::77"])


def test_sctp(make: Any) -> None:
    obj = make(service(type="NodePort", ports=[{"port": 7, "protocol": "SCTP"}]))
    assert obj["spec"]["ports"][0]["protocol"] == "SCTP"
    assert service_errors(obj, None) == []


def test_external_ips_may_have_a_policy(make: Any) -> None:
    obj = make(service(externalIPs=["203.0.113.7", "2001:db8::7"], externalTrafficPolicy="Local"))
    assert service_errors(obj, None) == []
    assert make(service(externalIPs=["203.0.113.7"]))["spec"]["externalTrafficPolicy"] == "Cluster"


@pytest.mark.parametrize("word", ["PreferClose", "PreferSameZone", "PreferSameNode"])
def test_traffic_distributions(make: Any, word: str) -> None:
    assert service_errors(make(service(trafficDistribution=word)), None) == []


def test_affinity_has_a_time(make: Any) -> None:
    spec = make(service(sessionAffinity="ClientIP"))["spec"]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_replacing_keeps_what_the_server_gave(make: Any) -> None:
    old = make(service(type="LoadBalancer"))
    new = make(service(type="LoadBalancer", selector={"a": "b"}), old)
    assert new["spec"] == old["spec"] | {"selector": {"a": "b"}}


def test_back_to_cluster_ip_gives_the_node_port_back(make: Any) -> None:
    old = make(service(type="NodePort"))
    changed = copy.deepcopy(old)
    changed["spec"]["type"] = "ClusterIP"
    new = make(changed, old)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in new["spec"]
    assert service_errors(new, old) == []


def test_a_taken_address_is_refused(allocator: Any) -> None:
    context = allocator()
    context.allocate_cluster_ip("IPv4", "10.96.0.10")
    obj = service(clusterIP="10.96.0.10")
    with pytest.raises(CompletionError, match=r"failed to allocate IP 10\.96\.0\.10: .* is taken"):
        complete_service(obj, context)


REFUSED = [
    (service(ports=[]), "spec.ports", "Required"),
    (service(ports=[{"port": 1}, {"port": 2, "name": "b"}]), "spec.ports[0].name", "Required"),
    (service(ports=[{"port": 1, "name": "A"}]), "spec.ports[0].name", "RFC 1123"),
    (
        service(ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]),
        "spec.ports[1].name",
        "Duplicate",
    ),
    (service(ports=[{"port": 1, "targetPort": 70000}]), "spec.ports[0].targetPort", "65535"),
    (service(ports=[{"port": 1, "targetPort": "a" * 16}]), "spec.ports[0].targetPort", "15"),
    (service(ports=[{"port": 1, "nodePort": 30001}]), "spec.ports[0].nodePort", "may not be used"),
    (
        service(type="NodePort", ports=[{"port": 1, "nodePort": 80}]),
        "spec.ports[0].nodePort",
        "30000-32767",
    ),
    (service(externalIPs=["1.2.3"]), "spec.externalIPs[0]", "valid IP address"),
    (service(externalIPs=["fd00::1", "::"]), "spec.externalIPs[1]", "may not be unspecified"),
    (service(externalIPs=["127.0.0.1"]), "spec.externalIPs[0]", "loopback range"),
    (service(externalIPs=["fe80::1"]), "spec.externalIPs[0]", "link-local range"),
    (service(externalIPs=["224.0.0.1"]), "spec.externalIPs[0]", "multicast"),
    (
        service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", "x"]),
        "spec.loadBalancerSourceRanges[1]",
        "valid CIDR value",
    ),
    (
        service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.1"]),
        "spec.loadBalancerSourceRanges[0]",
        "valid CIDR value",
    ),
    (
        service(loadBalancerSourceRanges=["10.0.0.0/8"]),
        "spec.loadBalancerSourceRanges",
        "may only be used when `type` is 'LoadBalancer'",
    ),
    (annotated("10.0.0.0/8, x"), f"metadata.annotations[{SOURCE_RANGES}]", "valid CIDR value"),
    (
        service(type="NodePort", clusterIP="None"),
        "spec.clusterIPs[0]",
        "may not be set to 'None' for NodePort services",
    ),
    (
        service(type="LoadBalancer", ports=[{"port": 10250}]),
        "spec.ports[0]",
        "may not expose port 10250 externally since it is used by kubelet",
    ),
    (service(ports=[{"port": 1, "appProtocol": "a b"}]), "spec.ports[0].appProtocol", "letters"),
    (
        service(trafficDistribution="Nearest"),
        "spec.trafficDistribution",
        'Unsupported value: "Nearest": supported values: "PreferClose", "PreferSameNode", '
        '"PreferSameZone"',
    ),
    (
        service(allocateLoadBalancerNodePorts=True),
        "spec.allocateLoadBalancerNodePorts",
        "may only be used when `type` is 'LoadBalancer'",
    ),
    (service(loadBalancerClass="x"), "spec.loadBalancerClass", "may only be used"),
    (service(type="LoadBalancer", loadBalancerClass="a b"), "spec.loadBalancerClass", "letters"),
    (
        service(externalTrafficPolicy="Local"),
        "spec.externalTrafficPolicy",
        "may only be set for externally-accessible services",
    ),
    (
        service(type="LoadBalancer", healthCheckNodePort=30001),
        "spec.healthCheckNodePort",
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    ),
    ({"metadata": {"name": "s"}, "spec": {"type": "ExternalName"}}, "spec.externalName", "Req"),
    (
        service(type="ExternalName", externalName="a.b", ipFamilyPolicy="SingleStack"),
        "spec.ipFamilyPolicy",
        "may not be set for ExternalName services",
    ),
    (service(selector={"a": "b c"}), "spec.selector", "a valid label"),
    (
        {"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "a_b"}},
        "spec.externalName",
        "a DNS name",
    ),
]


@pytest.mark.parametrize(("obj", "field", "text"), REFUSED)
def test_broken_services(make: Any, obj: Any, field: str, text: str) -> None:
    errors = service_errors(make(obj), None)
    assert [error.field for error in errors] == [field]
    assert text in errors[0].message


@pytest.mark.parametrize("port", [0, 65536, "80"])
def test_port_numbers_are_the_schemas_concern(kinds: Any, port: Any) -> None:
    _, errors, _ = admit(kinds["v1", "Service"], service(ports=[{"port": port}]), "Strict")
    assert [error.field for error in errors] == ["spec.ports[0].port"]


def test_cluster_ip_is_immutable(make: Any) -> None:
    old = make(service())
    new = copy.deepcopy(old)
    new["spec"] |= {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}
    (error,) = service_errors(new, old)
    assert str(error) == (
        'spec.clusterIPs[0]: Invalid value: []string{"10.96.9.9"}: may not change once set'
    )


def test_the_health_port_is_immutable(make: Any) -> None:
    old = make(service(type="LoadBalancer", externalTrafficPolicy="Local"))
    changed = copy.deepcopy(old)
    changed["spec"]["healthCheckNodePort"] = 30077
    (error,) = service_errors(make(changed, old), old)
    assert str(error) == "spec.healthCheckNodePort: Forbidden: field is immutable"


def test_what_the_new_type_has_no_use_for_goes_if_nobody_touched_it(make: Any) -> None:
    old = make(service(type="LoadBalancer", externalTrafficPolicy="Local", loadBalancerClass="c"))
    plain = make({**copy.deepcopy(old), "spec": {**old["spec"], "type": "ClusterIP"}}, old)
    gone = {
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
        "loadBalancerClass",
    }
    assert not gone & set(plain["spec"])
    assert service_errors(plain, old) == []
    touched = {**old["spec"], "type": "ClusterIP", "externalTrafficPolicy": "Cluster"}
    errors = service_errors(make({**copy.deepcopy(old), "spec": touched}, old), old)
    assert [error.field for error in errors] == ["spec.externalTrafficPolicy"]


def test_a_changed_port_keeps_its_node_port_by_name(make: Any) -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    old = make(service(type="NodePort", ports=ports))
    numbers = {p["name"]: p["nodePort"] for p in old["spec"]["ports"]}
    ports = [{"name": "b", "port": 8081}, {"name": "a", "port": 80}]
    new = make(service(type="NodePort", ports=ports), old)
    assert {p["name"]: p["nodePort"] for p in new["spec"]["ports"]} == numbers


def test_a_port_asked_for_once_counts_for_both_protocols(make: Any) -> None:
    ports = [
        {"name": "a", "port": 53},
        {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30053},
    ]
    spec = make(service(type="NodePort", ports=ports))["spec"]
    assert [port["nodePort"] for port in spec["ports"]] == [30053, 30053]
