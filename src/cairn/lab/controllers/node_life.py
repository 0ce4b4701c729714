"""Nodes' lives: their pod networks, whether they still answer, and what becomes of their pods.

    Nodes, Leases  ->  podCIDRs, Ready=Unknown, taints, pods unready, evicted or forgotten

Invariants  A node's silence is measured by our own clock from when we saw its Lease change.
Standards   Kubernetes node lifecycle; taint-based eviction (toleration seconds, 300 by default)
"""

import asyncio
from collections.abc import Container
from itertools import chain

from cairn.drive.rfc3339 import now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import LEASES, NODES, PODS
from cairn.lab.controllers.conditions import find, put
from cairn.lab.controllers.placement import node_ready, toleration_of
from cairn.lab.controllers.pod_state import is_active, is_ready, node_of
from cairn.lab.controllers.world import Raw, World, ignore_gone, is_deleting
from cairn.net import Network

LEASE_NAMESPACE = "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
EVICT_AFTER_S = 300.0
CHECK_S = 1.0
NODE_BITS = {4: 24, 6: 64}
"""Prefix length of one node's network, by IP version (Kubernetes' own defaults)."""


class NodeLife:
    """Reconciles every Node."""

    def __init__(self, world: World, *, grace_s: float, pod_networks: tuple[Network, ...]) -> None:
        self._world = world
        self._grace_s = grace_s
        self._pod_networks = pod_networks
        self.queue: WorkQueue[Key] = WorkQueue("Node", self._reconcile, workers=1)
        """Keys of Nodes that changed."""
        self._heard: dict[str, float] = {}
        self._unwell_since: dict[str, float] = {}
        world.follow(NODES, self._node_changed)
        world.follow(LEASES, self._lease_changed)
        world.follow(PODS, lambda key, old, new: None)

    async def run(self) -> None:
        """Look at every node each second, as silence makes no event."""
        while True:
            await asyncio.sleep(CHECK_S)
            for key in self._world.keys(NODES):
                self.queue.add(key)
            await self._forget_pods()

    def _node_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if old is None or new is None:
            self._heard[key.name] = asyncio.get_running_loop().time()
        self.queue.add(key)

    def _lease_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if key.namespace == LEASE_NAMESPACE and new is not None:
            self._heard[key.name] = asyncio.get_running_loop().time()
            self.queue.add(Key("", key.name))

    async def _reconcile(self, key: Key) -> None:
        node = self._world.get(NODES, key)
        now = asyncio.get_running_loop().time()
        if node is None or is_deleting(node):
            self._heard.pop(key.name, None)
            self._unwell_since.pop(key.name, None)
            return
        if not node["spec"].get("podCIDR"):
            node = await self._give_network(node)
        silent = now - self._heard.setdefault(key.name, now) > self._grace_s
        if silent and find(node, "Ready").get("status") != "Unknown":
            node = await self._declare_unknown(node)
        ready = node_ready(node)
        node = await self._taint(node, ready=ready, silent=silent)
        if ready:
            self._unwell_since.pop(key.name, None)
            return
        self._unwell_since.setdefault(key.name, now)
        if silent:
            await self._unready_pods(key.name)
        await self._evict(node, now - self._unwell_since[key.name])

    async def _give_network(self, node: Raw) -> Raw:
        taken = {text for n in self._world.all(NODES) for text in n["spec"].get("podCIDRs") or ()}
        chosen = []
        for whole in self._pod_networks:
            network = choose_network(node["metadata"]["name"], whole, taken)
            if not network:
                text = f"no /{NODE_BITS[whole.version]} of {whole} is free: remove a node"
                self._world.recorder.record(node, "CIDRNotAvailable", text, warning=True)
                return node
            chosen.append(network)
        patch = {"spec": {"podCIDR": chosen[0], "podCIDRs": chosen}}
        return await self._world.patch(NODES, key_of(node), patch)

    async def _declare_unknown(self, node: Raw) -> Raw:
        conditions = put(
            (node.get("status") or {}).get("conditions") or [],
            "Ready",
            status=False,
            reason="NodeStatusUnknown",
            message=f"Kubelet has not renewed its Lease for {self._grace_s:.0f} s.",
            now=now_text(),
        )
        for condition in conditions:
            condition.pop("lastUpdateTime", None)
            if condition["type"] == "Ready":
                condition["status"] = "Unknown"
        text = f"Node {node['metadata']['name']} status is now: NodeNotReady"
        self._world.recorder.record(node, "NodeNotReady", text, warning=True)
        patch = {"status": {"conditions": conditions}}
        return await self._world.patch(NODES, key_of(node), patch, sub="status")

    async def _taint(self, node: Raw, *, ready: bool, silent: bool) -> Raw:
        taints = node["spec"].get("taints") or []
        key = "" if ready else UNREACHABLE if silent else NOT_READY
        wanted = with_taint(taints, key, now_text())
        if wanted == taints:
            return node
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"taints": wanted or None},
        }
        return await self._world.patch(NODES, key_of(node), patch)

    async def _unready_pods(self, name: str) -> None:
        """Say that pods of a silent node are not ready, so that nothing is sent there."""
        for pod in self._world.all(PODS):
            if node_of(pod) != name or not is_ready(pod):
                continue
            conditions = [
                {**c, "status": "False", "reason": "NodeNotReady", "lastTransitionTime": now_text()}
                if c.get("type") == "Ready"
                else c
                for c in pod["status"]["conditions"]
            ]
            with ignore_gone():
                patch = {"status": {"conditions": conditions}}
                await self._world.patch(PODS, key_of(pod), patch, sub="status")

    async def _evict(self, node: Raw, unwell_s: float) -> None:
        name = node["metadata"]["name"]
        taints = [t for t in node["spec"].get("taints") or () if t.get("effect") == "NoExecute"]
        for pod in self._world.all(PODS):
            if node_of(pod) != name or not is_active(pod):
                continue
            if any(unwell_s > patience_s(pod["spec"], taint) for taint in taints):
                text = f"Deleting pod: node {name} is not ready for {unwell_s:.0f} s"
                self._world.recorder.record(pod, "TaintManagerEviction", text)
                await self._world.delete(PODS, pod)

    async def _forget_pods(self) -> None:
        """Delete pods of nodes that do not exist: no kubelet will ever end them."""
        names = {key.name for key in self._world.keys(NODES)}
        for pod in self._world.all(PODS):
            if node_of(pod) and node_of(pod) not in names:
                await self._world.delete(PODS, pod, now=True)


