"""What the data plane drops, in the agent's log.

    events  ->  a line per source, destination, reason and rule, each second

Invariants  At most LINES lines a second; how many more there were is said. Of more than MOST_EVENTS
            drops in a second the first are summed up; how many others there were is said too.
Not here    Flows and metrics: this is what `kubectl logs` shows of a packet that went nowhere.
"""

import asyncio
import logging

import numpy as np

from cairn.abi.event import EventKind
from cairn.flow.address import Records
from cairn.observe.drops import Names, sum_drops

PAUSE_S = 1.0
LINES = 5
MOST_EVENTS = 4096
TOLD = (EventKind.DROP, EventKind.AUDITED)

log = logging.getLogger("drop")


class DropLog:
    """Gathers drops, and what policies in audit mode would have dropped."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._waiting: list[Records] = []
        self._count = 0
        self._passed_over = 0

    def put(self, events: Records) -> None:
        """Take events of any kind."""
        drops = events[np.isin(events["kind"], TOLD)]
        room = drops[: MOST_EVENTS - self._count]
        if len(room):
            self._waiting.append(room)
            self._count += len(room)
        self._passed_over += len(drops) - len(room)

    async def run(self) -> None:
        """Log until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_S)
            self.flush()

    def flush(self) -> None:
        """Log what has come."""
        if not self._waiting:
            return
        drops = sum_drops(np.concatenate(self._waiting))
        self._waiting.clear()
        self._count = 0
        for drop in drops[:LINES]:
            log.warning("%s", drop.describe(self._names))
        if len(drops) > LINES:
            log.warning("and %d other kinds of drop in this second", len(drops) - LINES)
        if self._passed_over:
            log.warning("and %d more drops in this second", self._passed_over)
            self._passed_over = 0
