"""Drops by the kernel itself as metrics, by its own names.

    KernelWatch  ->  cairn_kernel_drops_total

Invariants  A reason that never came has no series.
"""

from collections.abc import Iterable

import numpy as np
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from cairn.abi.event import KERNEL_REASONS
from cairn.abi.records import METRIC
from cairn.apply.kernel_watch import KernelWatch


class KernelMetrics(Collector):
    """What one node's kernel dropped of pods and services."""

    def __init__(self, watch: KernelWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterable[Metric]:
        """Yield the one family; raises BpfError."""
        family = CounterMetricFamily(
            "cairn_kernel_drops",
            "Packets of pods and services that the kernel itself dropped",
            labels=("reason",),
        )
        if self._watch.counters is not None:
            rows = b"".join(values for _, values, _ in self._watch.counters.batches())
            counts = np.frombuffer(rows, METRIC).reshape(KERNEL_REASONS, -1)
            packets = counts["packets"].sum(axis=1)
            for number in np.flatnonzero(packets).tolist():
                name = self._watch.names.get(number, str(number))
                family.add_metric((name,), int(packets[number]))
        yield family
