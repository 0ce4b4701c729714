"""The kubelet of one node: a worker for each pod, the Node object, the streaming server.

    pods of this node (watch)  ->  PodWorker, ...

Invariants  A worker that fails is started anew: it finds its pod's processes by their files.
            Pods that were deleted while no kubelet ran are ended first.
            The end of the kubelet ends no pod.
"""

import asyncio
import json
import logging

from cairn.drive.informer import Informer
from cairn.kube.metadata import Key, Object
from cairn.kube.resource import PODS
from cairn.lab.kubelet.node_status import NodeReporter
from cairn.lab.kubelet.pod_worker import PodWorker
from cairn.lab.kubelet.station import Station
from cairn.lab.state import write_whole

RESTART_S = 1.0

log = logging.getLogger(__name__)


class Kubelet:
    """Runs all pods of one node."""

    def __init__(self, station: Station, pod_networks: tuple[str, ...]) -> None:
        self.station = station
        self.workers: dict[str, PodWorker] = {}
        """Workers by the uid of their pod."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reporter = NodeReporter(station, pod_networks)
        self._informer = Informer(
            station.client,
            PODS,
            field_selector=f"spec.nodeName={station.node}",
            on_change=self._changed,
        )

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod that is still there."""
        pod = self._informer.objects.get(Key(namespace, name))
        return self.workers.get(pod["metadata"]["uid"]) if pod else None

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.station.recorder.run())
            group.create_task(self._reporter.run())
            group.create_task(self._informer.run())
            await self._informer.synced.wait()
            self._end_orphans()

    def _changed(self, _: Key, old: Object | None, new: Object | None) -> None:
        old_uid = old["metadata"]["uid"] if old else None
        new_uid = new["metadata"]["uid"] if new else None
        if old_uid and old_uid != new_uid and old_uid in self.workers:
            self.workers[old_uid].update(None)
        if new is None or new_uid is None:
            return
        if new_uid in self.workers:
            self.workers[new_uid].update(new)
        else:
            self._begin(new)

    def _begin(self, pod: Object, *, orphan: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        write_whole(self.station.places.pod(uid) / "pod.json", json.dumps(pod))
        worker = PodWorker(self.station, pod)
        if orphan:
            worker.gone.set()
        self.workers[uid] = worker
        self._tasks[uid] = asyncio.create_task(self._keep(uid), name=f"pod {uid}")

    async def _keep(self, uid: str) -> None:
        """Run a pod's worker to its end, anew if it fails."""
        while True:
            worker = self.workers[uid]
            try:
                await worker.run()
                break
            except Exception as error:
                name = worker.pod["metadata"]["name"]
                log.exception("pod %s: its worker failed and starts anew", name)
                self.station.recorder.warning(worker.pod, "FailedSync", f"{error}")
                worker.abandon()
            await asyncio.sleep(RESTART_S)
            fresh = PodWorker(self.station, worker.pod)
            if worker.gone.is_set():
                fresh.gone.set()
            self.workers[uid] = fresh
        self.workers.pop(uid, None)
        self._tasks.pop(uid, None)

    def _end_orphans(self) -> None:
        folder = self.station.places.pods
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            if path.name in self.workers:
                continue
            try:
                pod = json.loads((path / "pod.json").read_text())
            except (FileNotFoundError, ValueError) as error:
                log.warning("%s: not a pod's folder: %s", path, error)
                continue
            log.info("pod %s was deleted meanwhile", pod["metadata"]["name"])
            self._begin(pod, orphan=True)
