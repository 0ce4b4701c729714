"""End a pod: ask its containers to end, then make them, then undo its network and files.

    worker  ->  preStop, SIGTERM, grace period, SIGKILL  ->  CNI DEL  ->  the object deleted

Invariants  The object goes last, with its uid as a condition: a new pod of the same name is safe.
            The network is undone before the object goes; while CNI refuses, it is tried again.
Standards   Kubernetes: termination of pods
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cairn.drive.kube_client import ApiError
from cairn.kube.metadata import Object, key_of
from cairn.kube.resource import PODS
from cairn.lab.kubelet import exec_process, runtime, sandbox
from cairn.lab.kubelet.cni_call import CniFailed
from cairn.lab.kubelet.container_view import ContainerView
from cairn.lab.kubelet.pod_record import remove_record
from cairn.lab.kubelet.station import Station
from cairn.linux import cgroup, namespace

RETRY_S = 1.0
CNI_PATIENCE_S = 60.0
"""After so long the network namespace is removed though CNI did not confirm; CNI GC cleans up."""

log = logging.getLogger(__name__)


class Stoppable(Protocol):
    """What is needed of a pod's worker."""

    pod: Object
    gone: asyncio.Event
    views: list[ContainerView]


async def stop(station: Station, worker: Stoppable) -> None:
    """End all containers, within the grace period unless the object vanishes."""
    running = [view for view in worker.views if view.running]
    for view in running:
        station.recorder.normal(
            worker.pod, "Killing", f"Stopping container {view.name}", container=view.name
        )
    for stage in (
        [view for view in running if not view.is_sidecar],
        [view for view in reversed(running) if view.is_sidecar],
    ):
        await asyncio.gather(*(_stop_container(station, worker, view) for view in stage))
    group = station.places.pod_group(worker.pod["metadata"]["uid"])
    await asyncio.to_thread(cgroup.kill, group)
    for view in running:
        if view.running:
            end = await runtime.wait(view.running)
            view.exit_started_at = view.running.started_at
            view.running, view.exit, view.ready = None, end, False


async def _stop_container(station: Station, worker: Stoppable, view: ContainerView) -> None:
    running = view.running
    if running is None:
        return
    ended = asyncio.create_task(runtime.wait(running))
    gone = asyncio.create_task(worker.gone.wait())
    grace_s = grace_of(worker.pod)
    try:
        async with asyncio.timeout(None if worker.gone.is_set() else grace_s) as limit:
            if worker.gone.is_set():
                limit.reschedule(asyncio.get_running_loop().time())
            await _first(_pre_stop(station, worker.pod, view), ended, gone)
            runtime.terminate(running)
            await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        log.info("%s: %s outlived its %g s", key_of(worker.pod), view.name, grace_s)
    finally:
        gone.cancel()
    if not ended.done():
        await runtime.kill(running)
    await ended


async def _first(hook: Awaitable[None], *others: "asyncio.Task[object]") -> None:
    task = asyncio.ensure_future(hook)
    try:
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()


def grace_of(pod: Object) -> float:
    """Return the grace period that was granted, else the pod's own."""
    granted = pod["metadata"].get("deletionGracePeriodSeconds")
    wanted = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    return float(next((s for s in (granted, wanted) if s is not None), 30))


async def _pre_stop(station: Station, pod: Object, view: ContainerView) -> None:
    hook = (view.spec.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        await asyncio.sleep(float(hook["sleep"].get("seconds") or 0))
    elif "exec" in hook and view.running:
        command = list(hook["exec"].get("command") or ())
        try:
            status, output = await exec_process.run(view.running, command, grace_of(pod))
        except exec_process.NotRunning:
            return
        if status:
            text = f"PreStopHook failed: exit status {status}: {output.strip()[:200]}"
            station.recorder.warning(pod, "FailedPreStopHook", text, container=view.name)
    elif hook:
        text = f"preStop {', '.join(hook)} is not supported by the lab; it has exec and sleep"
        station.recorder.warning(pod, "FailedPreStopHook", text, container=view.name)


async def clean(station: Station, pod: Object) -> None:
    """Undo the pod's network, control groups and files."""
    uid = pod["metadata"]["uid"]
    await _until_done(lambda: sandbox.remove(station.places, pod), station, pod)
    group = station.places.pod_group(uid)
    await asyncio.to_thread(cgroup.kill, group)
    await asyncio.to_thread(cgroup.remove, group)
    remove_record(station.places, pod)
    await asyncio.to_thread(shutil.rmtree, station.places.pod(uid), True)
    metadata = pod["metadata"]
    logs = station.places.logs(metadata.get("namespace") or "default", metadata["name"], uid)
    await asyncio.to_thread(shutil.rmtree, logs, True)


async def _until_done(undo: Callable[[], Awaitable[None]], station: Station, pod: Object) -> None:
    deadline = asyncio.get_running_loop().time() + CNI_PATIENCE_S
    while True:
        try:
            await undo()
            return
        except (CniFailed, OSError) as error:
            station.recorder.warning(pod, "FailedKillPod", f"network not undone yet: {error}")
            if asyncio.get_running_loop().time() > deadline:
                namespace.delete(station.places.netns(pod["metadata"]["uid"]))
                return
        await asyncio.sleep(RETRY_S)


async def delete_object(station: Station, pod: Object, gone: asyncio.Event) -> None:
    """Delete the object now that nothing of the pod is left."""
    while not gone.is_set():
        try:
            await station.client.delete(
                PODS, key_of(pod), grace_period_s=0, uid=pod["metadata"]["uid"]
            )
            return
        except ApiError as error:
            if error.status in (404, 409):
                return
            log.warning("%s: not deleted yet: %s", key_of(pod), error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await gone.wait()


__all__: Sequence[str] = ("clean", "delete_object", "grace_of", "stop")