def patience_s(spec: Raw, taint: Raw) -> float:
    """Return how long a pod stays on a node with a NoExecute taint: for ever, or seconds."""
    toleration = toleration_of(spec, taint)
    if toleration is None:
        return EVICT_AFTER_S if taint["key"] in (NOT_READY, UNREACHABLE) else 0.0
    seconds = toleration.get("tolerationSeconds")
    return float("inf") if seconds is None else float(seconds)


def with_taint(taints: list[Raw], key: str, now: str) -> list[Raw]:
    """Return the taints with those of a node's health being exactly `key`'s, or none for ""."""
    others = [t for t in taints if t.get("key") not in (NOT_READY, UNREACHABLE)]
    if not key:
        return others if len(others) != len(taints) else taints
    effects = ("NoSchedule", "NoExecute")
    present = [t for t in taints if t.get("key") == key and t.get("effect") in effects]
    if len(present) == len(effects) and len(others) + len(effects) == len(taints):
        return taints
    return [*others, *({"key": key, "effect": effect, "timeAdded": now} for effect in effects)]


def choose_network(name: str, whole: Network, taken: Container[str]) -> str:
    """Return a free network of one node: node-N gets the Nth, any other node the lowest free one.

    Empty if none is free.
    """
    bits = NODE_BITS[whole.version]
    count = 1 << max(0, bits - whole.prefixlen)
    size = 1 << (whole.max_prefixlen - bits)
    digits = name[len(name.rstrip("0123456789")) :]
    preferred = [int(digits)] if digits and int(digits) < count else []
    for number in chain(preferred, range(1, count), (0,)):
        network = f"{whole.network_address + number * size}/{bits}"
        if network not in taken:
            return network
    return ""
