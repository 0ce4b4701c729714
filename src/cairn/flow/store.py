"""The last N flows, in order of arrival.

    Batch  ->  FlowStore  ->  since(sequence), find(mask): arrays of FLOW; search(mask): sequences

Shapes      A ring over one array: flow number `s` (its sequence) stands at s % capacity.
Invariants  `first_sequence` .. `next_sequence` - 1 are stored; a reader who asks for older ones is
            told how many it missed.
            Arrays that are given out are views: good until the next `append`; copy to keep.
            Dictionaries hold what stored flows need, and what the batches to come may use without
            adding it again (Batch.floors); they are swept when they have grown to twice that.
Cost        append: 0.4 us a flow in batches of 1,000; memory: 152 octets a flow, the array is
            reserved at once but touched only as it fills
Not here    waiting for more (agent, hubble), another's keys (renumbering.py)
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cairn.flow.columns import FLOW, Batch, Dictionaries, Floors, FlowKind

Records = np.ndarray[tuple[int], np.dtype[np.void]]
Sequences = npt.NDArray[np.int64]
Selects = Callable[[Records], np.ndarray[tuple[int], np.dtype[np.bool_]]]
BLOCK = 4096
"""Flows that share one note of their earliest and latest time, and are looked through at once."""
SPARE = 1024
"""Entries that a dictionary may have beyond twice what was needed when it was last swept."""
EVER = (1 << 63) - 1


class Since(NamedTuple):
    """What came from some sequence on."""

    arrays: list[Records]
    """Oldest first."""
    missed: int
    """How many before them are gone."""


class Found(NamedTuple):
    """What a search found."""

    records: Records
    """A copy, oldest first."""
    next_sequence: int
    """Where to go on for what comes later."""


class Taken(NamedTuple):
    """Flows that were asked for by sequence."""

    records: Records
    """Copies, oldest first."""
    missed: int
    """How many of them are gone: the oldest."""


class FlowStore:
    """A ring of flows."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}, at least 1")
        self.capacity = capacity
        self.next_sequence = 0
        self.dictionaries = Dictionaries()
        self.floors = Floors()
        self._ring: Records = np.zeros(capacity, FLOW)
        self._times = _Times(capacity)
        self._sweep_at = {"ends": SPARE, "decisions": SPARE, "details": SPARE}

    @property
    def first_sequence(self) -> int:
        """Sequence of the oldest stored flow."""
        return max(0, self.next_sequence - self.capacity)

    @property
    def seen(self) -> int:
        """How many flows were ever appended."""
        return self.next_sequence

    def __len__(self) -> int:
        return self.next_sequence - self.first_sequence

    @property
    def records(self) -> list[Records]:
        """All flows, oldest first: one array, or two."""
        return self.slices(self.first_sequence, self.next_sequence)

    def append(self, batch: Batch) -> None:
        """Take a batch; the oldest flows give way."""
        self.dictionaries.update(batch.added)
        self.floors = batch.floors
        records = batch.records[-self.capacity :]
        self.next_sequence += len(batch.records) - len(records)
        at = self.next_sequence % self.capacity
        fits = min(len(records), self.capacity - at)
        self._put(at, records[:fits])
        self._put(0, records[fits:])
        self.next_sequence += len(records)
        self._sweep()

    def slices(self, first: int, end: int) -> list[Records]:
        """Return stored flows `first` to before `end`: no array, one, or two."""
        first, end = max(first, self.first_sequence), min(end, self.next_sequence)
        if first >= end:
            return []
        at, stop = first % self.capacity, (end - 1) % self.capacity + 1
        if at < stop:
            return [self._ring[at:stop]]
        return [self._ring[at:], self._ring[:stop]]

    def since(self, sequence: int) -> Since:
        """Return the flows from `sequence` on, and how many of them are gone."""
        arrays = self.slices(sequence, self.next_sequence)
        return Since(arrays, max(0, min(self.first_sequence, self.next_sequence) - sequence))

    def snapshot(self, sequence: int) -> tuple[Batch, int]:
        """Return a batch for one who has nothing yet, of flows from `sequence` on; and the missed.

        The batch has the dictionaries whole.
        """
        arrays, missed = self.since(sequence)
        records = np.concatenate(arrays) if arrays else np.zeros(0, FLOW)
        whole = Dictionaries()
        whole.update(self.dictionaries)
        return Batch(records, whole, self.floors), missed

    def find(
        self,
        mask: Selects,
        *,
        first: int = 0,
        last: int = 0,
        since_ns: int = 0,
        until_ns: int = EVER,
    ) -> Found:
        """Return flows that `mask` holds for and whose time is since_ns to until_ns, both ends in.

        first, last: no more than so many, from the oldest on or up to the newest; 0: all. What was
        lost (kind LOST) is found too and does not count.
        """
        found = self.search(mask, first=first, last=last, since_ns=since_ns, until_ns=until_ns)
        return Found(self.take(found).records, self.next_sequence)

    def search(
        self,
        mask: Selects,
        *,
        first: int = 0,
        last: int = 0,
        since_ns: int = 0,
        until_ns: int = EVER,
    ) -> Sequences:
        """Return the sequences of what `find` finds: 8 octets a flow instead of 152."""
        most, backwards = first or last, bool(last and not first)
        blocks = list(self._blocks(self.first_sequence, since_ns, until_ns))
        found: list[Sequences] = []
        left = most
        for begin, block in reversed(blocks) if backwards else blocks:
            keep = mask(block)
            if since_ns or until_ns != EVER:
                keep &= (block["time_ns"] >= since_ns) & (block["time_ns"] <= until_ns)
            chosen = np.flatnonzero(keep)
            if most:
                chosen = _cut(block, chosen, left, backwards=backwards)
                left -= int(np.count_nonzero(block["kind"][chosen] != FlowKind.LOST))
            found.append(chosen + begin)
            if most and left <= 0:
                break
        if backwards:
            found.reverse()
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def take(self, sequences: Sequences) -> Taken:
        """Return copies of some flows, in order, and how many of them are gone."""
        gone = int(np.searchsorted(sequences, self.first_sequence))
        return Taken(self._ring[sequences[gone:] % self.capacity], gone)

    def _blocks(self, sequence: int, since_ns: int, until_ns: int) -> Iterator[tuple[int, Records]]:
        """Yield arrays that together hold all flows of that time, with their first sequences."""
        while sequence < self.next_sequence:
            at = sequence % self.capacity
            block = at // BLOCK
            stop = min((block + 1) * BLOCK, self.capacity)
            end = min(sequence + stop - at, self.next_sequence)
            if self._times.may_hold(block, since_ns, until_ns):
                yield sequence, self._ring[at : at + end - sequence]
            sequence = end

    def _put(self, at: int, records: Records) -> None:
        if len(records):
            self._ring[at : at + len(records)] = records
            self._times.note(self._ring, at, len(records))

    def _sweep(self) -> None:
        """Forget entries that nothing needs, of dictionaries that have grown enough."""
        kept = self.dictionaries
        self._sweep_one("ends", kept.ends, self.floors.ends, "source_end", "destination_end")
        self._sweep_one("decisions", kept.decisions, self.floors.decisions, "decision")
        self._sweep_one("details", kept.details, EVER, "detail")

    def _sweep_one(self, name: str, entries: dict[int, Any], floor: int, *columns: str) -> None:
        if len(entries) <= self._sweep_at[name]:
            return
        stored = self._ring[: min(self.next_sequence, self.capacity)]
        used = set(np.unique(np.concatenate([np.unique(stored[c]) for c in columns])).tolist())
        for key in [key for key in entries if key < floor and key not in used]:
            del entries[key]
        self._sweep_at[name] = 2 * len(entries) + SPARE


