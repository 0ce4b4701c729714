"""What an apply would change: addresses, announcements, proxies, objects that mean nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cairn.cli import plan as command
from cairn.diagnose.plan.applied import applied
from cairn.diagnose.plan.differences import Difference, differences
from cairn.diagnose.plan.settled import settle
from cairn.diagnose.policy.world import World
from cairn.kube.metadata import Object

SCENARIO = Path(__file__).parents[2] / "vectors" / "scenario"
LABEL = {"io.cilium/lb-ipam-ips": "pool-homelab"}


def read(name: str, **metadata: Any) -> Object:
    obj: Object = yaml.safe_load((SCENARIO / name).read_text())
    return {**obj, "metadata": {**obj["metadata"], **metadata}}


def node(number: int) -> Object:
    labels = {"node-role.kubernetes.io/worker": ""}
    address = {"type": "InternalIP", "address": f"192.168.1.{9 + number}"}
    metadata = {"name": f"node-{number}", "labels": labels}
    return {"kind": "Node", "metadata": metadata, "status": {"addresses": [address]}}


def service(name: str, held: str = "", **metadata: Any) -> Object:
    created = f"2026-01-01T00:00:0{len(name) % 10}Z"
    base = {"name": name, "namespace": "default", "labels": LABEL, "creationTimestamp": created}
    ingress = [{"ip": held}] if held else []
    return {
        "kind": "Service",
        "metadata": base | metadata,
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "selector": {"app": "web-app"}, "ports": [{"port": 80}],
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    }  # fmt: skip


def endpoints(of: str, *nodes: int) -> Object:
    items = [
        {"addresses": [f"10.244.{n}.5"], "nodeName": f"node-{n}", "conditions": {"ready": True}}
        for n in nodes
    ]
    labels = {"kubernetes.io/service-name": of}
    return {
        "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": items,
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "metadata": {"name": f"{of}-1", "namespace": "default", "labels": labels},
    }  # fmt: skip


POOL = read("cilium-service-pool.yaml", creationTimestamp="2026-01-01T00:00:00Z")
PEERING = read("cilium-bgp-config.yaml", creationTimestamp="2026-01-01T00:00:00Z")
CLUSTER = [
    node(1), node(2), POOL, PEERING,
    service("my-web-app", "192.168.1.100"), endpoints("my-web-app", 1, 2),
]  # fmt: skip


def changes(*files: Object, deleted: bool = False) -> list[Difference]:
    world = World.of(CLUSTER)
    after = world.changed((), files) if deleted else applied(world, files)
    return differences(settle(world), settle(after))


def test_what_is_there_already_changes_nothing() -> None:
    for obj in CLUSTER:
        assert changes(obj) == []


def test_a_new_service_gets_the_next_address_and_moves_nobody() -> None:
    new = {k: v for k, v in service("another").items() if k != "status"}
    (found,) = changes(new)
    assert found == Difference("address", "Service default/another", "none", "192.168.1.101")


def test_a_service_without_the_pools_label_loses_its_address_and_its_routes() -> None:
    bare = service("my-web-app", labels={})
    address, announcement = changes(bare)
    assert (address.before, address.after) == ("192.168.1.100", "none")
    assert "io.cilium/lb-ipam-ips" in address.note
    assert announcement.subject == "192.168.1.100/32"
    assert announcement.before == "node-1, node-2 to 192.168.1.1"
    assert announcement.after == "none"


def test_a_pool_elsewhere_moves_the_address() -> None:
    spec = {**POOL["spec"], "cidrs": [{"cidr": "192.168.77.0/28"}]}
    found = changes({**POOL, "spec": spec})
    moved = next(one for one in found if one.about == "address")
    assert (moved.before, moved.after) == ("192.168.1.100", "192.168.77.0")
    assert {one.subject for one in found if one.about == "announcement"} == {
        "192.168.1.100/32",
        "192.168.77.0/32",
    }


def test_a_policy_that_selects_no_node_is_named() -> None:
    spec = {**PEERING["spec"], "nodeSelector": {"matchLabels": {"a": "b"}}}
    found = changes({**PEERING, "spec": spec})
    assert ("object", "not in force") in {(one.about, one.after) for one in found}
    assert "announcement" in {one.about for one in found}


def test_names_in_a_policy_bring_a_proxy() -> None:
    found = changes(read("web-tier-policy.yaml"))
    assert ("proxy", "DNS queries pass the DNS proxy") in {(o.about, o.after) for o in found}
    assert changes(read("web-tier-policy.yaml"), deleted=True) == []


def test_the_command_compares_with_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(CLUSTER))
    (tmp_path / "new.yml").write_text(yaml.safe_dump(service("another")))
    against = ["--against", str(tmp_path / "all.yaml"), "-o", "json"]
    new = ["-f", str(tmp_path / "new.yml")]
    assert command.main([*new, *against]) == 0
    assert json.loads(capsys.readouterr().out)["changes"][0]["after"] == "192.168.1.101"
    assert command.main([*new, *against, "--check"]) == 1
    assert command.main(["-f", str(tmp_path / "all.yaml"), *against, "--check"]) == 0
    assert command.main(["-f", str(tmp_path / "none.yaml"), *against]) == 2
    assert "none.yaml" in capsys.readouterr().err
