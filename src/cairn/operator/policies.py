"""Tells, at each network policy, whether it is understood and enforced.

    policies of every language  ->  conditions Valid, cairn.io/Enforced, cairn.io/Findings, Events

Invariants  Equal content is written once, and each sentence told once per object.
            A write carries the resourceVersion that it was made from.
            Kinds without a status get Events alone.
Not here    The languages (kube.policy), enforcement (the nodes' agents).
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.finding import Finding
from cairn.kube.metadata import Key
from cairn.kube.policy.standing import Standing, State, standing_of
from cairn.kube.resource import NETWORK_POLICIES, POLICY_KINDS, Resource
from cairn.operator.condition import condition, findings_condition, merge

VALID, ENFORCED, FINDINGS = "Valid", "cairn.io/Enforced", "cairn.io/Findings"
OWNED = (VALID, ENFORCED, FINDINGS)
STATUSLESS = frozenset({NETWORK_POLICIES})
"""Kinds without a status."""

log = logging.getLogger(__name__)

Raw = dict[str, Any]
Where = tuple[Resource, Key]


class Policies:
    """Writes conditions and Events about network policies; `run` works until cancelled."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._objects: dict[Where, Raw] = {}
        self._said: dict[Where, frozenset[str]] = {}
        self._queue: WorkQueue[Where] = WorkQueue("policy", self._tell)

    async def run(self) -> None:
        """Follow every language of policy that the API server knows."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            for resource in POLICY_KINDS:
                group.create_task(self._follow(resource))

    async def _follow(self, resource: Resource) -> None:
        def on_change(key: Key, _old: Raw | None, new: Raw | None) -> None:
            where = (resource, key)
            if new is None:
                self._objects.pop(where, None)
                self._said.pop(where, None)
            else:
                self._objects[where] = new
                self._queue.add(where)

        informer = Informer(self._client, resource, on_change=on_change, keep=False, optional=True)
        await informer.run()

    async def _tell(self, where: Where) -> None:
        raw = self._objects.pop(where, None)
        if raw is None:
            return
        resource, key = where
        standing = standing_of(raw)
        stored = (raw.get("status") or {}).get("conditions") or []
        already = [item.get("message") or "" for item in stored if item.get("type") in OWNED]
        if resource not in STATUSLESS:
            await self._write(where, raw, standing, stored)
        said = self._said.get(where, frozenset())
        sentences = tuple(_sentences(standing))
        for finding in sentences:
            text = finding.message
            if text not in said and not any(text in message for message in already):
                self._recorder.record(raw, finding.reason, text, warning=True)
        if sentences:
            self._said[where] = frozenset(finding.message for finding in sentences)
        else:
            self._said.pop(where, None)
        if standing.state is State.INVALID and said != self._said[where]:
            log.warning("%s %s: %s", resource.kind, key, standing.error)

    async def _write(self, where: Where, raw: Raw, standing: Standing, stored: list[Raw]) -> None:
        resource, key = where
        generation = raw["metadata"].get("generation") or 0
        wanted = policy_conditions(standing, generation)
        status = {
            "conditions": merge(stored, wanted, now=now_text(), owned=OWNED),
            "subject": standing.subject,
            "directions": standing.directions,
        }
        current = raw.get("status") or {}
        if all(current.get(name) == value for name, value in status.items()):
            return
        version = raw["metadata"].get("resourceVersion")
        patch = {"metadata": {"resourceVersion": version}, "status": status}
        try:
            await self._client.patch(resource, key, patch, subresource="status")
        except ApiError as error:
            # 409: a newer state is on its way to us. 404: the object has gone.
            if error.status not in (404, 409):
                self._objects.setdefault(where, raw)
                raise


def policy_conditions(standing: Standing, generation: int) -> list[Raw]:
    """Return the conditions of a policy that stands so, without their times."""
    enforced = _not_enforced(standing)
    valid = standing.state is not State.INVALID
    return [
        condition(
            VALID,
            "True" if valid else "False",
            "Valid" if valid else "InvalidPolicy",
            standing.error,
            generation=generation,
        ),
        condition(
            ENFORCED,
            "False" if enforced else "True",
            enforced.reason if enforced else "Enforced",
            enforced.message if enforced else "every node's agent enforces it",
            generation=generation,
        ),
        *findings_condition(standing.advice, generation),
    ]


def _not_enforced(standing: Standing) -> Finding | None:
    if standing.state is State.INVALID:
        text = f"is not understood, and what was in force of it before stays: {standing.error}"
        return Finding("InvalidPolicy", text)
    by_state = [finding for finding in standing.findings if finding not in standing.advice]
    return by_state[0] if by_state else None


def _sentences(standing: Standing) -> Iterator[Finding]:
    if why := _not_enforced(standing):
        yield why
    yield from standing.advice
