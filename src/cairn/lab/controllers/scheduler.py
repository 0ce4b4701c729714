"""The scheduler: binds each pod to a node, or says why it cannot.

    Pods without a node, nodes  ->  bindings, PodScheduled=False, FailedScheduling

Not here    The choice (placement.py).
"""

from collections import Counter
from typing import Any

from cairn.drive.kube_client import ApiError
from cairn.drive.rfc3339 import now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key
from cairn.kube.resource import NODES, PODS
from cairn.kube.selector import parse_selector
from cairn.lab.controllers.conditions import find, put
from cairn.lab.controllers.placement import Load, choose_node, node_ready, taints_of
from cairn.lab.controllers.pod_state import is_active, node_of
from cairn.lab.controllers.world import Raw, World, controller_uid, ignore_gone, is_deleting

HOSTNAME = "kubernetes.io/hostname"


class Scheduler:
    """Binds every pod that asks for the default scheduler."""

    def __init__(self, world: World) -> None:
        self._world = world
        # One worker: each choice must see the ones before it.
        self.queue: WorkQueue[Key] = WorkQueue("Pod scheduling", self._reconcile, workers=1)
        """Keys of pods that want a node."""
        world.follow(PODS, self._pod_changed)
        world.follow(NODES, self._node_changed)

    def _pod_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if new is not None and not node_of(new) and is_active(new):
            self.queue.add(key)
        elif new is None and old is not None and node_of(old):
            self._try_all()  # room for another, as anti-affinity sees it

    def _node_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if new is not None and (old is None or _facts(old) != _facts(new)):
            self._try_all()

    def _try_all(self) -> None:
        for pod in self._world.all(PODS):
            if not node_of(pod) and is_active(pod):
                self.queue.add(_key(pod))

    async def _reconcile(self, key: Key) -> None:
        pod = self._world.get(PODS, key)
        if pod is None or node_of(pod) or not is_active(pod):
            return
        if (pod["spec"].get("schedulerName") or "default-scheduler") != "default-scheduler":
            return
        nodes = [node for node in self._world.all(NODES) if not is_deleting(node)]
        name, why = choose_node(pod, nodes, self._load(pod))
        if name:
            await self._bind(pod, name)
        else:
            await self._refuse(pod, why)

    def _load(self, pod: Raw) -> Load:
        owner, namespace = controller_uid(pod), pod["metadata"].get("namespace")
        same: Counter[str] = Counter()
        every: Counter[str] = Counter()
        terms = _anti_affinity(pod)
        avoided = set()
        for other in self._world.all(PODS):
            node = node_of(other)
            if not node or not is_active(other):
                continue
            every[node] += 1
            if owner and controller_uid(other) == owner:
                same[node] += 1
            labels = other["metadata"].get("labels") or {}
            if other["metadata"].get("namespace") == namespace and any(
                parse_selector(term.get("labelSelector")).matches(labels) for term in terms
            ):
                avoided.add(node)
        return Load(same, every, frozenset(avoided))

    async def _bind(self, pod: Raw, node: str) -> None:
        metadata = pod["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = PODS.path(metadata["namespace"], metadata["name"], "binding")
        try:
            await self._world.client.request("POST", path, body=body)
        except ApiError as error:
            if error.status in (404, 409):
                return
            raise
        bound = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        self._world.assume(PODS, bound)
        text = f"Successfully assigned {_key(pod)} to {node}"
        self._world.recorder.record(pod, "Scheduled", text)

    async def _refuse(self, pod: Raw, why: str) -> None:
        if find(pod, "PodScheduled").get("message") == why:
            return
        conditions: list[dict[str, Any]] = put(
            (pod.get("status") or {}).get("conditions") or [],
            "PodScheduled",
            status=False,
            reason="Unschedulable",
            message=why,
            now=now_text(),
        )
        for condition in conditions:
            condition.pop("lastUpdateTime", None)
        self._world.recorder.record(pod, "FailedScheduling", why, warning=True)
        with ignore_gone():
            patch = {"status": {"conditions": conditions}}
            await self._world.patch(PODS, _key(pod), patch, sub="status")


def _anti_affinity(pod: Raw) -> list[Raw]:
    affinity = (pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return [term for term in terms if term.get("topologyKey") == HOSTNAME]


def _facts(node: Raw) -> tuple[bool, list[Raw], dict[str, str]]:
    return node_ready(node), taints_of(node), node["metadata"].get("labels") or {}


def _key(pod: Raw) -> Key:
    return Key(pod["metadata"]["namespace"], pod["metadata"]["name"])
