"""Which of the node's flows are between two ends: `cairn why` asks.

    {clients, targets, names, ports, protocol, window_s}  ->  the latest flows both ways, as JSON

Invariants  What is not understood is answered with why, and never ends the agent.
Cost        one look through the flows in memory: 3 ms for 65,536; at most MOST are told
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from cairn.abi.verdicts import Verdict
from cairn.flow.address import Records
from cairn.flow.columns import Decision, FlowKind, FlowVerdict
from cairn.flow.filter import BadFilter, FlowFilter, compile_filters
from cairn.flow.key_test import Bools
from cairn.flow.store import FlowStore
from cairn.flow.view import FlowRow, rows

MOST = 200
BEGIN = frozenset({FlowKind.NEW})
DROPS = frozenset({FlowVerdict.DROPPED, FlowVerdict.ERROR})


LATELY_S = 15.0
LOST_LATELY_S = 60.0
WANTS = (
    Verdict.DROP_BACKEND_UNKNOWN,
    Verdict.DROP_BACKEND_NO_NODE,
    Verdict.DROP_REWRITE,
    Verdict.DROP_CONNTRACK_FULL,
    Verdict.DROP_TUNNEL_FAILED,
    Verdict.DROP_TUNNEL_NO_NODE,
    Verdict.DROP_NO_HOST,
    Verdict.DROP_POLICY_PENDING,
    Verdict.DROP_PROXY_GONE,
)
"""Reasons that a well data plane does not have."""


def recent_drops(store: FlowStore) -> dict[str, int]:
    """Return the flows of the last LATELY_S that were dropped for want of something, by reason."""
    since_ns = int((time.time() - LATELY_S) * 1e9)
    wants = np.array(WANTS, np.uint8)

    def mask(records: Records) -> Bools:
        wanted: Bools = (records["kind"] == FlowKind.DROP) & np.isin(records["reason"], wants)
        return wanted

    reasons = store.find(mask, since_ns=since_ns).records["reason"]
    return {Verdict(number).name: n for number, n in Counter(reasons.tolist()).items()}


def recent_losses(store: FlowStore) -> int:
    """Return how many events of the last LOST_LATELY_S found the kernel's ring full."""

    def mask(records: Records) -> Bools:
        lost: Bools = records["kind"] == FlowKind.LOST
        return lost

    since_ns = int((time.time() - LOST_LATELY_S) * 1e9)
    return int(store.find(mask, since_ns=since_ns).records["packets"].sum())


class FlowQuestion:
    """Answers for one node."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._started_at = time.time()

    def __call__(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flows, and how far back what is in memory reaches."""
        now = time.time()
        try:
            clients, targets, names, ports = (
                tuple(map(str, asked.get(word) or ()))
                for word in ("clients", "targets", "names", "ports")
            )
            protocol = str(asked.get("protocol") or "TCP")
            since_ns = int((now - float(asked.get("window_s") or 0)) * 1e9)
            mask = compile_filters(
                _between(clients, targets, names, ports, protocol), (), self._store.dictionaries
            )
        except (BadFilter, ValueError, TypeError) as error:
            return {"error": f"no question about flows: {error}"}
        found = self._store.find(mask, last=MOST, since_ns=since_ns).records
        told = [
            _plain(row, now, forth=str(row.source_address) in clients)
            for row in rows(found, self._store.dictionaries)
            if row.kind != FlowKind.LOST
        ]
        return {"flows": told[::-1], "reaches_s": now - self._oldest()}

    def _oldest(self) -> float:
        """Return from when on flows are in memory, in unix time."""
        if self._store.first_sequence == 0:
            return self._started_at
        oldest = self._store.slices(self._store.first_sequence, self._store.first_sequence + 1)
        return float(oldest[0]["time_ns"][0]) / 1e9 if oldest else self._started_at


def _between(
    clients: tuple[str, ...],
    targets: tuple[str, ...],
    names: tuple[str, ...],
    ports: tuple[str, ...],
    protocol: str,
) -> list[FlowFilter]:
    """Return the filters of flows there and back."""
    if not clients or not (targets or names):
        raise ValueError("both ends must be said")
    found = []
    spoken = (protocol.lower(),)
    if targets:
        found += [
            FlowFilter(source_ip=clients, destination_ip=targets, destination_port=ports,
                       protocol=spoken),
            FlowFilter(source_ip=targets, destination_ip=clients, source_port=ports,
                       protocol=spoken),
        ]  # fmt: skip
    if names:
        found += [
            FlowFilter(source_ip=clients, destination_fqdn=names, destination_port=ports,
                       protocol=spoken),
            FlowFilter(source_fqdn=names, destination_ip=clients, source_port=ports,
                       protocol=spoken),
        ]  # fmt: skip
    return found


def _plain(row: FlowRow, now: float, *, forth: bool) -> dict[str, Any]:
    at = row.time_ns / 1e9
    return {
        "verdict": row.verdict.name,
        "reason": row.reason,
        "policy": _spell(row.decision) if row.verdict in DROPS else "",
        "node": row.node,
        "at": at,
        "age_s": round(max(0.0, now - at), 3),
        "forth": forth,
        "opener": row.source_port if forth else row.destination_port,
        "begins": row.kind in BEGIN,
    }


def _spell(decision: Decision | None) -> str:
    if decision is None or not decision.name:
        return ""
    name = "/".join(word for word in (decision.kind, decision.namespace, decision.name) if word)
    return f"{name} {decision.rule}".rstrip()
