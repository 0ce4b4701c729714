"""Tests of dictionary entries as masks over columns of keys: each entry is judged once.

    column of keys  ->  array of bool

Cost        two gathers a flow; entries are judged when a flow first has them
Not here    what is asked of an entry (filter_terms.py)
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
T = TypeVar("T")
WIDEST = 1 << 20
"""Octets of the table; keys that lie farther apart are sorted instead."""
_UNKNOWN, _NO, _YES = 0, 1, 2


class KeyTest(Generic[T]):
    """A test of entries, remembered by key."""

    def __init__(self, entries: Mapping[int, T], test: Callable[[T], bool], nothing: bool) -> None:
        """Take the entries, the test, and what is so of key 0 and of keys without an entry."""
        self._entries = entries
        self._test = test
        self._nothing = nothing
        self._base = 1
        self._table = np.zeros(0, np.uint8)

    def __call__(self, keys: npt.NDArray[np.uint32]) -> Bools:
        """Return for each key whether its entry passes."""
        present = keys != 0
        if not present.any():
            return np.full(len(keys), self._nothing)
        chosen = keys[present]
        low, high = int(chosen.min()), int(chosen.max())
        passed = np.full(len(keys), self._nothing)
        if high - low >= WIDEST:
            used, where = np.unique(chosen, return_inverse=True)
            passed[present] = np.array([self._judge(key) for key in used.tolist()], bool)[where]
            return passed
        self._cover(low, high)
        at = chosen - np.uint32(self._base)
        states = self._table[at]
        unknown = states == _UNKNOWN
        if unknown.any():
            for key in np.unique(chosen[unknown]).tolist():
                self._table[key - self._base] = _YES if self._judge(key) else _NO
            states = self._table[at]
        passed[present] = states == _YES
        return passed

    def _judge(self, key: int) -> bool:
        entry = self._entries.get(key)
        return self._nothing if entry is None else self._test(entry)

    def _cover(self, low: int, high: int) -> None:
        """Make the table hold keys `low` to `high`; what is far from them is forgotten."""
        end = self._base + len(self._table)
        if self._base <= low and high < end:
            return
        base = min(low, self._base)
        size = max(high + 1, end) - base
        if size > WIDEST or not len(self._table):
            self._base, self._table = low, np.zeros(high + 1 - low, np.uint8)
            return
        table = np.zeros(min(WIDEST, max(size, 2 * len(self._table))), np.uint8)
        table[self._base - base : end - base] = self._table
        self._base, self._table = base, table
