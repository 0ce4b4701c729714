"""The columns of `kubectl get pods`.

    pod, now  ->  READY, STATUS, RESTARTS, …

Standards   The words (CrashLoopBackOff, Init:0/1, Completed, Terminating) are Kubernetes' own
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cairn.apiserver.duration import age, moment
from cairn.apiserver.kind import Column
from cairn.apiserver.table import AGE

Pod = Mapping[str, Any]


def _statuses(pod: Pod, group: str = "containerStatuses") -> list[Pod]:
    return (pod.get("status") or {}).get(group) or []


def _sidecars(pod: Pod) -> set[str]:
    """Return the names of the init containers that run as long as the pod."""
    spec = pod.get("spec") or {}
    inits = spec.get("initContainers") or ()
    return {str(c.get("name")) for c in inits if c.get("restartPolicy") == "Always"}


def _counted(pod: Pod) -> list[Pod]:
    """Return the states of the containers that are to run on."""
    sidecars = _sidecars(pod)
    inits = [s for s in _statuses(pod, "initContainerStatuses") if s.get("name") in sidecars]
    return [*inits, *_statuses(pod)]


def ready(pod: Pod, now: datetime) -> str:
    """Return ready and all containers, as `1/2`."""
    total = len((pod.get("spec") or {}).get("containers") or ()) + len(_sidecars(pod))
    running = "running"
    good = [s for s in _counted(pod) if s.get("ready") and running in (s.get("state") or {})]
    return f"{len(good)}/{total}"


def status(pod: Pod, now: datetime) -> str:
    """Return what the pod is doing, in the most telling word."""
    state = pod.get("status") or {}
    word = str(state.get("reason") or state.get("phase") or "Unknown")
    conditions = state.get("conditions") or ()
    if any(c.get("reason") == "SchedulingGated" for c in conditions):
        word = "SchedulingGated"
    word = _starting(pod) or _running(pod, word)
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        done = state.get("phase") in ("Succeeded", "Failed")
        lost = state.get("reason") == "NodeLost"
        word = "Unknown" if lost else word if done else "Terminating"
    return word


def _starting(pod: Pod) -> str:
    """Return what the init containers are at; "" once they are done."""
    sidecars = _sidecars(pod)
    total = len((pod.get("spec") or {}).get("initContainers") or ())
    for index, container in enumerate(_statuses(pod, "initContainerStatuses")):
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if container.get("name") in sidecars and container.get("started"):
            continue
        if ended is not None:
            return "Init:" + _end(ended)
        reason = waiting.get("reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{total}"
    return ""


def _end(ended: Pod) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _running(pod: Pod, word: str) -> str:
    alive = False
    for container in reversed(_statuses(pod)):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            word = str(waiting["reason"])
        elif ended is not None:
            word = _end(ended)
        elif container.get("ready") and state.get("running") is not None:
            alive = True
    if word == "Completed" and alive:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        good = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        word = "Running" if good else "NotReady"
    return word


def restarts(pod: Pod, now: datetime) -> str:
    """Return how often containers have started again, and when last."""
    containers = _counted(pod) if not _starting(pod) else _statuses(pod, "initContainerStatuses")
    count = sum(int(s.get("restartCount") or 0) for s in containers)
    ends = [(s.get("lastState") or {}).get("terminated") or {} for s in containers]
    times = [end["finishedAt"] for end in ends if moment(end.get("finishedAt"))]
    if not count or not times:
        return str(count)
    return f"{count} ({age(max(times, key=lambda text: moment(text) or now), now)} ago)"


def _field(group: str, name: str) -> Any:
    return lambda pod, now: str((pod.get(group) or {}).get(name) or "<none>")


def gates(pod: Pod, now: datetime) -> str:
    """Return how many of the further conditions of readiness hold."""
    wanted = [g.get("conditionType") for g in (pod.get("spec") or {}).get("readinessGates") or ()]
    conditions = (pod.get("status") or {}).get("conditions") or ()
    true = {c.get("type") for c in conditions if c.get("status") == "True"}
    return f"{sum(name in true for name in wanted)}/{len(wanted)}" if wanted else "<none>"


POD = (
    Column("Ready", "string", ready, description="Containers that are ready, of all."),
    Column("Status", "string", status, description="What the pod is doing."),
    Column("Restarts", "string", restarts, description="How often containers started again."),
    AGE,
    Column("IP", "string", _field("status", "podIP"), 1),
    Column("Node", "string", _field("spec", "nodeName"), 1),
    Column("Nominated Node", "string", _field("status", "nominatedNodeName"), 1),
    Column("Readiness Gates", "string", gates, 1),
)
