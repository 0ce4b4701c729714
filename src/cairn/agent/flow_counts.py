"""Figures about flows, for metrics.

    batches  ->  counts that only grow

Cost        a batch is counted by columns, whatever its size
"""

from collections import Counter

import numpy as np

from cairn.flow.address import Records
from cairn.flow.columns import FlowKind, FlowVerdict

_VERDICTS = 16
"""More than FlowVerdict has."""


class FlowCounts:
    """What one node's flows came to."""

    def __init__(self) -> None:
        self.flows: Counter[tuple[int, int]] = Counter()
        """Flows by FlowKind and FlowVerdict."""
        self.drops: Counter[int] = Counter()
        """Flows that were dropped, by the data plane's verdict."""
        self.kernel_drops: Counter[int] = Counter()
        """Packets that the kernel itself dropped, by its reason; those not told one by one too."""
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
        kinds = records["kind"]
        for number, times in _tally(kinds.astype(np.intp) * _VERDICTS + records["verdict"]):
            self.flows[divmod(number, _VERDICTS)] += times
        by_kernel = kinds == FlowKind.KERNEL_DROP
        dropped = (records["verdict"] == FlowVerdict.DROPPED) & ~by_kernel
        for number, times in _tally(records["reason"][dropped]):
            self.drops[number] += times
        if by_kernel.any():
            packets = records["suppressed"][by_kernel] + 1
            for number, times in _tally(records["kernel_reason"][by_kernel], packets):
                self.kernel_drops[number] += times
        self.suppressed += int(records["suppressed"].sum())
        for record in records[kinds == FlowKind.LOST]:
            self.lost[int(record["point"])] += int(record["packets"])


def _tally(
    numbers: "np.ndarray[tuple[int], np.dtype[np.integer]]",
    weights: "np.ndarray[tuple[int], np.dtype[np.integer]] | None" = None,
) -> list[tuple[int, int]]:
    """Return each number that occurs, and how often; or the sum of its weights."""
    counts = np.bincount(numbers, weights)
    found = np.flatnonzero(counts)
    return list(zip(found.tolist(), counts[found].astype(np.intp).tolist(), strict=True))
