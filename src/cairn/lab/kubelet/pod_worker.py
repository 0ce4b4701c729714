"""One pod, from its assignment to the node until nothing of it is left.

    Pod's newest object, ends of containers, probes, time  ->  processes, status, events

Invariants  One task per pod does all that changes it, one step at a time; a step looks at what is
            and does what is missing, so that a repeated one is harmless.
            A new kubelet finds sandbox and containers by their files and goes on.
Not here    Ending a pod (pod_stop.py), one container's start (container_start.py).
"""

import asyncio
import contextlib
import logging
import time
from datetime import datetime
from typing import Any

from cairn.drive.kube_client import ApiError
from cairn.kube.metadata import Object, key_of
from cairn.kube.resource import PODS
from cairn.lab.kubelet import container_start, pod_stop, runtime, sandbox
from cairn.lab.kubelet.backoff import Backoff
from cairn.lab.kubelet.cni_call import CniFailed
from cairn.lab.kubelet.container_start import PodFiles, Refused
from cairn.lab.kubelet.container_view import ContainerView, decide, is_finished, views_of
from cairn.lab.kubelet.pod_record import write_record
from cairn.lab.kubelet.pod_status import PodState, pod_status, terminated
from cairn.lab.kubelet.prober import Prober, Subject
from cairn.lab.kubelet.recorder import rfc3339
from cairn.lab.kubelet.runtime import Exit, Running
from cairn.lab.kubelet.sandbox import Sandbox
from cairn.lab.kubelet.station import Station
from cairn.lab.kubelet.unsupported import unsupported_fields

RETRY_S = 1.0
MOUNT_RETRY_S = 2.0
DEFAULT_GRACE_S = 30.0

log = logging.getLogger(__name__)


