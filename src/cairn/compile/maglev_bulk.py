"""Maglev tables of many services at once, each equal to what maglev.py makes of it alone.

    [services][backends] names, as many for each  ->  array[services, size] of their positions

The steps are those of `maglev_table`, taken for all services together: what a row of an array is
there to one backend it is here to one backend of one service. So the price of calling NumPy is
paid once for all.

Shapes      uint32[services, size], values are positions in the service's own list
Invariants  Row for row the table of `maglev_table`, which is the specification.
Cost        a quarter of a millisecond a table of ten backends (bench/scale.py)
Not here    what a table is for, and why it is made so (maglev.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cairn.compile.maglev import first_turns, tail_slots

Slots = NDArray[np.int64]


def maglev_tables(names: Sequence[Sequence[str]], size: int) -> NDArray[np.uint32]:
    """Return a table for each list of names; all lists are of one length, and not empty."""
    order = np.array([sorted(range(len(one)), key=one.__getitem__) for one in names], np.uint32)
    ordered = [[one[at] for at in row] for one, row in zip(names, order.tolist(), strict=True)]
    walks = np.array([[first_turns(name, size) for name in one] for one in ordered], np.int64)
    fill = _Fill.empty(walks, size)
    free = size
    goal = 0
    while free > max(fill.backends, tail_slots(size)) and goal < size // fill.backends:
        goal = min(goal + max(1, free // (2 * fill.backends)), size // fill.backends)
        fill.up_to(goal)
        free = size - goal * fill.backends
    if free:
        fill.one_by_one(free)
    table: NDArray[np.uint32] = np.take_along_axis(order, fill.table.reshape(-1, size), axis=1)
    return table


@dataclass(frozen=True, slots=True)
class _Fill:
    """Tables on their way, end to end; backends of all services, end to end."""

    size: int
    backends: int
    """How many each service has."""
    offset: Slots
    skip: Slots
    turn: Slots
    held: Slots
    free: NDArray[np.bool_]
    table: Slots

    @staticmethod
    def empty(walks: Slots, size: int) -> "_Fill":
        services, backends, _ = walks.shape
        offset, skip = walks[:, :, 0].ravel(), walks[:, :, 1].ravel()
        nothing = np.zeros(len(offset), np.int64)
        free = np.ones(services * size, dtype=bool)
        return _Fill(
            size, backends, offset, skip, nothing, nothing.copy(), free, free.astype(np.int64)
        )

    def up_to(self, goal: int) -> None:
        """Let every backend take slots until it holds `goal`."""
        services = len(self.table) // self.size
        free = self.size - self.held.reshape(services, -1).sum(axis=1)
        while len(active := np.flatnonzero(self.held < goal)):
            service = active // self.backends
            wanted = goal - self.held[active]
            first = np.flatnonzero(np.diff(service, prepend=-1))
            most = np.zeros(services, np.int64)
            most[service[first]] = np.maximum.reduceat(wanted, first)
            # How far a walk looks ahead must be as in the one table: it decides who comes first.
            lengths = (most * self.size / np.maximum(free, 1)).astype(np.int64) + 8
            free -= self._turn(active, wanted, lengths[service])

    def _turn(self, active: Slots, wanted: Slots, length: Slots) -> Slots:
        """Let the active backends look ahead and claim; return how much each service lost."""
        services = len(self.table) // self.size
        base = active // self.backends * self.size
        visited = self._visited(active, int(length.max()))
        flat = visited + base  # rows are turns: what is read in order is in the order of turns
        usable = self.free.take(flat)
        usable &= np.arange(len(flat))[:, None] < length
        rank = np.cumsum(usable, axis=0, dtype=np.int32)
        limit = wanted.astype(np.int32)
        enough = rank >= limit
        self.turn[active] += np.where(enough[-1], enough.argmax(axis=0) + 1, length)
        usable &= rank <= limit
        wishes = np.flatnonzero(usable)
        slots = flat.ravel()[wishes]
        # Whoever comes earlier in its own walk wins; of equals, the one whose name is first:
        # of several values for one index NumPy keeps the last, so the first is written last.
        turn = np.arange(len(wishes))
        self.table[slots[::-1]] = turn[::-1]
        won = self.table[slots] == turn
        slots, winners = slots[won], active[wishes[won] % len(active)]
        self.table[slots] = winners % self.backends
        self.free[slots] = False
        counts = np.bincount(winners, minlength=len(self.held))
        self.held[:] += counts
        lost: Slots = counts.reshape(services, -1).sum(axis=1)
        return lost

    def _visited(self, active: Slots, length: int) -> NDArray[np.unsignedinteger]:
        """Return [length, backends]: the slots that each visits from its turn on."""
        width = np.uint32 if length < self.size - 1 else np.uint64
        skip = self.skip[active].astype(width)
        begin = (self.offset[active] + self.turn[active] * self.skip[active]) % self.size
        visited: NDArray[np.unsignedinteger] = np.multiply.outer(
            np.arange(length, dtype=width), skip
        )
        visited += begin.astype(width)
        # NumPy divides by one number in vectors; a remainder it takes one by one.
        visited -= visited // width(self.size) * width(self.size)
        return visited

    def one_by_one(self, free: int) -> None:
        """Give away the last slots, `free` of each service, a slot a turn."""
        services = len(self.table) // self.size
        flat = np.flatnonzero(self.free).reshape(services, free)
        slots = flat % self.size
        inverse = np.array([pow(int(skip), -1, self.size) for skip in self.skip], np.int64)
        offset = self.offset.reshape(services, -1)
        inverse = inverse.reshape(services, -1)
        taken = np.zeros(slots.shape, dtype=bool)
        everyone = np.arange(services)
        for step in range(free):
            backend = step % self.backends
            turns = (slots - offset[:, backend, None]) * inverse[:, backend, None] % self.size
            position = np.where(taken, self.size, turns).argmin(axis=1)
            taken[everyone, position] = True
            self.table[flat[everyone, position]] = backend
