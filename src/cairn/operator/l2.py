"""L2 announcement policies: what each comes to, told at the policy.

    policies, Services, nodes  ->  conditions cairn.io/Selected and cairn.io/Findings, Events

Invariants  Equal content is written once. Without a policy nothing is computed.
Not here    The decision who answers (agent.l2), the sentences (compile.l2_summary).
"""

import asyncio
import logging
from typing import Any

from cairn.compile.l2 import L2Node
from cairn.compile.l2_summary import L2Summary, summarize_l2
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.kube.l2_policy import l2_policy_of
from cairn.kube.metadata import Key
from cairn.kube.node import Node, NodeFacts
from cairn.kube.resource import CILIUM_NODES, L2_POLICIES, NODES
from cairn.kube.service import Service
from cairn.operator.condition import condition, findings_condition, merge

GATHER_S = 0.1
RETRY_S = 1.0
SELECTED, FINDINGS = "cairn.io/Selected", "cairn.io/Findings"
OWNED = (SELECTED, FINDINGS)

log = logging.getLogger(__name__)

Raw = dict[str, Any]


class L2Policies:
    """Keeps the policies' conditions; `run` works until cancelled."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._services: dict[Key, Raw] = {}
        self._dirty = asyncio.Event()
        self._policies = Informer(client, L2_POLICIES, on_change=self._changed)
        self._nodes = Informer(client, NODES, on_change=self._node_changed)
        self._facts = Informer(client, CILIUM_NODES, on_change=self._facts_changed)

    def service(self, key: Key, _old: Raw | None, new: Raw | None) -> None:
        """Take a Service as it is now."""
        if new is None:
            self._services.pop(key, None)
        else:
            self._services[key] = new
        self._dirty.set()

    async def run(self) -> None:
        """Follow the API and keep the conditions."""
        informers = (self._policies, self._nodes, self._facts)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            for informer in informers:
                await informer.synced.wait()
            while True:
                await self._dirty.wait()
                await asyncio.sleep(GATHER_S)
                self._dirty.clear()
                await self._pass()

    async def _pass(self) -> None:
        if not self._policies.objects:
            return
        nodes = self._look()
        services = [Service.from_object(raw) for raw in self._services.values()]
        for key, raw in list(self._policies.objects.items()):
            try:
                await self._write(key, raw, summarize_l2(l2_policy_of(raw), services, nodes))
            except ApiError as error:
                if error.status not in (404, 409):
                    log.warning("L2 policy %s: status not written: %s", key, error.message)
                    await asyncio.sleep(RETRY_S)
                    self._dirty.set()

    def _look(self) -> list[L2Node]:
        found = []
        for key, raw in self._facts.objects.items():
            node = self._nodes.objects.get(key)
            labels = Node.from_object(node).metadata.labels if node else {}
            found.append(L2Node(NodeFacts.from_object(raw), labels, alive=True))
        return found

    async def _write(self, key: Key, raw: Raw, summary: L2Summary) -> None:
        generation = raw["metadata"].get("generation") or 0
        stored = (raw.get("status") or {}).get("conditions") or []
        status = "True" if summary.selected else "False"
        wanted = [
            condition(SELECTED, status, summary.reason, summary.message, generation=generation),
            *findings_condition(summary.findings, generation),
        ]
        merged = merge(stored, wanted, now=now_text(), owned=OWNED)
        if merged == stored:
            return
        await self._client.patch(
            L2_POLICIES, key, {"status": {"conditions": merged}}, subresource="status"
        )
        said = {item.get("message") for item in stored}
        for item in wanted:
            bad = item["type"] == FINDINGS or item["status"] == "False"
            if bad and item["message"] not in said:
                self._recorder.record(raw, item["reason"], item["message"], warning=True)

    def _changed(self, _key: Key, _old: Raw | None, _new: Raw | None) -> None:
        self._dirty.set()

    def _node_changed(self, _key: Key, old: Raw | None, new: Raw | None) -> None:
        if old is None or new is None or _labels(old) != _labels(new):
            self._dirty.set()

    def _facts_changed(self, _key: Key, old: Raw | None, new: Raw | None) -> None:
        if old is None or new is None or NodeFacts.from_object(old) != NodeFacts.from_object(new):
            self._dirty.set()


def _labels(raw: Raw) -> Any:
    return raw["metadata"].get("labels")
