"""Deployments: a replica set per version of the template, and the way from one to the next.

    Deployment, its ReplicaSets  ->  ReplicaSets created, resized, forgotten; status

Standards   Kubernetes apps/v1 Deployment; revision annotations as kubectl rollout reads them
Not here    The arithmetic (rollout.py), pods (replica_set.py).
"""

import copy
from typing import Any

from cairn.drive.rfc3339 import age_s, now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import DEPLOYMENTS, PODS, REPLICA_SETS
from cairn.lab.controllers.conditions import find, put
from cairn.lab.controllers.pod_state import template_hash
from cairn.lab.controllers.rollout import Size, limits, next_sizes
from cairn.lab.controllers.world import Raw, World, controller, is_deleting, owner_reference

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DEADLINE_S = 600


class Deployments:
    """Reconciles every Deployment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.queue: WorkQueue[Key] = WorkQueue("Deployment", self._reconcile)
        """Keys of Deployments that changed."""
        world.follow(DEPLOYMENTS, lambda key, old, new: self.queue.add(key))
        world.follow(REPLICA_SETS, self._replica_set_changed)

    def _replica_set_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        owner = controller(new or old or {"metadata": {}})
        if owner.get("kind") == "Deployment":
            self.queue.add(Key(key.namespace, owner["name"]))

    async def _reconcile(self, key: Key) -> None:
        deployment = self._world.get(DEPLOYMENTS, key)
        if deployment is None or is_deleting(deployment):
            return
        sets = self._sets(deployment)
        current = next((s for s in sets if same_template(s, deployment)), None)
        olds = [s for s in sets if s is not current]
        paused = bool(deployment["spec"].get("paused"))
        if current is None and not paused and self._may_start(deployment, olds):
            current = await self._create(deployment, sets)
        if current is not None:
            current = await self._mark_revision(deployment, current, sets)
        if not paused:
            await self._resize(deployment, current, olds)
            await self._forget(deployment, olds)
        elif current is not None and not any(map(_wanted, olds)):
            await self._scale(deployment, current, _wanted(deployment))
        await self._write_status(key)

    def _sets(self, deployment: Raw) -> list[Raw]:
        owned = self._world.owned(REPLICA_SETS, deployment["metadata"]["uid"])
        alive = [s for s in owned if not is_deleting(s)]
        return sorted(alive, key=lambda s: (_revision(s), s["metadata"]["name"]))

    def _may_start(self, deployment: Raw, olds: list[Raw]) -> bool:
        """Return whether a new set may exist: with Recreate, only when all old pods are gone."""
        if (deployment["spec"].get("strategy") or {}).get("type") != "Recreate":
            return True
        if any(map(_wanted, olds)):
            return False
        return not any(self._world.owned(PODS, s["metadata"]["uid"]) for s in olds)

    async def _create(self, deployment: Raw, sets: list[Raw]) -> Raw:
        spec, metadata = deployment["spec"], deployment["metadata"]
        word = template_hash(spec["template"])
        template = copy.deepcopy(spec["template"])
        labels = {**(template.get("metadata") or {}).get("labels", {}), HASH_LABEL: word}
        template.setdefault("metadata", {})["labels"] = labels
        selector = copy.deepcopy(spec["selector"])
        selector.setdefault("matchLabels", {})[HASH_LABEL] = word
        recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        body = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{word}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {**_annotations(deployment), REVISION: str(_next_revision(sets))},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": _wanted(deployment) if recreate or not sets else 0,
                "minReadySeconds": spec.get("minReadySeconds") or 0,
                "selector": selector,
                "template": template,
            },
        }
        created = await self._world.create(REPLICA_SETS, body)
        name, count = created["metadata"]["name"], _wanted(created)
        text = f"Scaled up replica set {name} from 0 to {count}"
        self._world.recorder.record(deployment, "ScalingReplicaSet", text)
        return created

    async def _mark_revision(self, deployment: Raw, current: Raw, sets: list[Raw]) -> Raw:
        """Give the current set the highest revision (an undo makes an old one current again)."""
        others = [s for s in sets if s is not current]
        if others and _revision(current) <= max(map(_revision, others)):
            marks = {REVISION: str(_next_revision(sets)), **_annotations(deployment)}
            patch: Raw = {"metadata": {"annotations": marks}}
            current = await self._world.patch(REPLICA_SETS, key_of(current), patch)
        revision = str(_revision(current))
        if (deployment["metadata"].get("annotations") or {}).get(REVISION) != revision:
            patch = {"metadata": {"annotations": {REVISION: revision}}}
            await self._world.patch(DEPLOYMENTS, key_of(deployment), patch)
        return current

    async def _resize(self, deployment: Raw, current: Raw | None, olds: list[Raw]) -> None:
        strategy = deployment["spec"].get("strategy") or {}
        desired = _wanted(deployment)
        if strategy.get("type") == "Recreate":
            for old in olds:
                await self._scale(deployment, old, 0)
            if current is not None:
                await self._scale(deployment, current, desired)
            return
        if current is None:
            return
        rolling = strategy.get("rollingUpdate") or {}
        bounds = limits(desired, rolling.get("maxSurge"), rolling.get("maxUnavailable"))
        sizes = next_sizes(desired, bounds, _size(current), [_size(old) for old in olds])
        for replica_set in (current, *olds):
            await self._scale(deployment, replica_set, sizes[replica_set["metadata"]["name"]])

    async def _scale(self, deployment: Raw, replica_set: Raw, count: int) -> None:
        before = _wanted(replica_set)
        if before == count:
            return
        # The version that was decided upon must still be the one that is resized.
        version = replica_set["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": count}}
        await self._world.patch(REPLICA_SETS, key_of(replica_set), patch)
        way = "up" if count > before else "down"
        name = replica_set["metadata"]["name"]
        text = f"Scaled {way} replica set {name} from {before} to {count}"
        self._world.recorder.record(deployment, "ScalingReplicaSet", text)

    async def _forget(self, deployment: Raw, olds: list[Raw]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        keep = 10 if limit is None else int(limit)
        idle = [s for s in olds if not _wanted(s) and not _count(s, "replicas")]
        for replica_set in idle[: max(0, len(olds) - keep)]:
            await self._world.delete(REPLICA_SETS, replica_set)

    async def _write_status(self, key: Key) -> None:
        deployment = self._world.get(DEPLOYMENTS, key)
        if deployment is None:
            return
        sets = self._sets(deployment)
        desired = _wanted(deployment)
        current = next((s for s in sets if same_template(s, deployment)), None)
        status: dict[str, Any] = {
            "observedGeneration": deployment["metadata"].get("generation") or 0,
            "replicas": sum(_count(s, "replicas") for s in sets),
            "updatedReplicas": _count(current, "replicas") if current else 0,
            "readyReplicas": sum(_count(s, "readyReplicas") for s in sets),
            "availableReplicas": sum(_count(s, "availableReplicas") for s in sets),
        }
        status["unavailableReplicas"] = max(0, desired - status["availableReplicas"])
        status["conditions"] = self._conditions(deployment, status, current)
        await self._world.set_status(DEPLOYMENTS, deployment, status)

    def _conditions(
        self, deployment: Raw, status: dict[str, Any], current: Raw | None
    ) -> list[dict[str, Any]]:
        spec, now = deployment["spec"], now_text()
        desired = _wanted(deployment)
        rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
        bounds = limits(desired, rolling.get("maxSurge"), rolling.get("maxUnavailable"))
        enough = status["availableReplicas"] >= desired - bounds.unavailable
        word = "has" if enough else "does not have"
        conditions = put(
            (deployment.get("status") or {}).get("conditions") or [],
            "Available",
            status=enough,
            reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            message=f"Deployment {word} minimum availability.",
            now=now,
        )
        name = current["metadata"]["name"] if current else deployment["metadata"]["name"]
        complete = (
            status["updatedReplicas"] == desired
            and status["replicas"] == desired
            and status["availableReplicas"] == desired
        )
        if complete:
            reason, text = (
                "NewReplicaSetAvailable",
                f'ReplicaSet "{name}" has successfully progressed.',
            )
            return put(conditions, "Progressing", status=True, reason=reason, message=text, now=now)
        return self._progress(deployment, status, conditions, name)

    def _progress(
        self, deployment: Raw, status: dict[str, Any], conditions: list[dict[str, Any]], name: str
    ) -> list[dict[str, Any]]:
        """Return the conditions of a rollout that is under way, or stuck beyond its deadline."""
        now = now_text()
        old = deployment.get("status") or {}
        counted = ("observedGeneration", "updatedReplicas", "readyReplicas", "availableReplicas")
        moved = any((old.get(field) or 0) != status[field] for field in counted)
        progressing = find(deployment, "Progressing")
        deadline_s = int(deployment["spec"].get("progressDeadlineSeconds") or DEADLINE_S)
        waited_s = age_s(progressing.get("lastUpdateTime") or now)
        stuck = progressing.get("reason") == "ProgressDeadlineExceeded" or waited_s > deadline_s
        if stuck and not moved and progressing.get("reason") != "NewReplicaSetAvailable":
            text = f'ReplicaSet "{name}" has timed out progressing.'
            return put(
                conditions,
                "Progressing",
                status=False,
                reason="ProgressDeadlineExceeded",
                message=text,
                now=now,
            )
        self.queue.add_after(key_of(deployment), deadline_s + 1.0)
        text = f'ReplicaSet "{name}" is progressing.'
        result = put(
            conditions,
            "Progressing",
            status=True,
            reason="ReplicaSetUpdated",
            message=text,
            now=now,
        )
        if moved:
            result = [
                {**c, "lastUpdateTime": now} if c["type"] == "Progressing" else c for c in result
            ]
        return result


def same_template(replica_set: Raw, deployment: Raw) -> bool:
    """Return whether a set runs the Deployment's present template."""
    template = copy.deepcopy(replica_set["spec"]["template"])
    (template.get("metadata") or {}).get("labels", {}).pop(HASH_LABEL, None)
    return _plain(template) == _plain(deployment["spec"]["template"])


def _plain(template: Raw) -> Raw:
    metadata = template.get("metadata") or {}
    kept = {name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)}
    return {"metadata": kept, "spec": template.get("spec")}


def _annotations(deployment: Raw) -> dict[str, str]:
    annotations = deployment["metadata"].get("annotations") or {}
    return {k: v for k, v in annotations.items() if k not in (REVISION, LAST_APPLIED)}


def _revision(replica_set: Raw) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION) or "0"
    return int(text) if text.isdigit() else 0


def _next_revision(sets: list[Raw]) -> int:
    return max(map(_revision, sets), default=0) + 1


def _wanted(obj: Raw) -> int:
    replicas = obj["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def _count(replica_set: Raw, field: str) -> int:
    return int((replica_set.get("status") or {}).get(field) or 0)


def _size(replica_set: Raw) -> Size:
    available = min(_wanted(replica_set), _count(replica_set, "availableReplicas"))
    return Size(replica_set["metadata"]["name"], _wanted(replica_set), available)
