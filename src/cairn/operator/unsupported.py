"""Tells, at each object, what it asks for and does not get.

    objects of every kind of the table  ->  condition, one Event per object and sentence

Invariants  Equal content is written once. A condition goes when its gap goes. Conditions of others
            stay: a write carries the resourceVersion that it was made from.
Not here    The facts (cairn.kube.unsupported).
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_PEERING_POLICIES,
    CONFIG_MAPS,
    SERVICES,
    STORED_KINDS,
    Resource,
)
from cairn.kube.unsupported import SETTINGS, Gap, Weight, unsupported
from cairn.operator.condition import condition, merge

ENFORCED, HONOURED = "cairn.io/Enforced", "cairn.io/Honoured"
OWNED = (ENFORCED, HONOURED)

log = logging.getLogger(__name__)

Raw = dict[str, Any]
Where = tuple[Resource, Key]


class Unsupported:
    """Writes conditions and Events about what is not honoured; `run` works until cancelled."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._objects: dict[Where, Raw] = {}
        self._said: dict[Where, frozenset[str]] = {}
        self._clean: set[Where] = set()
        self._without_status: set[Resource] = set()
        self._queue: WorkQueue[Where] = WorkQueue("unsupported", self._tell)

    async def run(self) -> None:
        """Follow the kinds that no other part of the operator follows."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            for resource in STORED_KINDS:
                group.create_task(self._follow(resource))
            namespace, name = SETTINGS
            group.create_task(self._follow(CONFIG_MAPS, namespace, f"metadata.name={name}"))

    def service(self, key: Key, old: Raw | None, new: Raw | None) -> None:
        """Take a Service as it is now, unless it was clean and only its status changed."""
        clean = (SERVICES, key) in self._clean
        if not (clean and old and new and _asks(old) == _asks(new)):
            self._take(SERVICES, key, new)

    def peering_policy(self, key: Key, _old: Raw | None, new: Raw | None) -> None:
        """Take a CiliumBGPPeeringPolicy as it is now."""
        self._take(BGP_PEERING_POLICIES, key, new)

    def advertisement(self, key: Key, _old: Raw | None, new: Raw | None) -> None:
        """Take a CiliumBGPAdvertisement as it is now."""
        self._take(BGP_ADVERTISEMENTS, key, new)

    async def _follow(
        self, resource: Resource, namespace: str | None = None, fields: str = ""
    ) -> None:
        def on_change(key: Key, _old: Raw | None, new: Raw | None) -> None:
            self._take(resource, key, new)

        informer = Informer(
            self._client,
            resource,
            on_change=on_change,
            namespace=namespace,
            field_selector=fields,
            optional=True,
        )
        await informer.run()

    def _take(self, resource: Resource, key: Key, new: Raw | None) -> None:
        where = (resource, key)
        self._clean.discard(where)
        if new is not None and (_gaps(new) or _stands(new)):
            self._objects[where] = new
            self._queue.add(where)
            return
        self._objects.pop(where, None)
        self._said.pop(where, None)
        if new is not None:
            self._clean.add(where)

    async def _tell(self, where: Where) -> None:
        raw = self._objects.pop(where, None)
        if raw is None:
            return
        resource, key = where
        gaps = _gaps(raw)
        stored = (raw.get("status") or {}).get("conditions") or []
        already = {item.get("message") for item in stored if item.get("type") in OWNED}
        if resource not in self._without_status:
            await self._write(resource, key, raw, gaps)
        said = self._said.get(where, frozenset())
        for gap in gaps:
            if gap.message not in said and not any(gap.message in (m or "") for m in already):
                self._recorder.record(raw, gap.reason, gap.message, warning=True)
        self._said[where] = frozenset(gap.message for gap in gaps)

    async def _write(self, resource: Resource, key: Key, raw: Raw, gaps: Sequence[Gap]) -> None:
        stored = (raw.get("status") or {}).get("conditions") or []
        generation = raw["metadata"].get("generation") or 0
        wanted = _conditions(gaps, generation)
        merged = merge(stored, wanted, now=now_text(), owned=OWNED)
        if merged == stored:
            return
        version = raw["metadata"].get("resourceVersion")
        patch = {"metadata": {"resourceVersion": version}, "status": {"conditions": merged}}
        try:
            await self._client.patch(resource, key, patch, subresource="status")
        except ApiError as error:
            # 409: a newer state is on its way to us. 404: the object has gone, or its kind has no
            # status: Events alone then tell.
            if error.status == 404:
                await self._note_missing_status(resource, key)
            elif error.status != 409:
                self._objects.setdefault((resource, key), raw)
                raise

    async def _note_missing_status(self, resource: Resource, key: Key) -> None:
        try:
            await self._client.get(resource, key)
        except ApiError:
            return
        self._without_status.add(resource)


def _gaps(raw: Raw) -> tuple[Gap, ...]:
    return tuple(gap for gap in unsupported(raw) if gap.weight is not Weight.ASIDE)


def _stands(raw: Raw) -> bool:
    """Return whether a condition of ours stands at an object."""
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return any(item.get("type") in OWNED for item in conditions)


def _conditions(gaps: Sequence[Gap], generation: int) -> list[Raw]:
    found = []
    for name, whole in ((ENFORCED, True), (HONOURED, False)):
        if texts := [gap.message for gap in gaps if gap.whole is whole]:
            text = "; ".join(texts)
            found.append(condition(name, "False", "NotImplemented", text, generation=generation))
    return found


def _asks(raw: Raw) -> tuple[Any, ...]:
    """Return the parts of an object that its author writes."""
    metadata = raw["metadata"]
    return (metadata.get("uid"), metadata.get("annotations"), raw.get("spec"))
