"""What an apply would change: addresses, announcements, sessions, verdicts, proxies."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cairn.diagnose.plan.change import Effect, effect
from cairn.diagnose.policy.world import World

POOL_LABEL = {"pool": "home"}


def node(name: str, address: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"worker": "yes"}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def pod(name: str, labels: dict[str, str], on: str, address: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "nodeName": on,
            "containers": [{"name": "main", "ports": [{"containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


def slice_of(service: str, *places: tuple[str, str]) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
        "endpoints": [
            {"addresses": [address], "nodeName": on, "conditions": {"ready": True}}
            for on, address in places
        ],
    }


def service(name: str = "web", *held: str, **labels: str) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels or POOL_LABEL},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.9",
            "clusterIPs": ["10.96.0.9"],
            "selector": {"app": name},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in held]}},
    }


def pool(first: str, last: str) -> dict[str, Any]:
    return {
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": "home"},
        "spec": {
            "blocks": [{"start": first, "stop": last}],
            "serviceSelector": {"matchLabels": POOL_LABEL},
        },
    }


def peering(**router: Any) -> dict[str, Any]:
    return {
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": "home"},
        "spec": {
            "nodeSelector": {"matchLabels": {"worker": "yes"}},
            "virtualRouters": [
                {
                    "localASN": 64512,
                    "serviceSelector": {},
                    "neighbors": [{"peerAddress": "192.168.1.1/32", "peerASN": 64512}],
                    **router,
                }
            ],
        },
    }


def of_its_node(made: dict[str, Any]) -> dict[str, Any]:
    """Return a pod in the network of its node, which no pod's policy is for."""
    made["spec"]["hostNetwork"] = True
    return made


HOME = (
    node("node-1", "192.168.1.10"),
    node("node-2", "192.168.1.11"),
    pod("web-1", {"app": "web"}, "node-1", "10.0.0.1"),
    pod("web-2", {"app": "web"}, "node-2", "10.0.1.1"),
    of_its_node(pod("agent-1", {"app": "agent"}, "node-1", "192.168.1.10")),
    slice_of("web", ("node-1", "10.0.0.1"), ("node-2", "10.0.1.1")),
    service("web", "192.168.7.1"),
    pool("192.168.7.1", "192.168.7.9"),
    peering(),
)


def made(*objects: dict[str, Any], delete: bool = False) -> Effect:
    return effect(World.of(HOME), objects, delete=delete)


@pytest.mark.parametrize("obj", HOME, ids=lambda obj: obj["kind"])
def test_what_stands_changes_nothing(obj: dict[str, Any]) -> None:
    found = made(obj)
    assert not found.changes_something
    assert [change.what for change in found.objects] == ["unchanged"]


def test_a_manifest_without_what_the_server_fills_in_changes_nothing() -> None:
    manifest = service()
    del manifest["status"], manifest["spec"]["clusterIP"], manifest["spec"]["clusterIPs"]
    assert not made(manifest).changes_something


def test_a_new_service_gets_the_lowest_free_address_and_waits_for_pods() -> None:
    found = made(service("shop"))
    (address,) = found.addresses
    assert (address.service, address.before, address.after) == (
        "default/shop", (), ("192.168.7.2",)
    )  # fmt: skip
    (announced,) = found.announcements
    assert (announced.prefix, announced.after) == ("192.168.7.2/32", ())
    assert "no pod and no workload's template has the labels app=shop" in announced.why


def test_a_service_with_its_deployment_is_announced_once_the_pods_are_ready() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"template": {"metadata": {"labels": {"app": "shop"}}, "spec": {}}},
    }
    (announced,) = made(service("shop"), deployment).announcements
    assert announced.why.startswith("once pods of Deployment/shop are ready")


def test_a_service_of_pods_that_are_ready_is_announced_once_it_is_there() -> None:
    (change,) = made(service("other"), ready(pod("o-1", {"app": "other"}, "node-2", "10.0.1.9"))
                     ).announcements  # fmt: skip
    assert change.why == "by node-2, where its pods are ready, once it is there"


