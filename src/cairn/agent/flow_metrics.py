"""Flows of one node as metrics: by kind and verdict, dropped ones by reason, and what was not told.

    counts of flows  ->  families of drive.metrics_text

Invariants  Labels are kinds, verdicts and reasons, never ends: what each flow was about is the
            flows' own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cairn.abi.structs import Point
from cairn.abi.verdicts import Verdict
from cairn.agent.node_metrics import told
from cairn.drive.metrics_text import Family, counter, number
from cairn.flow.columns import FlowKind, FlowVerdict


class Counts(Protocol):
    """What is counted of flows; every figure only grows."""

    @property
    def flows(self) -> Mapping[tuple[int, int], int]:
        """Flows by FlowKind and FlowVerdict."""

    @property
    def drops(self) -> Mapping[int, int]:
        """Dropped flows by the data plane's verdict."""

    @property
    def kernel_drops(self) -> Mapping[int, int]:
        """Packets that the kernel itself dropped, by its reason."""

    @property
    def lost(self) -> Mapping[int, int]:
        """Events that found the ring full, by point."""

    @property
    def suppressed(self) -> int:
        """Events that the data plane did not tell one by one."""

    @property
    def bad_lines(self) -> int:
        """Lines of the proxies that are no records."""

    @property
    def lost_lookups(self) -> int:
        """Lookups that the DNS proxy could not tell of."""


class FlowMetrics(Collector):
    """The flows of one node; `held`: how many are in memory."""

    def __init__(
        self, counts: Counts, held: Callable[[], int], kernel_reason: Callable[[int], str] = str
    ) -> None:
        self._counts = counts
        self._held = held
        self._kernel_reason = kernel_reason

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        return map(told, self._families())

    def _families(self) -> Iterator[Family]:
        counts = self._counts
        yield counter(
            "cairn_agent_flows_total",
            "Flows seen",
            {
                (_name(FlowKind, kind), _name(FlowVerdict, verdict)): count
                for (kind, verdict), count in counts.flows.items()
            },
            "kind",
            "verdict",
        )
        yield counter(
            "cairn_agent_flow_drops_total",
            "Flows that were dropped, by the data plane's reason",
            {(_reason(reason),): count for reason, count in counts.drops.items()},
            "reason",
        )
        yield counter(
            "cairn_agent_kernel_drops_total",
            "Packets of pods and addresses that the kernel itself dropped, by its reason",
            {(self._kernel_reason(r),): count for r, count in counts.kernel_drops.items()},
            "reason",
        )
        yield counter(
            "cairn_agent_flow_events_lost_total",
            "Events that found the ring full",
            {(_name(Point, point),): count for point, count in counts.lost.items()},
            "point",
        )
        yield number(
            "cairn_agent_flow_events_suppressed_total",
            "Events told together with another",
            counts.suppressed,
        )
        yield number(
            "cairn_agent_flow_lines_bad_total",
            "Lines of the access log and of the DNS proxy that are no records",
            counts.bad_lines,
        )
        yield number(
            "cairn_agent_lookups_lost_total",
            "Lookups that the DNS proxy could not tell of",
            counts.lost_lookups,
        )
        yield number("cairn_agent_flows_held", "Flows in memory", self._held())


def _name(names: type[IntEnum], number: int) -> str:
    """Return a number's name as labels have it; the number if it has none."""
    found = names._value2member_map_.get(number)
    return str(number) if found is None else found.name.lower().replace("_", "-")


def _reason(number: int) -> str:
    return Verdict(number).name if number in tuple(Verdict) else str(number)
