"""Flows of one node as metrics: by kind, dropped ones by reason, and what was not told.

    counts of flows  ->  families of agent.metrics

Invariants  Labels are kinds and reasons, never ends: what each flow was about is the flows' own.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cairn.abi.structs import Point
from cairn.abi.verdicts import Verdict
from cairn.agent.node_metrics import told
from cairn.drive.metrics_text import Family, counter, number
from cairn.flow.columns import FlowKind


class Counts(Protocol):
    """What is counted of flows; every figure only grows."""

    @property
    def kinds(self) -> Mapping[int, int]:
        """Flows by FlowKind."""

    @property
    def drops(self) -> Mapping[int, int]:
        """Dropped flows by the data plane's verdict."""

    @property
    def lost(self) -> Mapping[int, int]:
        """Events that found the ring full, by point."""

    @property
    def suppressed(self) -> int:
        """Events that the data plane did not tell one by one."""


class FlowMetrics(Collector):
    """The flows of one node."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        return map(told, self._families())

    def _families(self) -> Iterator[Family]:
        counts = self._counts
        yield counter(
            "cairn_agent_flows_total",
            "Flows seen",
            {(_name(FlowKind(kind).name),): count for kind, count in counts.kinds.items()},
            "kind",
        )
        yield counter(
            "cairn_agent_flow_drops_total",
            "Flows that were dropped, by the data plane's reason",
            {(_reason(reason),): count for reason, count in counts.drops.items()},
            "reason",
        )
        yield counter(
            "cairn_agent_flow_events_lost_total",
            "Events that found the ring full",
            {(_name(Point(point).name),): count for point, count in counts.lost.items()},
            "point",
        )
        yield number(
            "cairn_agent_flow_events_suppressed_total",
            "Events told together with another",
            counts.suppressed,
        )


def _name(text: str) -> str:
    return text.lower().replace("_", "-")


def _reason(number: int) -> str:
    return Verdict(number).name if number in tuple(Verdict) else str(number)
