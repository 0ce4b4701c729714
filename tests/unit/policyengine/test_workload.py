"""What policies see of a pod."""

from typing import Any

import pytest

from cairn.kube.metadata import Key
from cairn.kube.policy.workload import NamedPort, Workload
from cairn.kube.service import Service
from cairn.net import Protocol, parse_address


def raw(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"tier": "web", "app": "web"}},
        "spec": {
            "nodeName": "node-1",
            "serviceAccountName": "web",
            "containers": [
                {"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9000}]},
                {"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
            ],
            "initContainers": [
                {"ports": [{"name": "once", "containerPort": 1}]},
                {"restartPolicy": "Always", "ports": [{"name": "mesh", "containerPort": 15001}]},
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        },
    }
    for place, values in more.items():
        found[place] = {**found[place], **values}
    return found


def test_what_is_read() -> None:
    pod = Workload.from_object(raw())
    assert pod.key == Key("shop", "web-1")
    assert pod.namespace == "shop"
    assert dict(pod.labels) == {"app": "web", "tier": "web"}
    assert (pod.service_account, pod.node, pod.host_network) == ("web", "node-1", False)
    assert pod.addresses == (parse_address("10.0.0.1"), parse_address("fd00::1"))
    assert pod.ports == (
        NamedPort("dns", Protocol.UDP, 53),
        NamedPort("http", Protocol.TCP, 8080),
        NamedPort("mesh", Protocol.TCP, 15001),
    )


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_has_no_addresses(phase: str) -> None:
    assert Workload.from_object(raw(status={"phase": phase})).addresses == ()


def test_a_pod_that_has_just_been_made() -> None:
    pod = Workload.from_object({"metadata": {"name": "p", "namespace": "n"}, "spec": {}})
    assert pod == Workload(Key("n", "p"), {}, "", "", ())


def test_a_pod_with_the_nodes_own_network() -> None:
    assert Workload.from_object(raw(spec={"hostNetwork": True})).host_network


def test_replicas_share_what_they_have_in_common() -> None:
    one, two = Workload.from_object(raw()), Workload.from_object(raw())
    assert one == two
    assert one.labels is two.labels
    assert one.ports is two.ports


def test_which_pods_a_service_selects() -> None:
    found = Service.from_object(
        {"metadata": {"name": "web"}, "spec": {"selector": {"tier": "web", "app": "a"}}}
    )
    assert found.selector == (("app", "a"), ("tier", "web"))
    assert Service.from_object({"metadata": {"name": "web"}}).selector == ()
