"""Events: what happened to an object, written where `kubectl describe` looks.

    (object, reason, message)  ->  v1.Event

Invariants  Recording never blocks or fails the caller; an Event that cannot be written is logged.
            The same sentence about the same object raises the count of its first Event.
Standards   Kubernetes v1.Event
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.resource import EVENTS

MOST_WAITING = 20_000
MOST_REMEMBERED = 4096

log = logging.getLogger(__name__)

Sentence = tuple[str, str, str]


class EventRecorder:
    """Writes Events as one component; run `run` beside those who record."""

    def __init__(self, client: Client, component: str) -> None:
        self._client = client
        self._component = component
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING)
        self._written: OrderedDict[Sentence, tuple[Key, int]] = OrderedDict()

    def record(self, about: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Have an Event written about an object that has kind, apiVersion and metadata."""
        metadata = about["metadata"]
        event = {
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:1024],
            "involvedObject": {
                "kind": about.get("kind"),
                "apiVersion": about.get("apiVersion"),
                "namespace": metadata.get("namespace"),
                "name": metadata["name"],
                "uid": metadata.get("uid"),
            },
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("Event not written, %d wait: %s: %s", MOST_WAITING, reason, message)

    async def run(self) -> None:
        """Write what was recorded until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except ApiError as error:
                log.warning(
                    "Event about %s not written: %s (%s)",
                    key_of({"metadata": event["involvedObject"]}),
                    error.message,
                    event["message"],
                )

    async def _write(self, event: dict[str, Any]) -> None:
        sentence = (event["involvedObject"]["uid"] or "", event["reason"], event["message"])
        now = now_text()
        if known := self._written.get(sentence):
            key, count = known
            try:
                await self._client.patch(EVENTS, key, {"count": count + 1, "lastTimestamp": now})
            except ApiError as error:
                if error.status != 404:
                    raise
            else:
                self._remember(sentence, key, count + 1)
                return
        about = event["involvedObject"]
        namespace = about["namespace"] or "default"
        # Events of one second are shown in the order of their names.
        name = f"{about['name'][:200]}.{time.time_ns():x}{os.urandom(2).hex()}"
        await self._client.create(
            EVENTS,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"namespace": namespace, "name": name},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "source": {"component": self._component},
                "reportingComponent": self._component,
                "reportingInstance": "",
                **event,
            },
        )
        self._remember(sentence, Key(namespace, name), 1)

    def _remember(self, sentence: Sentence, key: Key, count: int) -> None:
        self._written[sentence] = (key, count)
        self._written.move_to_end(sentence)
        while len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)
