"""What a server of Hubble's API serves in tests."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cairn.flow.address import Records
from cairn.flow.columns import FLOW, Batch, Dictionaries
from cairn.flow.store import FlowStore
from cairn.hubble.agent_event import AgentEvents
from cairn.hubble.observed import NodeView, PeerView

PROTO = Path(__file__).parents[3] / "proto"
NOW_NS = 1_800_000_000_000_000_000


@dataclass
class Seen:
    """What a server serves in a test."""

    store: FlowStore
    name: str = "node-1"
    is_relay: bool = False
    views: list[NodeView] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    uptime_ns: int = 90 * 10**9
    time_ns: int = NOW_NS
    ready: bool = True
    events: AgentEvents | None = None
    others: list[PeerView] = field(default_factory=list)

    def now_ns(self) -> int:
        return self.time_ns

    def nodes(self) -> Sequence[NodeView]:
        return self.views

    def peers(self) -> Sequence[PeerView]:
        return self.others

    def put(self, records: Records, added: Dictionaries | None = None) -> None:
        self.store.append(Batch(records, added or Dictionaries()))
        self.changed.set()


def blank_flows(count: int, **columns: Any) -> Records:
    """Return that many flows, one each microsecond."""
    records: Records = np.zeros(count, FLOW)
    records["time_ns"] = NOW_NS - 10**9 + np.arange(count) * 1000
    records["kind"], records["verdict"], records["protocol"] = 1, 1, 6
    for name, values in columns.items():
        records[name] = values
    return records


Serve = Callable[[Seen], AbstractAsyncContextManager[Any]]
