"""The flows of all nodes in the order of their times, as far as a short wait can give it.

batches of many nodes, renumbered  ->  one batch

Invariants  A flow waits until it is WINDOW old by its own clock, or has been here that long: a node
            whose clock is wrong delays nobody, and no flow is lost or held for long.
            Dictionaries go on with the first batch after them; `floors` are those of the oldest
            flow that still waits, so that its entries are kept.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cairn.flow.columns import FLOW, Batch, Dictionaries, Floors

Records = np.ndarray[tuple[int], np.dtype[Any]]
WINDOW_S = 0.3


@dataclass(frozen=True, slots=True)
class _Held:
    came_s: float
    records: Records
    floors: Floors


class Merger:
    """Holds what came until it is old enough."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._held: list[_Held] = []
        self._added = Dictionaries()
        self._floors = Floors()

    def add(self, batch: Batch, now_s: float) -> None:
        """Take a batch that has our keys; `now_s` is of a clock that only goes forward."""
        self._added.update(batch.added)
        self._floors = batch.floors
        if len(batch.records):
            self._held.append(_Held(now_s, batch.records, batch.floors))

    def take(self, now_s: float, wall_ns: int) -> Batch | None:
        """Return what has waited long enough, by time; None if there is nothing."""
        late_ns = wall_ns - int(self._window_s * 1e9)
        ready: list[Records] = []
        held: list[_Held] = []
        for one in self._held:
            if one.came_s + self._window_s <= now_s:
                ready.append(one.records)
                continue
            old = one.records["time_ns"] <= late_ns
            ready.append(one.records[old])
            if not old.all():
                held.append(_Held(one.came_s, one.records[~old], one.floors))
        self._held = held
        records: Records = np.concatenate(ready) if ready else np.zeros(0, FLOW)
        if not len(records):
            return None
        added, self._added = self._added, Dictionaries()
        floors = held[0].floors if held else self._floors
        order = np.argsort(records["time_ns"], kind="stable")
        return Batch(records=records[order], added=added, floors=floors)
