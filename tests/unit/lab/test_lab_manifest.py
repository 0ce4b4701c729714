"""The lab's own manifests, and what happens to broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cairn.lab.manifest import BUILT_IN, LAST_APPLIED, load_manifests, with_last_applied
from cairn.lab.state import LabError

Objects = dict[tuple[str, str, str], dict[str, Any]]


def by_key(objects: list[dict[str, Any]]) -> Objects:
    return {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects
    }


@pytest.fixture(scope="module")
def system() -> Objects:
    return by_key(load_manifests(BUILT_IN / "cairn.yaml"))


@pytest.fixture(scope="module")
def scenario() -> Objects:
    return by_key(load_manifests(BUILT_IN / "scenario"))


def workloads(objects: Objects) -> list[dict[str, Any]]:
    return [o for (kind, _, _), o in objects.items() if kind in ("Deployment", "DaemonSet")]


def test_daemon_set_is_agent_speaker_and_proxies_on_the_host_network(system: Objects) -> None:
    template = system["DaemonSet", "kube-system", "cairn"]["spec"]["template"]
    containers = {c["name"]: c for c in template["spec"]["containers"]}
    assert set(containers) == {"agent", "speaker", "dns", "proxy"}
    assert template["spec"]["hostNetwork"] is True
    assert template["metadata"]["annotations"] == {
        "kubectl.kubernetes.io/default-container": "agent",
        "kubectl.kubernetes.io/default-logs-container": "agent",
    }
    paths = {m["mountPath"] for m in containers["agent"]["volumeMounts"]}
    assert paths == {"/sys/fs/bpf", "/sys/fs/cgroup", "/run/cairn", "/etc/cni/net.d"}


def test_every_mount_has_its_volume_and_selectors_match(system: Objects, scenario: Objects) -> None:
    for workload in workloads(system) + workloads(scenario):
        template = workload["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        volumes = {v["name"] for v in template["spec"].get("volumes", [])}
        for container in template["spec"]["containers"]:
            assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes


def test_services_find_their_pods(system: Objects, scenario: Objects) -> None:
    everything = system | scenario
    services = [(key, o) for key, o in everything.items() if key[0] == "Service"]
    assert len(services) == 5
    for (_, namespace, name), service in services:
        chosen = [
            w
            for w in workloads(everything)
            if w["metadata"]["namespace"] == namespace
            and service["spec"]["selector"].items()
            <= w["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, f"{namespace}/{name}"


def test_scenario_is_the_documents(scenario: Objects) -> None:
    pool = scenario["CiliumLoadBalancerIPPool", "", "homelab-pool"]["spec"]
    assert pool["cidrs"] == [{"cidr": "192.168.1.100/28"}]
    policy = scenario["CiliumBGPPeeringPolicy", "", "homelab-bgp-peering"]["spec"]
    assert policy["virtualRouters"][0]["neighbors"][0]["peerAddress"] == "192.168.1.1"
    service = scenario["Service", "default", "my-web-app"]
    wanted = pool["serviceSelector"]["matchLabels"]
    assert service["metadata"]["labels"].items() >= wanted.items()
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": 8080}]
    deployment = scenario["Deployment", "default", "my-web-app"]
    assert deployment["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: Pod\nmetadata: {name: x}\n", "lacks apiVersion or kind"),
        ("apiVersion: v1\nkind: Pod\n", "Pod without metadata"),
        ("a: [1\n", "expected"),
        ("- 1\n", "lacks apiVersion or kind"),
    ],
)
def test_broken_manifest_is_one_line_with_its_path(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(LabError, match=says) as caught:
        load_manifests(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_list_is_taken_apart_and_order_is_that_of_names(tmp_path: Path) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [item]}
    first = item | {"metadata": {"name": "a"}}
    (tmp_path / "2.yaml").write_text(yaml.safe_dump(listed))
    (tmp_path / "1.yaml").write_text("---\n" + yaml.safe_dump(first) + "---\n")
    assert [o["metadata"]["name"] for o in load_manifests(tmp_path)] == ["a", "b"]


def test_empty_folder_and_missing_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no \.yaml"):
        load_manifests(tmp_path)
    with pytest.raises(LabError, match="No such file"):
        load_manifests(tmp_path / "none.yaml")


def test_an_object_says_what_was_applied(scenario: Objects) -> None:
    plain = scenario["Deployment", "default", "my-web-app"]
    sent = with_last_applied(plain)
    told = json.loads(sent["metadata"]["annotations"].pop(LAST_APPLIED))
    assert told["metadata"].pop("annotations") == {}
    assert told == plain
    assert sent["metadata"].pop("annotations") == {}
    assert sent == plain
    assert with_last_applied(with_last_applied(plain)) == with_last_applied(plain)


def test_the_label_of_the_pool_counts_as_set_by_hand(scenario: Objects) -> None:
    sent = with_last_applied(scenario["Service", "default", "my-web-app"])
    assert sent["metadata"]["labels"] == {"io.cilium/lb-ipam-ips": "pool-homelab"}
    told = json.loads(sent["metadata"]["annotations"][LAST_APPLIED])
    assert "labels" not in told["metadata"]
