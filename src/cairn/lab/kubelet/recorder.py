"""Events: what happened to a pod or to the node, told through the API.

    object, reason, message  ->  Event created, or counted up

Invariants  Telling never waits and never fails its caller; what cannot be told is logged.
Standards   Kubernetes API reference, core/v1 Event
"""

import asyncio
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key, Object
from cairn.kube.resource import EVENTS

LONGEST_QUEUE = 500

log = logging.getLogger(__name__)


def rfc3339() -> str:
    """Return the present time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Recorder:
    """Sends events of one node's kubelet."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(LONGEST_QUEUE)
        self._known: dict[tuple[str, str, str], tuple[Key, int]] = {}
        self._count = 0

    def normal(self, obj: Object, reason: str, message: str, *, container: str = "") -> None:
        """Tell of something ordinary."""
        self._put("Normal", obj, reason, message, container)

    def warning(self, obj: Object, reason: str, message: str, *, container: str = "") -> None:
        """Tell of something wrong."""
        log.warning("%s %s: %s", obj["metadata"]["name"], reason, message)
        self._put("Warning", obj, reason, message, container)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(event)
            except ApiError as error:
                log.warning("event %s not sent: %s", event["reason"], error.message)

    def _put(self, kind: str, obj: Object, reason: str, message: str, container: str) -> None:
        metadata = obj["metadata"]
        self._count += 1
        now = rfc3339()
        involved = {
            "apiVersion": obj.get("apiVersion") or "v1",
            "kind": obj.get("kind") or "Pod",
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        }
        if metadata.get("namespace"):
            involved["namespace"] = metadata["namespace"]
        if container:
            involved["fieldPath"] = f"spec.containers{{{container}}}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": metadata.get("namespace") or "default",
                # Events of one second are shown in the order of their names.
                "name": f"{metadata['name']}.{time.time_ns():x}{os.getpid():x}{self._count:x}",
            },
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("event %s of %s dropped: the API takes none", reason, metadata["name"])

    async def _send(self, event: dict[str, Any]) -> None:
        same = (event["involvedObject"]["uid"], event["reason"], event["message"])
        known = self._known.get(same)
        if known:
            key, count = known
            patch = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(EVENTS, key, patch)
                self._known[same] = (key, count + 1)
                return
            except ApiError as error:
                if error.status != 404:
                    raise
        await self._client.create(EVENTS, event)
        metadata = event["metadata"]
        if len(self._known) > 2 * LONGEST_QUEUE:
            self._known.clear()
        self._known[same] = (Key(metadata["namespace"], metadata["name"]), 1)
