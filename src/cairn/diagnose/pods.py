"""The pods of one workload, by node.

v1.Pod objects, labels  ->  PodCount per node
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.kube.metadata import Object, metadata_of


@dataclass(frozen=True, slots=True)
class PodCount:
    """The state of a workload's pod on one node."""

    pod: str
    """The pod's name."""
    state: str
    """running, or what it does instead."""
    reason: str
    """Why it does not run; empty if it does."""


def count_pods(
    pods: Iterable[Object], namespace: str, labels: Mapping[str, str]
) -> dict[str, PodCount]:
    """Return the state of the pods with all of `labels`, by node; a running one wins."""
    found: dict[str, PodCount] = {}
    for pod in pods:
        metadata = metadata_of(pod)
        if metadata.namespace != namespace or metadata.deleting:
            continue
        if not labels.items() <= metadata.labels.items():
            continue
        node = (pod.get("spec") or {}).get("nodeName") or ""
        if node not in found or found[node].state != "running":
            found[node] = _count(metadata.name, pod)
    return found


def _count(name: str, pod: Object) -> PodCount:
    status = pod.get("status") or {}
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    if conditions.get("Ready") == "True":
        return PodCount(name, "running", "")
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            reason = (
                f"{container.get('name')}: {waiting.get('reason')} {waiting.get('message', '')}"
            )
            return PodCount(name, "waiting", reason.strip())
    return PodCount(name, "not ready", f"phase {status.get('phase') or 'unknown'}")