def _cut(block: Records, chosen: Sequences, most: int, *, backwards: bool) -> Sequences:
    """Return the first (or last) chosen that hold `most` flows; LOST ones do not count."""
    counted = np.flatnonzero(block["kind"][chosen] != FlowKind.LOST)
    if len(counted) < most or not most:
        return chosen
    return chosen[counted[-most] :] if backwards else chosen[: counted[most - 1] + 1]


class _Times:
    """Earliest and latest time of each block of the ring."""

    def __init__(self, capacity: int) -> None:
        blocks = -(-capacity // BLOCK)
        self._earliest = np.full(blocks, EVER, np.uint64)
        self._latest = np.zeros(blocks, np.uint64)

    def note(self, ring: Records, at: int, count: int) -> None:
        """Take note of `count` flows that were just written at `at`.

        Bounds are widened until a block is written to its end, and then taken anew: what stood
        there before is gone.
        """
        stop = at + count
        for block in range(at // BLOCK, -(-stop // BLOCK)):
            first, end = block * BLOCK, min((block + 1) * BLOCK, len(ring))
            whole = stop >= end
            times = ring["time_ns"][first if whole else max(at, first) : min(end, stop)]
            low, high = times.min(), times.max()
            self._earliest[block] = low if whole else min(self._earliest[block], low)
            self._latest[block] = high if whole else max(self._latest[block], high)

    def may_hold(self, block: int, since_ns: int, until_ns: int) -> bool:
        """Return whether a flow of that time may stand in a block."""
        return bool(self._latest[block] >= since_ns and self._earliest[block] <= until_ns)
