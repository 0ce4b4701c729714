"""A pod's status as kubectl shows it.

    Pod, containers' views, sandbox, addresses  ->  PodStatus

Pure; times of conditions are kept from the status before while they do not change.

Standards   Kubernetes API reference, PodStatus: phase, conditions, containerStatuses
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cairn.kube.metadata import Object
from cairn.lab.images.table import short_name
from cairn.lab.kubelet.container_view import ContainerView, is_finished
from cairn.lab.kubelet.runtime import Exit


@dataclass(frozen=True, slots=True)
class PodState:
    """What a status is made of, besides pod and containers."""

    host_addresses: tuple[str, ...]
    """The node's addresses."""
    addresses: tuple[str, ...]
    """The pod's."""
    sandbox_ready: bool
    """Whether the pod has its network."""
    started_at: str
    """When this kubelet first saw the pod, RFC 3339."""
    now: str
    """The present time, RFC 3339."""


def pod_status(pod: Object, views: Sequence[ContainerView], state: PodState) -> dict[str, Any]:
    """Return the whole status of a pod."""
    policy = (pod.get("spec") or {}).get("restartPolicy") or "Always"
    phase = _phase(views, policy)
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": _conditions(pod, views, state, phase),
        "hostIP": state.host_addresses[0],
        "hostIPs": [{"ip": address} for address in state.host_addresses],
        "startTime": state.started_at,
        "qosClass": _quality(pod),
        "containerStatuses": [_container(pod, v) for v in views if not v.is_init],
    }
    init = [_container(pod, v) for v in views if v.is_init]
    if init:
        status["initContainerStatuses"] = init
    if state.addresses:
        status["podIP"] = state.addresses[0]
        status["podIPs"] = [{"ip": address} for address in state.addresses]
    return status


def terminated(view: ContainerView, end: Exit) -> dict[str, Any]:
    """Return the `terminated` state of a container that ended."""
    state: dict[str, Any] = {
        "exitCode": end.code,
        "reason": "Completed" if end.code == 0 else "Error",
        "startedAt": view.exit_started_at or end.finished_at,
        "finishedAt": whole_seconds(end.finished_at),
        "containerID": f"lab://{view.name}-{view.attempt}",
    }
    state["startedAt"] = whole_seconds(state["startedAt"])
    if end.signal:
        state["signal"] = end.signal
    if end.message:
        state["message"] = end.message
    return state


def whole_seconds(time: str) -> str:
    """Return an RFC 3339 time without its fraction, as metav1.Time has it."""
    return time.partition(".")[0].rstrip("Z") + "Z"


def _phase(views: Sequence[ContainerView], policy: str) -> str:
    main = [view for view in views if not view.is_init]
    if is_finished(views, policy):
        failed = any(v.exit is not None and v.exit.code for v in views if not v.is_sidecar)
        return "Failed" if failed else "Succeeded"
    if any(not view.is_past() for view in views if view.is_init) and not any(
        view.was_started for view in main
    ):
        return "Pending"
    return "Running" if all(view.was_started for view in main) else "Pending"


def _conditions(
    pod: Object, views: Sequence[ContainerView], state: PodState, phase: str
) -> list[dict[str, Any]]:
    main = [view for view in views if not view.is_init]
    late = [v.name for v in views if v.is_init and not v.is_past()]
    done = phase in ("Succeeded", "Failed")
    unready = [v.name for v in main if not (v.running and v.ready)]
    ready_why = "PodCompleted" if done else "ContainersNotReady"
    ready_text = f"containers with unready status: [{' '.join(unready)}]"
    rows: list[tuple[str, bool, str, str]] = [
        ("PodReadyToStartContainers", state.sandbox_ready, "", ""),
        (
            "Initialized",
            not late,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(late)}]",
        ),
        ("Ready", not unready, ready_why, ready_text),
        ("ContainersReady", not unready, ready_why, ready_text),
        ("PodScheduled", True, "", ""),
    ]
    before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    conditions = [_condition(before.get(row[0]), row, state.now) for row in rows]
    ours = {row[0] for row in rows}
    return conditions + [c for name, c in before.items() if name not in ours]


def _condition(before: Object | None, row: tuple[str, bool, str, str], now: str) -> dict[str, Any]:
    name, holds, reason, message = row
    status = "True" if holds else "False"
    same = before is not None and before.get("status") == status
    since = before.get("lastTransitionTime") if before is not None and same else now
    condition = {
        "type": name,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since or now,
    }
    if not holds and reason:
        condition |= {"reason": reason, "message": message}
    return condition


def _container(pod: Object, view: ContainerView) -> dict[str, Any]:
    image = str(view.spec.get("image") or "")
    status: dict[str, Any] = {
        "name": view.name,
        "image": image,
        "imageID": f"lab://{short_name(image)}" if view.was_started else "",
        "restartCount": view.attempt,
        "ready": _is_ready(view),
        "started": view.running is not None and view.started,
        "state": _state(view),
        "lastState": {"terminated": view.last} if view.last else {},
    }
    if view.was_started:
        status["containerID"] = f"lab://{pod['metadata']['uid']}/{view.name}/{view.attempt}"
    return status


def _is_ready(view: ContainerView) -> bool:
    if view.is_init and not view.is_sidecar:
        return view.is_past()
    return view.running is not None and view.ready


def _state(view: ContainerView) -> dict[str, Any]:
    if view.running:
        return {"running": {"startedAt": whole_seconds(view.running.started_at)}}
    if view.exit is not None and not view.waiting_reason:
        return {"terminated": terminated(view, view.exit)}
    waiting = {"reason": view.waiting_reason or "ContainerCreating"}
    if view.waiting_message:
        waiting["message"] = view.waiting_message
    return {"waiting": waiting}


def _quality(pod: Object) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    amounts = [c.get("resources") or {} for c in containers]
    if not any(a.get("requests") or a.get("limits") for a in amounts):
        return "BestEffort"
    for amount in amounts:
        limits = amount.get("limits") or {}
        requests = amount.get("requests") or limits
        if {"cpu", "memory"} - set(limits) or any(requests[k] != limits[k] for k in requests):
            return "Burstable"
    return "Guaranteed"
