"""What the kubelet knows about one container of a pod, and what is to be done next.

    ContainerView, restart policy, time  ->  which containers to start now, when to look again

Pure but for the views' own fields, which the pod's worker writes.

Standards   Kubernetes: pod lifecycle, restartPolicy, init and sidecar containers
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cairn.kube.metadata import Object
from cairn.lab.kubelet.backoff import Backoff
from cairn.lab.kubelet.runtime import Exit, Running


@dataclass(slots=True)
class ContainerView:
    """One container; lives as long as the pod's worker."""

    spec: Object
    """Its part of the pod's spec."""
    is_init: bool = False
    """Whether it must end, with status 0, before the others start."""
    attempt: int = 0
    """How often it has been started again."""
    running: Running | None = None
    """Set while it runs."""
    exit: Exit | None = None
    """How the last run ended, if it has."""
    exit_started_at: str = ""
    """When the run that `exit` tells of had started."""
    last: dict[str, Any] | None = None
    """The terminated state of the run before the present one."""
    waiting_reason: str = "ContainerCreating"
    """Why it does not run."""
    waiting_message: str = ""
    """The same in words."""
    ready: bool = False
    """Whether its readiness probe, if any, holds."""
    started: bool = False
    """Whether its startup probe, if any, has held."""
    was_started: bool = False
    """Whether it ever ran."""
    backoff: Backoff = field(default_factory=Backoff)
    """Pauses between runs."""
    image_backoff: Backoff = field(default_factory=lambda: Backoff(first_s=10))
    """Pauses between looks for its image."""

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.spec["name"])

    @property
    def is_sidecar(self) -> bool:
        """Whether it is an init container that goes on running."""
        return self.is_init and self.spec.get("restartPolicy") == "Always"

    def restarts(self, policy: str) -> bool:
        """Return whether it is to be started (again)."""
        if self.exit is None or self.is_sidecar or (policy == "Always" and not self.is_init):
            return True
        return self.exit.code != 0 and policy != "Never"

    def is_past(self) -> bool:
        """Return whether the init containers after it may start."""
        if self.is_sidecar:
            return self.running is not None and self.started
        return self.running is None and self.exit is not None and self.exit.code == 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    start: tuple[ContainerView, ...]
    """Containers to start, in order."""
    look_again_s: float | None
    """When a pause ends; None if only an event can change anything."""


def views_of(pod: Object) -> list[ContainerView]:
    """Return fresh views of a pod's containers, init containers first."""
    spec = pod.get("spec") or {}
    init = [ContainerView(raw, is_init=True) for raw in spec.get("initContainers") or ()]
    main = [ContainerView(raw) for raw in spec.get("containers") or ()]
    for view in main:
        view.waiting_reason = "PodInitializing" if init else "ContainerCreating"
    if init:
        for view in init[1:]:
            view.waiting_reason = "PodInitializing"
    return [*init, *main]


def decide(views: Sequence[ContainerView], policy: str, now: float) -> Decision:
    """Return what to start, and when to look again though nothing happens."""
    due, pauses = [], []
    for view in _candidates(views, policy):
        pause = max(view.backoff.waits(now), view.image_backoff.waits(now))
        if pause > 0:
            pauses.append(pause)
        else:
            due.append(view)
    return Decision(tuple(due), min(pauses, default=None))


def _candidates(views: Sequence[ContainerView], policy: str) -> Iterable[ContainerView]:
    """Yield the containers that should run and do not, pauses aside."""
    for view in views:
        if not view.is_init:
            break
        if view.running is None and not view.is_past() and view.restarts(policy):
            yield view
        if not view.is_past():
            return
    for view in views:
        if not view.is_init and view.running is None and view.restarts(policy):
            yield view


def is_finished(views: Sequence[ContainerView], policy: str) -> bool:
    """Return whether no container will ever run again."""
    if any(view.running is not None and not view.is_sidecar for view in views):
        return False
    failed_init = any(
        view.is_init and view.exit is not None and view.exit.code and not view.restarts(policy)
        for view in views
    )
    main = [view for view in views if not view.is_init]
    return failed_init or all(v.exit is not None and not v.restarts(policy) for v in main)
