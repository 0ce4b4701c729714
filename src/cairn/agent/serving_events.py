"""What is said about backends that fail and addresses that are withheld: log lines and Events.

    verdict about a backend, the Services that have it  ->  Events on the pod and on the Services

Invariants  A backend that flaps has one pair of Events in PAUSE_S; the log has every change, and
            the next Event tells how many were left out.
            A process that was never well is starting: that is for the log and `cairn status`.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from cairn.agent.cluster import Cluster
from cairn.drive.event_recorder import EventRecorder
from cairn.health.backend import Ejected, Restored
from cairn.kube.metadata import Key, Metadata, Object
from cairn.kube.pod_probe import PodProbes
from cairn.kube.service import Service
from cairn.net import L4Address

PAUSE_S = 10.0

log = logging.getLogger("health")


@dataclass(slots=True)
class _Told:
    """What was told about one backend."""

    at: float = float("-inf")
    ejected: bool = False
    left_out: int = field(default=0)


class ServingEvents:
    """Tells of what one node does not serve."""

    def __init__(self, recorder: EventRecorder, cluster: Cluster, node: str) -> None:
        self._recorder = recorder
        self._cluster = cluster
        self._node = node
        self._told: dict[L4Address, _Told] = {}
        self._wrong: dict[tuple[Key, str], str] = {}

    def ejected(self, where: L4Address, event: Ejected, services: Iterable[Service]) -> None:
        """Tell that a backend is not used any more."""
        if not event.was_well:
            log.info("backend %s does not serve yet: %s", where, event.reason)
            return
        log.warning("backend %s ejected: %s", where, event.reason)
        told = self._told.setdefault(where, _Told())
        now = asyncio.get_running_loop().time()
        if now - told.at < PAUSE_S:
            told.left_out += 1
            return
        more = f" ({told.left_out} more times before)" if told.left_out else ""
        told.at, told.ejected, told.left_out = now, True, 0
        text = f"{where} does not serve: {event.reason}; {self._node} sends nobody to it{more}"
        self._record(where, services, "BackendEjected", text, warning=True)

    def restored(self, where: L4Address, event: Restored, services: Iterable[Service]) -> None:
        """Tell that a backend is used again."""
        log.info("backend %s serves again after %.1f s", where, event.after_s)
        told = self._told.get(where)
        if told and told.ejected:
            told.ejected = False
            text = f"{where} serves again after {event.after_s:.1f} s"
            self._record(where, services, "BackendRestored", text, warning=False)

    def forget(self, where: L4Address) -> None:
        """Take note that a backend is gone."""
        self._told.pop(where, None)

    def gone(self, key: Key) -> None:
        """Take note that a Service is gone."""
        for about in [about for about in self._wrong if about[0] == key]:
            del self._wrong[about]

    def wrong(self, service: Service, about: str, reason: str, text: str) -> None:
        """Tell once what is wrong with a Service here; an empty `text`: nothing any more."""
        if self._wrong.get((service.key, about), "") == text:
            return
        self._wrong[service.key, about] = text
        if text:
            log.error("service %s: %s", service.key, text)
            self._recorder.record(_object("Service", service.metadata), reason, text, warning=True)
        else:
            del self._wrong[service.key, about]

    def _record(
        self,
        where: L4Address,
        services: Iterable[Service],
        reason: str,
        text: str,
        *,
        warning: bool,
    ) -> None:
        about = [_object("Service", service.metadata) for service in services]
        pod = self._pod_at(where)
        if pod is not None:
            about.append(_object("Pod", pod.metadata))
        for one in about:
            self._recorder.record(one, reason, text, warning=warning)

    def _pod_at(self, where: L4Address) -> PodProbes | None:
        for pod in self._cluster.probes.values():
            if where.address in pod.addresses and (not pod.host_network or where.port in pod.ports):
                return pod
        return None


def _object(kind: str, metadata: Metadata) -> Object:
    return {
        "kind": kind,
        "apiVersion": "v1",
        "metadata": {
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
        },
    }
