"""Figures about flows, for metrics.

batches  ->  counts that only grow
"""

from collections import Counter

import numpy as np

from cairn.flow.address import Records
from cairn.flow.columns import FlowKind, FlowVerdict


class FlowCounts:
    """What one node's flows came to."""

    def __init__(self) -> None:
        self.kinds: Counter[int] = Counter()
        """Flows by FlowKind."""
        self.drops: Counter[int] = Counter()
        """Dropped flows by the data plane's verdict."""
        self.suppressed = 0
        """Events that the data plane did not tell one by one, as told by those it did."""
        self.lost: Counter[int] = Counter()
        """Events that found the ring full, by point."""
        self.bad_lines = 0
        """Lines of the access log, or of the DNS proxy, that are no records."""
        self.lost_lookups = 0
        """Lookups that the DNS proxy could not tell of: nobody read in time."""

    def count(self, records: Records) -> None:
        """Count some flows."""
        _add(self.kinds, records["kind"])
        dropped = records["verdict"] == FlowVerdict.DROPPED
        if dropped.any():
            _add(self.drops, records["reason"][dropped])
        self.suppressed += int(records["suppressed"].sum())
        for record in records[records["kind"] == FlowKind.LOST]:
            self.lost[int(record["point"])] += int(record["packets"])


def _add(counts: Counter[int], numbers: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> None:
    for number, times in enumerate(np.bincount(numbers).tolist()):
        if times:
            counts[number] += times
