"""The flows of all nodes in the order of their times, as far as a short wait can give it.

batches of many nodes, renumbered  ->  one batch, and how far each node was read with it

Invariants  A flow waits until it is WINDOW old by its own clock, or has been here that long: a node
            whose clock is wrong delays nobody, and no flow is lost or held for long.
            The flows of one node leave in the order in which they came, so that what has left is
            told by one number.
            Dictionaries go on with the first batch after them; `floors` are those of the oldest
            flow that still waits, so that its entries are kept.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cairn.flow.columns import Batch, Dictionaries, Floors
from cairn.relay.position import Position, Positions

Records = np.ndarray[tuple[int], np.dtype[Any]]
WINDOW_S = 0.3


@dataclass(frozen=True, slots=True)
class _Held:
    node: str
    came_s: float
    records: Records
    floors: Floors
    end: Position
    """After the last of the records."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What has waited long enough."""

    batch: Batch
    positions: Positions
    """How far the nodes that it is of were read."""


class Merger:
    """Holds what came until it is old enough."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._held: list[_Held] = []
        self._added = Dictionaries()
        self._floors = Floors()

    def add(self, node: str, batch: Batch, end: Position, now_s: float) -> None:
        """Take a batch that has our keys; `now_s` is of a clock that only goes forward."""
        self._added.update(batch.added)
        self._floors = batch.floors
        if len(batch.records):
            self._held.append(_Held(node, now_s, batch.records, batch.floors, end))

    def take(self, now_s: float, wall_ns: int) -> Taken | None:
        """Return what has waited long enough, by time; None if there is nothing."""
        ready: list[Records] = []
        held: list[_Held] = []
        waiting: set[str] = set()
        positions: Positions = {}
        for one in self._held:
            count = 0 if one.node in waiting else self._old(one, now_s, wall_ns)
            left = len(one.records) - count
            if count:
                ready.append(one.records[:count])
                positions[one.node] = Position(one.end.store, one.end.sequence - left)
            if left:
                waiting.add(one.node)
                held.append(_Held(one.node, one.came_s, one.records[count:], one.floors, one.end))
        self._held = held
        if not ready:
            return None
        records: Records = np.concatenate(ready)
        added, self._added = self._added, Dictionaries()
        floors = held[0].floors if held else self._floors
        order = np.argsort(records["time_ns"], kind="stable")
        return Taken(Batch(records=records[order], added=added, floors=floors), positions)

    def _old(self, one: _Held, now_s: float, wall_ns: int) -> int:
        """Return how many of the first records may leave."""
        if one.came_s + self._window_s <= now_s:
            return len(one.records)
        young = one.records["time_ns"] > wall_ns - int(self._window_s * 1e9)
        return int(np.argmax(young)) if young.any() else len(one.records)
