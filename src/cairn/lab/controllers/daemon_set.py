"""DaemonSets: one pod on each node that fits, replaced node by node when the template changes.

    DaemonSet, nodes, its pods  ->  pods created or deleted, revisions, status

Standards   Kubernetes apps/v1 DaemonSet
"""

from collections import defaultdict
from dataclasses import dataclass, field

from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key
from cairn.kube.resource import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from cairn.lab.controllers.placement import node_ready, why_unfit
from cairn.lab.controllers.pod_state import (
    available_in_s,
    is_active,
    is_ready,
    node_of,
    phase,
    pod_from,
    template_hash,
)
from cairn.lab.controllers.revision import keep_revision
from cairn.lab.controllers.rollout import limits, replaceable
from cairn.lab.controllers.world import Raw, World, controller, is_deleting

HASH_LABEL = "controller-revision-hash"
ALWAYS = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
ON_HOST_NETWORK = (
    # Such pods bring the network: they must run before the node is ready.
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
    ("node.kubernetes.io/not-ready", "NoSchedule"),
    ("node.kubernetes.io/unreachable", "NoSchedule"),
)


@dataclass(slots=True)
class _Cover:
    """One DaemonSet against the nodes."""

    wanted: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    pods: dict[str, list[Raw]] = field(default_factory=lambda: defaultdict(list))


class DaemonSets:
    """Reconciles every DaemonSet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.queue: WorkQueue[Key] = WorkQueue("DaemonSet", self._reconcile)
        """Keys of DaemonSets that changed."""
        world.follow(DAEMON_SETS, lambda key, old, new: self.queue.add(key))
        world.follow(PODS, self._owned_changed)
        world.follow(CONTROLLER_REVISIONS, self._owned_changed)
        world.follow(NODES, self._node_changed)

    def _owned_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        owner = controller(new or old or {"metadata": {}})
        if owner.get("kind") == "DaemonSet":
            self.queue.add(Key(key.namespace, owner["name"]))

    def _node_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        if old is None or new is None or _facts(old) != _facts(new):
            for daemon_set in self._world.keys(DAEMON_SETS):
                self.queue.add(daemon_set)

    async def _reconcile(self, key: Key) -> None:
        daemon_set = self._world.get(DAEMON_SETS, key)
        if daemon_set is None or is_deleting(daemon_set):
            return
        tolerations = _tolerations(daemon_set)
        cover = self._cover(daemon_set, tolerations)
        word = template_hash(daemon_set["spec"]["template"])
        await keep_revision(self._world, daemon_set, HASH_LABEL, word)
        for node in sorted(cover.wanted - set(cover.pods)):
            # Bound here, as the choice leaves the scheduler nothing to decide.
            spec = {"nodeName": node, "tolerations": tolerations}
            pod = pod_from(daemon_set["spec"]["template"], daemon_set, {HASH_LABEL: word}, spec)
            created = await self._world.create(PODS, pod)
            text = f"Created pod: {created['metadata']['name']}"
            self._world.recorder.record(daemon_set, "SuccessfulCreate", text)
        for pod in self._unwanted(cover) + self._outdated(daemon_set, cover, word):
            await self._delete(daemon_set, pod)
        await self._write_status(key, tolerations, word)

    def _cover(self, daemon_set: Raw, tolerations: list[Raw]) -> _Cover:
        spec = {**daemon_set["spec"]["template"]["spec"], "tolerations": tolerations}
        cover = _Cover()
        for node in self._world.all(NODES):
            if is_deleting(node):
                continue
            if not why_unfit(spec, node):
                cover.wanted.add(node["metadata"]["name"])
            if not why_unfit(spec, node, ("NoExecute",)):
                cover.kept.add(node["metadata"]["name"])
        for pod in self._world.owned(PODS, daemon_set["metadata"]["uid"]):
            cover.pods[node_of(pod)].append(pod)
        return cover

    def _unwanted(self, cover: _Cover) -> list[Raw]:
        """Return pods on wrong nodes, second pods of a node, and ended ones."""
        going = []
        for node, pods in cover.pods.items():
            alive = sorted(
                (pod for pod in pods if is_active(pod)),
                key=lambda pod: pod["metadata"].get("creationTimestamp") or "",
            )
            going += alive[1:] if node in cover.kept else alive
            going += [p for p in pods if phase(p) in ("Failed", "Succeeded") and not is_deleting(p)]
        return going

    def _outdated(self, daemon_set: Raw, cover: _Cover, word: str) -> list[Raw]:
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return []
        least_s = int(daemon_set["spec"].get("minReadySeconds") or 0)
        current = {
            node: pod
            for node, pods in cover.pods.items()
            for pod in pods
            if node in cover.wanted and is_active(pod)
        }
        ready = {node: available_in_s(pod, least_s) == 0 for node, pod in current.items()}
        outdated = {
            node: ready[node]
            for node, pod in current.items()
            if (pod["metadata"].get("labels") or {}).get(HASH_LABEL) != word
        }
        rolling = strategy.get("rollingUpdate") or {}
        fewer = rolling.get("maxUnavailable", 1)
        budget = limits(len(cover.wanted), 0, fewer).unavailable
        missing = sum(not ready.get(node, False) for node in cover.wanted)
        going = replaceable(outdated, unavailable=missing, budget=max(1, budget))
        return [current[node] for node in going]

    async def _delete(self, daemon_set: Raw, pod: Raw) -> None:
        await self._world.delete(PODS, pod)
        text = f"Deleted pod: {pod['metadata']['name']}"
        self._world.recorder.record(daemon_set, "SuccessfulDelete", text)

    async def _write_status(self, key: Key, tolerations: list[Raw], word: str) -> None:
        daemon_set = self._world.get(DAEMON_SETS, key)
        if daemon_set is None:
            return
        cover = self._cover(daemon_set, tolerations)
        least_s = int(daemon_set["spec"].get("minReadySeconds") or 0)
        right, wrong = [], 0
        for node, pods in cover.pods.items():
            active = [pod for pod in pods if is_active(pod)]
            if node in cover.wanted:
                right += active[:1]
            else:
                wrong += len(active)
        waits = [available_in_s(pod, least_s) for pod in right]
        soon = [wait for wait in waits if 0 < wait < float("inf")]
        if soon:
            self.queue.add_after(key, min(soon))
        status = {
            "observedGeneration": daemon_set["metadata"].get("generation") or 0,
            "desiredNumberScheduled": len(cover.wanted),
            "currentNumberScheduled": len(right),
            "numberMisscheduled": wrong,
            "numberReady": sum(map(is_ready, right)),
            "numberAvailable": waits.count(0),
            "numberUnavailable": len(cover.wanted) - waits.count(0),
            "updatedNumberScheduled": sum(
                (pod["metadata"].get("labels") or {}).get(HASH_LABEL) == word for pod in right
            ),
        }
        await self._world.set_status(DAEMON_SETS, daemon_set, status)


def _tolerations(daemon_set: Raw) -> list[Raw]:
    spec = daemon_set["spec"]["template"]["spec"]
    more = ALWAYS + (ON_HOST_NETWORK if spec.get("hostNetwork") else ())
    return [
        *(spec.get("tolerations") or ()),
        *({"key": key, "operator": "Exists", "effect": effect} for key, effect in more),
    ]


def _facts(node: Raw) -> tuple[object, ...]:
    metadata, spec = node["metadata"], node["spec"]
    labels, taints = metadata.get("labels") or {}, spec.get("taints") or []
    return labels, taints, spec.get("unschedulable"), is_deleting(node), node_ready(node)
