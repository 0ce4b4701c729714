"""Maglev tables: which backend a flow's hash belongs to, equal on every node.

    names of backends  ->  array[size] of their positions

Every backend walks the slots in an order of its own (offset + turn * skip modulo a prime) and takes
free ones until all are taken. The paper gives one slot per turn; here a turn gives a batch, a share
of what is free, and only the last slots go one by one. Balance stays within one slot, and the
table depends on nothing but the set of names.

Shapes      uint32[size], values are positions in the list that was given
Invariants  Slots per backend differ by at most one.
            The order of the names does not change which name a slot belongs to.
Cost        about size * ln(size) array elements, whatever the number of backends
Standards   Eisenbud et al., "Maglev", NSDI 2016, section 3.4
Not here    many tables at once (maglev_bulk.py), of which this is the specification
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TABLE_SIZE = 65537
"""Slots of a table: prime, so that every skip visits every slot."""
SMALL_TABLE_SIZE = 3967
"""Slots where few backends share them: even to a hundredth, in a sixteenth of the memory."""
SMALL_TABLE_BACKENDS = 32
"""How many backends a small table serves: the same number on every node."""

_FREE = -1
_TAIL_SHARE = 128
_ORDER_BITS = 32

Slots = NDArray[np.int64]
Visited = NDArray[np.unsignedinteger]


def table_size(backends: int) -> int:
    """Return how many slots the table of so many backends has."""
    return SMALL_TABLE_SIZE if backends <= SMALL_TABLE_BACKENDS else TABLE_SIZE


def tail_slots(size: int) -> int:
    """Return how many slots of a table are given away one by one, at the end."""
    return size // _TAIL_SHARE


def first_turns(name: str, size: int) -> tuple[int, int]:
    """Return where a backend's walk begins, and by how much it goes on."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    offset, skip = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
    return offset % size, skip % (size - 1) + 1


def maglev_table(names: Sequence[str], size: int = TABLE_SIZE) -> NDArray[np.uint32]:
    """Return the table for `names`, which must be distinct and not empty; `size` is a prime."""
    if not names:
        raise ValueError("a Maglev table needs at least one backend")
    order = sorted(range(len(names)), key=lambda position: names[position])
    walks = _Walks.of([names[position] for position in order], size)
    table: Slots = np.full(size, _FREE, dtype=np.int64)
    _fill_in_batches(table, walks)
    _fill_one_by_one(table, walks)
    return np.asarray(order, dtype=np.uint32)[table]


@dataclass(frozen=True, slots=True)
class _Walks:
    offset: Slots
    skip: Slots
    size: int

    @staticmethod
    def of(names: Sequence[str], size: int) -> "_Walks":
        walks = np.array([first_turns(name, size) for name in names], dtype=np.int64)
        return _Walks(walks[:, 0], walks[:, 1], size)

    def slots(self, backends: Slots, start: Slots, length: int) -> Visited:
        """Return [backends, length]: the slots each of these visits from its turn `start` on."""
        # Half the width is a third of the time, where length * size cannot overflow.
        width = np.uint32 if length < self.size - 1 else np.uint64
        skip = self.skip[backends]
        first = (self.offset[backends] + start * skip) % self.size
        steps = np.multiply.outer(skip, np.arange(length), dtype=width, casting="unsafe")
        visited: Visited = (steps + first.astype(width)[:, None]) % width(self.size)
        return visited

    def turns(self, backend: int, slots: Slots) -> Slots:
        """Return at which turn a backend visits each of the slots."""
        inverse = pow(int(self.skip[backend]), -1, self.size)
        turns: Slots = (slots - self.offset[backend]) * inverse % self.size
        return turns


def _fill_in_batches(table: Slots, walks: _Walks) -> None:
    count = len(walks.offset)
    turn = np.zeros(count, dtype=np.int64)
    held = np.zeros(count, dtype=np.int64)
    goal = 0
    size = free = walks.size
    while free > max(count, tail_slots(size)):
        goal += max(1, free // (2 * count))
        goal = min(goal, size // count)
        while len(active := np.flatnonzero(held < goal)):
            wanted = goal - held[active]
            length = int(wanted.max() * size / max(free, 1)) + 8
            visited = walks.slots(active, turn[active], length)
            usable = table[visited] == _FREE
            rank = np.cumsum(usable, axis=1, dtype=np.int32)
            picked = usable & (rank <= wanted[:, None])
            # A walk moves on to where its last wish was met, or past all it looked at.
            enough = rank >= wanted[:, None]
            turn[active] += np.where(enough[:, -1], enough.argmax(axis=1) + 1, length)
            free -= _claim(table, held, active, visited, picked)
        if goal == size // count:
            return


def _claim(
    table: Slots, held: Slots, backends: Slots, visited: Visited, picked: NDArray[np.bool_]
) -> int:
    # The transposition orders wishes by turn first: whoever comes earlier in its own walk wins.
    turns, rows = np.nonzero(picked.T)
    # One sort of slot and order together is much quicker than np.unique with its indices.
    wishes = visited[rows, turns].astype(np.int64) << _ORDER_BITS | np.arange(len(rows))
    wishes.sort()
    slots = wishes >> _ORDER_BITS
    first = np.flatnonzero(np.diff(slots, prepend=-1))
    winners = backends[rows[wishes[first] & (1 << _ORDER_BITS) - 1]]
    table[slots[first]] = winners
    held += np.bincount(winners, minlength=len(held))
    return len(first)


def _fill_one_by_one(table: Slots, walks: _Walks) -> None:
    open_slots = np.flatnonzero(table == _FREE)
    if not len(open_slots):
        return
    count = len(walks.offset)
    rows: dict[int, Slots] = {}
    taken = np.zeros(len(open_slots), dtype=bool)
    # The batches left every backend with as many slots as the others.
    for step in range(len(open_slots)):
        backend = step % count
        if backend not in rows:
            rows[backend] = walks.turns(backend, open_slots)
        position = int(np.where(taken, walks.size, rows[backend]).argmin())
        taken[position] = True
        table[open_slots[position]] = backend