class PodWorker:
    """Runs one pod."""

    def __init__(self, station: Station, pod: Object) -> None:
        self._station = station
        self.pod = pod
        """The newest object."""
        self.gone = asyncio.Event()
        """Set once the object is no more: whatever still runs has to end now."""
        self.views: list[ContainerView] = views_of(pod)
        """The containers."""
        self._wake = asyncio.Event()
        self._sandbox: Sandbox | None = None
        self._files: PodFiles | None = None
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._sent: dict[str, Any] | None = None
        status = pod.get("status") or {}
        self._started_at = status.get("startTime") or rfc3339()

    def update(self, pod: Object | None) -> None:
        """Take the newest object; None once it is no more."""
        if pod is None:
            self.gone.set()
        else:
            self._take(pod)
        self._wake.set()

    def _take(self, pod: Object) -> None:
        """Keep the newer object: a watch may overtake the answer to a patch."""
        if _version(pod) >= _version(self.pod):
            self.pod = pod

    async def run(self) -> None:
        """Run the pod to its end."""
        self._adopt()
        while not (self.gone.is_set() or self.pod["metadata"].get("deletionTimestamp")):
            self._wake.clear()
            pause_s = await self._step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
        await self._end()

    async def _step(self) -> float | None:
        """Do what is missing; return when to look again though nothing happens."""
        policy = (self.pod.get("spec") or {}).get("restartPolicy") or "Always"
        pause_s: float | None = None
        if is_finished(self.views, policy):
            await self._publish()
            return None if self._sent else RETRY_S
        if not await self._ensure_sandbox():
            pause_s = RETRY_S
        else:
            decision = decide(self.views, policy, time.monotonic())
            for view in decision.start:
                await self._start(view)
            if decision.start:
                decision = decide(self.views, policy, time.monotonic())
            pause_s = 0.0 if decision.start else decision.look_again_s
        return pause_s if await self._publish() else min(pause_s or RETRY_S, RETRY_S)

    async def _ensure_sandbox(self) -> bool:
        if self._sandbox and self._sandbox.ready:
            return True
        try:
            self._sandbox = await sandbox.create(
                self._station.places, self.pod, self._station.addresses
            )
            self._tell_unsupported()
            return True
        except (CniFailed, OSError) as error:
            message = f"Failed to create pod sandbox: {error}"
            self._station.recorder.warning(self.pod, "FailedCreatePodSandBox", message)
            return False

    def _tell_unsupported(self) -> None:
        fields = unsupported_fields(self.pod)
        if fields and not any(view.was_started for view in self.views):
            text = f"The lab does not honour these fields of spec: {', '.join(fields)}"
            self._station.recorder.warning(self.pod, "FieldIgnored", text)

    async def _start(self, view: ContainerView) -> None:
        assert self._sandbox is not None  # noqa: S101  (the step before made it)
        recorder, now = self._station.recorder, time.monotonic()
        image = view.spec.get("image")
        try:
            container_start.image_of(view)
            if self._files is None or view.exit is not None:  # restarts see what has changed
                self._files = await container_start.prepare_pod(
                    self._station, self.pod, self._sandbox
                )
            if view.exit is not None:
                view.last = terminated(view, view.exit)
                view.attempt += 1
            running = await container_start.start(
                self._station, self.pod, view, self._sandbox, self._files
            )
        except Refused as refusal:
            self._refuse(view, refusal, now)
            return
        text = f'Container image "{image}" already present on machine'
        recorder.normal(self.pod, "Pulled", text, container=view.name)
        recorder.normal(self.pod, "Created", f"Created container: {view.name}", container=view.name)
        recorder.normal(self.pod, "Started", f"Started container {view.name}", container=view.name)
        self._watch(view, running, adopted=False)
        log.info("%s: started container %s", key_of(self.pod), view.name)

    def _refuse(self, view: ContainerView, refusal: Refused, now: float) -> None:
        name, recorder = view.name, self._station.recorder
        view.image_backoff.failed(now)
        if refusal.reason == "ErrImagePull" and view.waiting_reason in (
            "ErrImagePull",
            "ImagePullBackOff",
        ):
            view.waiting_reason, view.waiting_message = "ImagePullBackOff", refusal.message
            recorder.warning(
                self.pod, "BackOff", f"Back-off pulling image: {refusal.message}", container=name
            )
        elif refusal.reason == "FailedMount":
            view.image_backoff = Backoff(until=now + MOUNT_RETRY_S)
            view.waiting_reason, view.waiting_message = "ContainerCreating", ""
            recorder.warning(self.pod, "FailedMount", refusal.message)
        else:
            view.waiting_reason, view.waiting_message = refusal.reason, refusal.message
            recorder.warning(self.pod, "Failed", f"Error: {refusal.message}", container=name)

    def _watch(self, view: ContainerView, running: Running, *, adopted: bool) -> None:
        view.running, view.exit, view.was_started = running, None, True
        view.waiting_reason = view.waiting_message = ""
        view.image_backoff = Backoff()
        address = self._sandbox.addresses[0] if self._sandbox and self._sandbox.addresses else ""
        subject = Subject(self.pod, view, address, grace_period_s(self.pod))
        prober = Prober(subject, self._station.recorder, self._wake.set, adopted=adopted)
        probes = asyncio.create_task(prober.run())
        self._tasks[view.name] = [
            probes,
            asyncio.create_task(self._await_end(view, running, probes)),
        ]
        self._record()

    async def _await_end(
        self, view: ContainerView, running: Running, probes: "asyncio.Task[None]"
    ) -> None:
        end = await runtime.wait(running)
        probes.cancel()
        self._ended(view, running, end)
        self._wake.set()

    def _ended(self, view: ContainerView, running: Running, end: Exit) -> None:
        view.running, view.exit, view.exit_started_at = None, end, running.started_at
        view.ready = view.started = False
        log.info("%s: container %s ended with status %d", key_of(self.pod), view.name, end.code)
        policy = (self.pod.get("spec") or {}).get("restartPolicy") or "Always"
        if not view.restarts(policy) or self.pod["metadata"].get("deletionTimestamp"):
            return
        now = time.monotonic()
        view.backoff.failed(now, ran_s=_seconds_between(running.started_at, end.finished_at))
        pause_s = view.backoff.waits(now)
        if pause_s:
            name, uid = view.name, self.pod["metadata"]["uid"]
            where = f"{self.pod['metadata']['name']}_{key_of(self.pod).namespace}({uid})"
            view.waiting_reason = "CrashLoopBackOff"
            view.waiting_message = (
                f"back-off {pause_s:.0f}s restarting failed container={name} pod={where}"
            )
            view.last = terminated(view, end)
            text = f"Back-off restarting failed container {name} in pod {where}"
            self._station.recorder.warning(self.pod, "BackOff", text, container=name)

    def _adopt(self) -> None:
        """Take over what an earlier kubelet started for this pod."""
        uid = self.pod["metadata"]["uid"]
        self._sandbox = sandbox.load(self._station.places, uid)
        status = self.pod.get("status") or {}
        known = {
            s["name"]: s
            for field in ("containerStatuses", "initContainerStatuses")
            for s in status.get(field) or ()
        }
        for view in self.views:
            running = runtime.load(self._station.places.container(uid, view.name))
            if running is None:
                continue
            before = known.get(view.name) or {}
            view.attempt = running.attempt
            view.ready, view.started = bool(before.get("ready")), bool(before.get("started"))
            view.last = (before.get("lastState") or {}).get("terminated")
            self._watch(view, running, adopted=True)
            log.info("%s: took over container %s", key_of(self.pod), view.name)

    async def _publish(self) -> bool:
        """Send the status if it differs from what the server has; return whether that worked."""
        metadata = self.pod["metadata"]
        addresses = self._sandbox.addresses if self._sandbox and self._sandbox.ready else ()
        state = PodState(
            self._station.addresses, addresses, bool(addresses), self._started_at, rfc3339()
        )
        status = pod_status(self.pod, self.views, state)
        if status == self._sent:
            return True
        try:
            answer = await self._station.client.patch(
                PODS,
                key_of(self.pod),
                {"metadata": {"uid": metadata["uid"]}, "status": status},
                subresource="status",
            )
        except ApiError as error:
            if error.status in (404, 409):
                return True  # gone, or another pod by now: the watch will tell
            log.warning("%s: status not sent: %s", key_of(self.pod), error.message)
            return False
        self._take(answer)
        self._sent = status
        self._record()
        return True

    def _record(self) -> None:
        if self._sandbox:
            write_record(self._station.places, self.pod, self._sandbox, self.views)

    def abandon(self) -> None:
        """Leave the pod's processes to a worker that comes after this one."""
        for tasks in self._tasks.values():
            for task in tasks:
                task.cancel()

    async def _end(self) -> None:
        for tasks in self._tasks.values():
            tasks[0].cancel()  # an ending container is not judged any more
        await pod_stop.stop(self._station, self)
        self.abandon()
        if not self.gone.is_set():
            with contextlib.suppress(ApiError):
                self._sent = None
                await self._publish()
        await pod_stop.clean(self._station, self.pod)
        await pod_stop.delete_object(self._station, self.pod, self.gone)


def grace_period_s(pod: Object) -> float:
    """Return how long the pod's containers have to end."""
    granted = pod["metadata"].get("deletionGracePeriodSeconds")
    wanted = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    for seconds in (granted, wanted):
        if seconds is not None:
            return float(seconds)
    return DEFAULT_GRACE_S


def _version(pod: Object) -> int:
    text = str(pod["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def _seconds_between(start: str, end: str) -> float:
    try:
        times = [datetime.fromisoformat(t.rstrip("Z").partition(".")[0]) for t in (start, end)]
    except ValueError:
        return 0.0
    return (times[1] - times[0]).total_seconds()