def ready(made: dict[str, Any]) -> dict[str, Any]:
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return made


def test_a_service_that_no_pool_selects_is_told_the_missing_label() -> None:
    (address,) = made(service("shop", other="label")).addresses
    assert address.after == ()
    assert "pool=home" in address.why


def test_a_pool_that_moves_takes_the_address_and_gives_another() -> None:
    found = made(pool("192.168.7.5", "192.168.7.9"))
    (address,) = found.addresses
    assert (address.before, address.after) == (("192.168.7.1",), ("192.168.7.5",))
    assert "192.168.7.1 is released" in address.why
    assert {(a.prefix, a.before, a.after) for a in found.announcements} == {
        ("192.168.7.1/32", ("node-1", "node-2"), ()),
        ("192.168.7.5/32", (), ("node-1", "node-2")),
    }


def test_a_deleted_policy_ends_sessions_and_announcements() -> None:
    found = made(peering(), delete=True)
    assert [(s.node, s.before, s.after) for s in found.sessions] == [
        ("node-1", ("192.168.1.1 AS64512",), ()),
        ("node-2", ("192.168.1.1 AS64512",), ()),
    ]
    assert [(a.prefix, a.after) for a in found.announcements] == [("192.168.7.1/32", ())]
    assert [change.what for change in found.objects] == ["deleted"]


def test_another_neighbor_is_told_by_node() -> None:
    neighbors = [{"peerAddress": "192.168.1.2/32", "peerASN": 65000}]
    found = made(peering(neighbors=neighbors))
    assert {s.after for s in found.sessions} == {("192.168.1.2 AS65000",)}
    assert not found.announcements


def test_a_selector_that_leaves_a_service_out_withdraws_it() -> None:
    found = made(peering(serviceSelector={"matchLabels": {"public": "yes"}}))
    assert [(a.before, a.after) for a in found.announcements] == [(("node-1", "node-2"), ())]


def test_a_filter_that_cannot_be_read_ends_the_session_there() -> None:
    neighbors = [
        {"peerAddress": "192.168.1.1/32", "peerASN": 64512, "exportFilter": "permit nonsense"}
    ]
    assert {s.after for s in made(peering(neighbors=neighbors)).sessions} == {()}


def test_a_policy_with_requests_sends_connections_through_the_proxy() -> None:
    policy = {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {
                    "fromEndpoints": [{}],
                    "toPorts": [
                        {
                            "ports": [{"port": "8080", "protocol": "TCP"}],
                            "rules": {"http": [{"method": "GET"}]},
                        }
                    ],
                }
            ],
        },
    }
    found = made(policy)
    ways = {(way.direction, way.before, way.after) for way in found.proxies}
    assert ways == {("ingress", (), ("HTTP tcp/8080",))}
    assert found.verdicts


def test_an_invalid_policy_is_named() -> None:
    policy = {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"endpointSelector": {}, "ingress": [{"fromNobody": []}]},
    }
    found = made(policy)
    assert found.changes_something
    assert [name for name in found.invalid if "web" in name]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cairn", "plan", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_compares_with_a_directory(tmp_path: Path) -> None:
    base, new = tmp_path / "base.yaml", tmp_path / "new.yaml"
    base.write_text(yaml.safe_dump_all(HOME))
    new.write_text(yaml.safe_dump(service("shop")))
    done = run("-f", str(new), "--against", str(base))
    assert done.returncode == 0, done.stderr
    assert "192.168.7.2" in done.stdout
    assert run("-f", str(new), "--against", str(base), "--check").returncode == 1
    assert run("-f", str(base), "--against", str(base), "--check").returncode == 0
    as_json = run("-f", str(new), "--against", str(base), "-o", "json").stdout
    assert yaml.safe_load(as_json)["addresses"][0]["after"] == ["192.168.7.2"]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    missing = run("-f", str(tmp_path / "none.yaml"), "--against", str(tmp_path))
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "none.yaml" in missing.stderr
