"""ReplicaSets: as many pods as wanted.

    ReplicaSet, its pods  ->  pods created or deleted, status

Standards   Kubernetes apps/v1 ReplicaSet
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

from cairn.drive.kube_client import ApiError
from cairn.drive.rfc3339 import now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import PODS, REPLICA_SETS
from cairn.lab.controllers.conditions import put
from cairn.lab.controllers.pod_state import available_in_s, is_active, is_ready, node_of, pod_from
from cairn.lab.controllers.world import Raw, World, controller, is_deleting

MOST_AT_ONCE = 50


class ReplicaSets:
    """Reconciles every ReplicaSet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.queue: WorkQueue[Key] = WorkQueue("ReplicaSet", self._reconcile)
        """Keys of ReplicaSets that changed."""
        world.follow(REPLICA_SETS, lambda key, old, new: self.queue.add(key))
        world.follow(PODS, self._pod_changed)

    def _pod_changed(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        owner = controller(new or old or {"metadata": {}})
        if owner.get("kind") == "ReplicaSet":
            self.queue.add(Key(key.namespace, owner["name"]))

    async def _reconcile(self, key: Key) -> None:
        world = self._world
        replica_set = world.get(REPLICA_SETS, key)
        if replica_set is None or is_deleting(replica_set):
            return
        pods = [p for p in world.owned(PODS, replica_set["metadata"]["uid"]) if is_active(p)]
        wanted = _wanted(replica_set)
        failure = ""
        if len(pods) < wanted:
            failure = await self._create(replica_set, min(wanted - len(pods), MOST_AT_ONCE))
            if not failure and wanted - len(pods) > MOST_AT_ONCE:
                self.queue.add(key)
        elif len(pods) > wanted:
            for pod in surplus(pods, len(pods) - wanted):
                await world.delete(PODS, pod)
                name = pod["metadata"]["name"]
                world.recorder.record(replica_set, "SuccessfulDelete", f"Deleted pod: {name}")
        await self._write_status(key, failure)
        if failure:
            raise ApiError(0, "FailedCreate", failure)

    async def _create(self, replica_set: Raw, count: int) -> str:
        template = replica_set["spec"]["template"]
        pods = [pod_from(template, replica_set, {}, {}) for _ in range(count)]
        results = await asyncio.gather(
            *(self._world.create(PODS, pod) for pod in pods), return_exceptions=True
        )
        failure = ""
        for result in results:
            if isinstance(result, ApiError):
                failure = result.message
            elif isinstance(result, BaseException):
                raise result
            else:
                name = result["metadata"]["name"]
                text = f"Created pod: {name}"
                self._world.recorder.record(replica_set, "SuccessfulCreate", text)
        if failure:
            text = f"Error creating: {failure}"
            self._world.recorder.record(replica_set, "FailedCreate", text, warning=True)
        return failure

    async def _write_status(self, key: Key, failure: str) -> None:
        replica_set = self._world.get(REPLICA_SETS, key)
        if replica_set is None:
            return
        pods = [p for p in self._world.owned(PODS, replica_set["metadata"]["uid"]) if is_active(p)]
        least_s = int(replica_set["spec"].get("minReadySeconds") or 0)
        waits = [available_in_s(pod, least_s) for pod in pods]
        soon = [wait for wait in waits if 0 < wait < float("inf")]
        if soon:
            self.queue.add_after(key, min(soon))
        conditions = [
            c
            for c in (replica_set.get("status") or {}).get("conditions") or []
            if c.get("type") != "ReplicaFailure"
        ]
        if failure:
            conditions = put(
                conditions,
                "ReplicaFailure",
                status=True,
                reason="FailedCreate",
                message=failure,
                now=now_text(),
            )
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": sum(map(is_ready, pods)),
            "availableReplicas": waits.count(0),
            "observedGeneration": replica_set["metadata"].get("generation") or 0,
        }
        if conditions or (replica_set.get("status") or {}).get("conditions"):
            status["conditions"] = conditions
        await self._world.set_status(REPLICA_SETS, replica_set, status)


def surplus(pods: Sequence[Raw], count: int) -> list[Raw]:
    """Return the pods to take away: unbound first, then unready, crowded on a node, younger."""
    crowd = Counter(node_of(pod) for pod in pods)

    def rank(pod: Raw) -> tuple[bool, bool, int, str, str]:
        node = node_of(pod)
        return (bool(node), is_ready(pod), -crowd[node], "", pod["metadata"]["name"])

    young_first = sorted(
        pods, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True
    )
    chosen: list[Raw] = []
    left = list(young_first)
    while len(chosen) < count:
        victim = min(left, key=lambda pod: rank(pod)[:3])
        left.remove(victim)
        crowd[node_of(victim)] -= 1
        chosen.append(victim)
    return sorted(chosen, key=key_of)


def _wanted(replica_set: Raw) -> int:
    replicas = replica_set["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)
