"""Services: what is filled in, what is kept, what is refused."""

import copy
from typing import Any

import pytest

from cairn.apiserver.builtin_service_rules import complete_service, service_errors
from cairn.apiserver.kind import AllocationError
from cairn.apiserver.schema import admit


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


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
    with pytest.raises(AllocationError, match=r"10\.96\.0\.10 is taken"):
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
    (service(externalIPs=["1.2.3"]), "spec.externalIPs", "valid IP address"),
    (service(loadBalancerSourceRanges=["x"]), "spec.loadBalancerSourceRanges[0]", "a network"),
    (service(type="NodePort", clusterIP="None"), "spec.clusterIPs[0]", "may not be 'None'"),
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
    assert [e.field for e in service_errors(new, old)] == ["spec.clusterIP"]
