"""Controllers and scheduler against the real API server, with the real kubectl."""

import asyncio
import contextlib
import itertools
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_micro_text, now_text
from cairn.kube.metadata import Key
from cairn.kube.resource import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
)

Until = Callable[..., Any]
Raw = dict[str, Any]
NODE_NAMES = ("node-1", "node-2", "node-3")


class Kubelets:
    """Says of every pod what kubelets would: the other side of the API, not a part of Cairn."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.informer = Informer(client, PODS, on_change=self._changed)
        self.silent: set[str] = set()
        self.linger_s = 0.1
        self.tasks: set[asyncio.Task[None]] = set()
        self.numbers = itertools.count(1)

    def _changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if new is not None and new["spec"].get("nodeName") not in (None, *self.silent):
            task = asyncio.ensure_future(self._serve(key, new))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _serve(self, key: Key, pod: Raw) -> None:
        with contextlib.suppress(ApiError):
            if pod["metadata"].get("deletionTimestamp"):
                await asyncio.sleep(self.linger_s)
                await self.client.delete(PODS, key, grace_period_s=0)
            elif not (pod.get("status") or {}).get("podIP"):
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": now_text()}
                ip = f"10.244.0.{next(self.numbers)}"
                status = {
                    "phase": "Running",
                    "podIP": ip,
                    "podIPs": [{"ip": ip}],
                    "conditions": [ready],
                }
                for _ in range(20):  # as a kubelet would, until the server has it
                    try:
                        await self.client.patch(PODS, key, {"status": status}, subresource="status")
                        return
                    except ApiError as error:
                        print(f"status of {key}: {error.status} {error.message}")
                        await asyncio.sleep(0.1)

    async def register(self, name: str) -> None:
        labels = {"kubernetes.io/hostname": name, "node-role.kubernetes.io/worker": ""}
        metadata = {"name": name, "labels": labels}
        await self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        await self.heartbeat(name)

    async def heartbeat(self, name: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}
        patch = {"status": {"conditions": [{**ready, "lastTransitionTime": now_text()}]}}
        await self.client.patch(NODES, Key("", name), patch, subresource="status")
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name, "renewTime": now_micro_text()},
        }
        try:
            await self.client.create(LEASES, lease)
        except ApiError:
            key = Key("kube-node-lease", name)
            await self.client.patch(LEASES, key, {"spec": lease["spec"]})


@pytest.fixture
async def kubelets(client: Client, processes: Any, kubeconfig: Path) -> AsyncIterator[Kubelets]:
    processes.start(
        "controllers", "lab", "controllers", "--kubeconfig", str(kubeconfig), "--node-grace", "3"
    )
    found = Kubelets(client)
    following = asyncio.ensure_future(found.informer.run())
    for name in NODE_NAMES:
        await found.register(name)

    async def beat() -> None:
        while True:
            for name in NODE_NAMES:
                if name not in found.silent:
                    with contextlib.suppress(ApiError):
                        await found.heartbeat(name)
            await asyncio.sleep(1)

    beating = asyncio.ensure_future(beat())
    yield found
    beating.cancel()
    following.cancel()


def workload(kind: str, name: str = "web", **spec: Any) -> Raw:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}
            ],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def service() -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


async def kubectl(kubeconfig: Path, *words: str) -> str:
    def run() -> subprocess.CompletedProcess[str]:
        argv = ["kubectl", "--kubeconfig", str(kubeconfig), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def nodes_of(client: Client, label: str) -> list[str]:
    pods, _ = await client.list(PODS, namespace="default", label_selector=label)
    return sorted(pod["spec"].get("nodeName", "") for pod in pods)


async def test_a_deployment_rolls_out_spreads_and_rolls_back(
    client: Client, kubelets: Kubelets, kubeconfig: Path, until: Until
) -> None:
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, workload("Deployment", replicas=3))
    status = ("rollout", "status", "deployment/web", "--timeout=30s")
    assert "successfully rolled out" in await kubectl(kubeconfig, *status)
    assert await nodes_of(client, "app=web") == list(NODE_NAMES)

    async def endpoints() -> Any:
        slices, _ = await client.list(ENDPOINT_SLICES, namespace="default")
        ready = [
            endpoint
            for item in slices
            if item["metadata"].get("labels", {}).get("kubernetes.io/service-name") == "web"
            for endpoint in item["endpoints"]
            if endpoint["conditions"]["ready"] and item["ports"][0]["port"] == 8080
        ]
        return len(ready) == 3 and ready

    assert sorted(e["nodeName"] for e in await until(endpoints, "3 endpoints")) == list(NODE_NAMES)

    async def mirrored() -> Any:
        found = await client.get(ENDPOINTS, Key("default", "web"))
        return len((found.get("subsets") or [{}])[0].get("addresses") or ()) == 3

    await until(mirrored, "Endpoints")
    await kubectl(kubeconfig, "set", "image", "deployment/web", "web=web:2")
    await kubectl(kubeconfig, *status)
    history = await kubectl(kubeconfig, "rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"]
    await kubectl(kubeconfig, "rollout", "undo", "deployment/web")
    await kubectl(kubeconfig, *status)
    deployment = await client.get(DEPLOYMENTS, Key("default", "web"))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "web"
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    await kubectl(kubeconfig, "rollout", "restart", "deployment/web")
    await kubectl(kubeconfig, *status)
    await kubectl(kubeconfig, "scale", "deployment/web", "--replicas=1")
    await kubectl(kubeconfig, "wait", "--for=jsonpath={.status.replicas}=1", "deployment/web")


async def test_an_unready_pod_leaves_its_slice_at_once(
    client: Client, kubelets: Kubelets, kubeconfig: Path, until: Until
) -> None:
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, workload("Deployment", replicas=2))
    await kubectl(kubeconfig, "rollout", "status", "deployment/web", "--timeout=30s")

    async def conditions_of_endpoints() -> list[Raw]:
        slices, _ = await client.list(ENDPOINT_SLICES, namespace="default")
        return [
            e["conditions"]
            for item in slices
            if item["metadata"]["name"].startswith("web-")
            for e in item["endpoints"]
        ]

    async def unready() -> Any:
        return [c for c in await conditions_of_endpoints() if not c["ready"]]

    pods, _ = await client.list(PODS, namespace="default")
    key = Key("default", pods[0]["metadata"]["name"])
    conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": now_text()}]
    start = time.monotonic()
    await client.patch(PODS, key, {"status": {"conditions": conditions}}, subresource="status")
    await until(unready, "an endpoint that is not ready")
    print(f"slice follows the pod in {1000 * (time.monotonic() - start):.0f} ms")
    kubelets.linger_s = 5.0
    conditions[0]["status"] = "True"
    await client.patch(PODS, key, {"status": {"conditions": conditions}}, subresource="status")
    await client.delete(PODS, key, grace_period_s=5)

    async def terminating() -> Any:
        return [c for c in await unready() if c["terminating"] and c["serving"]]

    await until(terminating, "a serving, terminating endpoint", deadline_s=10)


async def test_a_daemon_set_covers_new_nodes_and_restarts_one_by_one(
    client: Client, kubelets: Kubelets, kubeconfig: Path, until: Until
) -> None:
    await client.create(DAEMON_SETS, workload("DaemonSet", "agent"))
    status = ("rollout", "status", "ds/agent", "--timeout=60s")
    await kubectl(kubeconfig, *status)
    assert await nodes_of(client, "app=agent") == list(NODE_NAMES)
    await kubelets.register("node-4")

    async def covered() -> Any:
        return "node-4" in await nodes_of(client, "app=agent")

    await until(covered, "a pod on the new node")
    before, _ = await client.list(PODS, namespace="default")
    await kubectl(kubeconfig, "rollout", "restart", "ds/agent")
    await kubectl(kubeconfig, *status)
    after, _ = await client.list(PODS, namespace="default")
    alive = {p["metadata"]["uid"] for p in after if not p["metadata"].get("deletionTimestamp")}
    assert len(alive) == 4
    assert not alive & {p["metadata"]["uid"] for p in before}


async def test_a_daemon_sets_revisions_are_kept_and_adopted(
    client: Client, kubelets: Kubelets, until: Until
) -> None:
    key = Key("default", "agent")

    async def become(image: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
        await client.patch(DAEMON_SETS, key, patch)

    async def revisions() -> dict[int, Raw]:
        found, _ = await client.list(CONTROLLER_REVISIONS, namespace="default")
        return {one["revision"]: one for one in found}

    async def are(wanted: dict[int, str]) -> None:
        async def same() -> bool:
            templates = {n: r["data"]["spec"]["template"] for n, r in (await revisions()).items()}
            images = {n: t["spec"]["containers"][0]["image"] for n, t in templates.items()}
            return images == wanted

        await until(same, f"revisions {wanted}")

    await client.create(DAEMON_SETS, workload("DaemonSet", "agent", revisionHistoryLimit=1))
    await are({1: "web"})
    await become("a")
    await are({1: "web", 2: "a"})
    await become("b")
    await are({2: "a", 3: "b"})
    await become("a")
    await are({3: "b", 4: "a"})
    orphan = Key("default", (await revisions())[3]["metadata"]["name"])
    await client.patch(CONTROLLER_REVISIONS, orphan, {"metadata": {"ownerReferences": []}})
    await become("b")
    await are({4: "a", 5: "b"})
    assert (await client.get(CONTROLLER_REVISIONS, orphan))["metadata"]["ownerReferences"]


async def test_pods_wait_with_a_reason(client: Client, kubelets: Kubelets, until: Until) -> None:
    deployment = workload("Deployment", "picky", replicas=1)
    deployment["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    await client.create(DEPLOYMENTS, deployment)

    async def told() -> Any:
        events, _ = await client.list(EVENTS, namespace="default")
        return [e["message"] for e in events if e["reason"] == "FailedScheduling"]

    messages = await until(told, "FailedScheduling")
    assert "node(s) didn't match Pod's node affinity/selector" in messages[-1]
    await client.patch(NODES, Key("", "node-2"), {"metadata": {"labels": {"disk": "ssd"}}})

    async def bound() -> Any:
        return await nodes_of(client, "app=picky") == ["node-2"]

    await until(bound, "the pod is bound once a node fits")


async def test_a_silent_node_is_tainted_and_its_endpoints_are_not_ready(
    client: Client, kubelets: Kubelets, kubeconfig: Path, until: Until
) -> None:
    await client.create(SERVICES, service())
    await client.create(DEPLOYMENTS, workload("Deployment", replicas=3))
    await kubectl(kubeconfig, "rollout", "status", "deployment/web", "--timeout=30s")
    kubelets.silent.add("node-2")

    async def lost() -> Any:
        node = await client.get(NODES, Key("", "node-2"))
        keys = {taint["key"] for taint in node.get("spec", {}).get("taints") or ()}
        return "node.kubernetes.io/unreachable" in keys

    await until(lost, "the unreachable taint")

    async def unready() -> Any:
        slices, _ = await client.list(ENDPOINT_SLICES, namespace="default")
        return [
            e
            for item in slices
            for e in item["endpoints"]
            if e.get("nodeName") == "node-2" and not e["conditions"]["ready"]
        ]

    await until(unready, "its endpoint is not ready")
    kubelets.silent.clear()

    async def back() -> Any:
        node = await client.get(NODES, Key("", "node-2"))
        return not node.get("spec", {}).get("taints")

    await until(back, "the taints go")


async def test_namespaces_are_furnished_and_emptied(
    client: Client, kubelets: Kubelets, kubeconfig: Path, until: Until
) -> None:
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await client.create(NAMESPACES, shop)
    key = Key("shop", "kube-root-ca.crt")

    async def furnished() -> Any:
        return "BEGIN CERTIFICATE" in (await client.get(CONFIG_MAPS, key))["data"]["ca.crt"]

    await until(furnished, "kube-root-ca.crt")
    await kubectl(kubeconfig, "get", "serviceaccount", "-n", "shop", "default")
    deployment = workload("Deployment", replicas=2)
    deployment["metadata"]["namespace"] = "shop"
    await client.create(DEPLOYMENTS, deployment)
    await kubectl(kubeconfig, "rollout", "status", "-n", "shop", "deployment/web", "--timeout=30s")
    await kubectl(kubeconfig, "delete", "namespace", "shop", "--timeout=30s")
    found, _ = await client.list(NAMESPACES)
    assert "shop" not in {item["metadata"]["name"] for item in found}
    pods, _ = await client.list(PODS)
    assert not [pod for pod in pods if pod["metadata"]["namespace"] == "shop"]


async def test_nodes_get_networks_by_number(
    client: Client, kubelets: Kubelets, until: Until
) -> None:
    async def given() -> Any:
        nodes, _ = await client.list(NODES)
        return {n["metadata"]["name"]: n.get("spec", {}).get("podCIDR") for n in nodes} == {
            f"node-{number}": f"10.244.{number}.0/24" for number in (1, 2, 3)
        }

    await until(given, "pod networks")
