"""EndpointSlices by example: Service and pods in, endpoints and their conditions out."""

from typing import Any

import pytest

from cairn.lab.controllers.slices import endpoints_of, slices_of

READY = [{"type": "Ready", "status": "True"}]


def service(**spec: Any) -> dict[str, Any]:
    base = {"ports": [{"name": "http", "port": 80, "targetPort": "web"}], "selector": {"a": "b"}}
    metadata = {"name": "svc", "namespace": "n", "uid": "u", "labels": {"team": "x"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {**base, **spec}}


def pod(name: str, ip: str, *, ready: bool = True, port: int = 8080, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}"}
    if more.pop("deleting", False):
        metadata["deletionTimestamp"] = "now"
    ips = more.pop("ips", [ip])
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": f"node-of-{name}",
            "containers": [{"ports": [{"name": "web", "containerPort": port}]}],
            **more.pop("spec", {}),
        },
        "status": {
            "phase": more.pop("phase", "Running"),
            "podIP": ip,
            "podIPs": [{"ip": text} for text in ips],
            "conditions": READY if ready else [],
        },
    }


def only(slices: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (found,) = slices.values()
    return found


CONDITIONS = [
    (pod("a", "10.0.0.1"), {}, (True, True, False)),
    (pod("a", "10.0.0.1", ready=False), {}, (False, False, False)),
    (pod("a", "10.0.0.1", deleting=True), {}, (False, True, True)),
    (pod("a", "10.0.0.1", deleting=True, ready=False), {}, (False, False, True)),
    (pod("a", "10.0.0.1", ready=False), {"publishNotReadyAddresses": True}, (True, False, False)),
    (pod("a", "10.0.0.1", deleting=True), {"publishNotReadyAddresses": True}, (True, True, True)),
]


@pytest.mark.parametrize(("one", "spec", "expected"), CONDITIONS)
def test_conditions(
    one: dict[str, Any], spec: dict[str, Any], expected: tuple[bool, bool, bool]
) -> None:
    (endpoint,) = only(slices_of(service(**spec), [one]))["endpoints"]
    found = endpoint["conditions"]
    assert (found["ready"], found["serving"], found["terminating"]) == expected


def test_a_slice_says_who_where_and_which_port() -> None:
    found = only(slices_of(service(), [pod("b", "10.0.0.2"), pod("a", "10.0.0.1")]))
    assert [e["addresses"] for e in found["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]
    first = found["endpoints"][0]
    assert first["nodeName"] == "node-of-a"
    assert first["targetRef"] == {"kind": "Pod", "namespace": "n", "name": "a", "uid": "uid-a"}
    assert found["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert found["metadata"]["labels"] == {
        "team": "x",
        "kubernetes.io/service-name": "svc",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert found["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_pods_of_other_ports_stand_in_another_slice() -> None:
    slices = slices_of(service(), [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", port=9090)])
    assert sorted(s["ports"][0]["port"] for s in slices.values()) == [8080, 9090]


def test_a_pod_without_the_named_port_serves_no_port() -> None:
    found = only(slices_of(service(), [pod("a", "10.0.0.1", spec={"containers": []})]))
    assert found["ports"] == []


def test_no_pod_is_an_empty_slice_per_family() -> None:
    slices = slices_of(service(ipFamilies=["IPv4", "IPv6"]), [])
    assert sorted(s["addressType"] for s in slices.values()) == ["IPv4", "IPv6"]
    assert all(s["endpoints"] == [] for s in slices.values())


def test_both_families() -> None:
    one = pod("a", "10.0.0.1", ips=["10.0.0.1", "fd00::1"])
    both = service(ipFamilies=["IPv4", "IPv6"])
    slices = slices_of(both, [one])
    found = {s["addressType"]: s["endpoints"][0]["addresses"] for s in slices.values()}
    assert found == {"IPv4": ["10.0.0.1"], "IPv6": ["fd00::1"]}
    (subset,) = endpoints_of(both, slices.values())["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"], "the first family alone"


def test_a_pod_that_lacks_a_family_is_missing_there() -> None:
    slices = slices_of(service(ipFamilies=["IPv6", "IPv4"]), [pod("a", "10.0.0.1")])
    assert {s["addressType"]: len(s["endpoints"]) for s in slices.values()} == {
        "IPv4": 1,
        "IPv6": 0,
    }


ZONES = {"node-of-a": "attic"}
HINTS: list[tuple[str | None, bool, dict[str, str], dict[str, Any] | None]] = [
    (None, True, ZONES, None),
    ("PreferClose", True, ZONES, {"forZones": [{"name": "attic"}]}),
    ("PreferSameZone", True, ZONES, {"forZones": [{"name": "attic"}]}),
    ("PreferSameZone", True, {}, None),
    ("PreferSameZone", False, ZONES, None),
    (
        "PreferSameNode",
        True,
        ZONES,
        {"forZones": [{"name": "attic"}], "forNodes": [{"name": "node-of-a"}]},
    ),
    ("PreferSameNode", True, {}, {"forNodes": [{"name": "node-of-a"}]}),
]


@pytest.mark.parametrize(("wanted", "ready", "zones", "hints"), HINTS)
def test_hints_are_the_endpoints_own_zone_and_node(
    wanted: str | None, ready: bool, zones: dict[str, str], hints: dict[str, Any] | None
) -> None:
    near = service(trafficDistribution=wanted)
    (endpoint,) = only(slices_of(near, [pod("a", "10.0.0.1", ready=ready)], zones))["endpoints"]
    assert endpoint.get("hints") == hints
    assert endpoint.get("zone") == zones.get("node-of-a")


def test_a_sidecars_named_port_counts() -> None:
    ports = [{"name": "web", "containerPort": 9000}]
    spec = {"containers": [], "initContainers": [{"restartPolicy": "Always", "ports": ports}]}
    found = only(slices_of(service(), [pod("a", "10.0.0.1", spec=spec)]))
    assert [port["port"] for port in found["ports"]] == [9000]


def test_ended_pods_and_pods_without_an_address_are_left_out() -> None:
    pods = [pod("a", "10.0.0.1", phase="Succeeded"), pod("b", "", ips=[])]
    assert only(slices_of(service(), pods))["endpoints"] == []


def test_many_endpoints_fill_several_slices_of_stable_names() -> None:
    pods = [pod(f"p{i:03}", f"10.0.{i // 250}.{i % 250 + 1}") for i in range(230)]
    slices = slices_of(service(), pods)
    assert sorted(len(s["endpoints"]) for s in slices.values()) == [30, 100, 100]
    assert set(slices_of(service(), pods[:-1])) == set(slices)


def test_endpoints_say_the_same() -> None:
    pods = [
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2", ready=False),
        pod("c", "10.0.0.3", deleting=True),
    ]
    (subset,) = endpoints_of(service(), slices_of(service(), pods).values())["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


def test_headless_services_say_so() -> None:
    found = only(slices_of(service(clusterIP="None"), []))
    assert "service.kubernetes.io/headless" in found["metadata"]["labels"]
