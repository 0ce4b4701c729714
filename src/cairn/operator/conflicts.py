"""Tells at a Service that somebody else answers for its address too.

    conflicts that nodes heard, Services  ->  condition cairn.io/AddressConflict, Event

Invariants  The condition goes when the conflict does. A write carries the resourceVersion that it
            was made from, so that conditions of others stay.
Not here    Hearing it (agent.l2).
"""

from collections.abc import Mapping
from typing import Any

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.drive.work_queue import WorkQueue
from cairn.kube.metadata import Key
from cairn.kube.resource import SERVICES
from cairn.net import Address, parse_address
from cairn.operator.condition import condition, merge
from cairn.operator.segments import Conflict

CONFLICT = "cairn.io/AddressConflict"

Raw = dict[str, Any]


class Conflicts:
    """Keeps the condition; `run` works until cancelled."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._conflicts: Mapping[Address, Conflict] = {}
        self._services: dict[Key, Raw] = {}
        self._queue: WorkQueue[Key] = WorkQueue("address conflict", self._tell)

    async def run(self) -> None:
        """Write what is to be told until cancelled."""
        await self._queue.run()

    def service(self, key: Key, _old: Raw | None, new: Raw | None) -> None:
        """Take a Service as it is now."""
        if new is None:
            self._services.pop(key, None)
            return
        self._services[key] = new
        if _stands(new) or (self._conflicts and self._of(new)):
            self._queue.add(key)

    def update(self, conflicts: Mapping[Address, Conflict]) -> None:
        """Take the conflicts as they are now."""
        self._conflicts = conflicts
        for key, raw in self._services.items():
            if _stands(raw) or self._of(raw):
                self._queue.add(key)

    async def _tell(self, key: Key) -> None:
        raw = self._services.get(key)
        if raw is None:
            return
        stored = (raw.get("status") or {}).get("conditions") or []
        texts = [
            f"{address} is answered for by {mac} too, which is no node of this cluster (heard by "
            f"{node}): clients of the nodes' subnet may reach that machine; free the address "
            "there, or give the Service another"
            for address, (mac, node) in self._of(raw).items()
        ]
        wanted = []
        if texts:
            wanted.append(condition(CONFLICT, "True", "AnsweredByStranger", "; ".join(texts)))
        merged = merge(stored, wanted, now=now_text(), owned=[CONFLICT])
        if merged == stored:
            return
        version = raw["metadata"].get("resourceVersion")
        patch = {"metadata": {"resourceVersion": version}, "status": {"conditions": merged}}
        try:
            await self._client.patch(SERVICES, key, patch, subresource="status")
        except ApiError as error:
            if error.status in (404, 409):
                return  # gone, or a newer state is on its way to us
            raise
        said = {item.get("message") for item in stored}
        for item in wanted:
            if item["message"] not in said:
                self._recorder.record(raw, "AddressConflict", item["message"], warning=True)

    def _of(self, raw: Raw) -> dict[Address, Conflict]:
        ingress = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        external = (raw.get("spec") or {}).get("externalIPs") or ()
        texts = [*(item.get("ip") or "" for item in ingress), *external]
        found: dict[Address, Conflict] = {}
        for text in texts:
            try:
                address = parse_address(text)
            except ValueError:
                continue
            if address in self._conflicts:
                found[address] = self._conflicts[address]
        return found


def _stands(raw: Raw) -> bool:
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == CONFLICT for item in conditions)
