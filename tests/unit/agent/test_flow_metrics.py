"""Counts of flows, as Prometheus sees them."""

from collections import Counter
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from cairn.abi.structs import Point
from cairn.abi.verdicts import Verdict
from cairn.agent.flow_metrics import FlowMetrics
from cairn.flow.columns import FlowKind


@dataclass
class Counts:
    kinds: Counter[int] = field(default_factory=Counter)
    drops: Counter[int] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    suppressed: int = 0


def test_what_was_counted_is_told() -> None:
    counts = Counts(
        Counter({FlowKind.KERNEL_DROP: 3}),
        Counter({Verdict.DROP_POLICY_DENIED: 4}),
        Counter({Point.UPLINK: 5}),
        6,
    )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FlowMetrics(counts))
    value = registry.get_sample_value
    assert value("cairn_agent_flows_total", {"kind": "kernel-drop"}) == 3
    assert value("cairn_agent_flow_drops_total", {"reason": "DROP_POLICY_DENIED"}) == 4
    assert value("cairn_agent_flow_events_lost_total", {"point": "uplink"}) == 5
    assert value("cairn_agent_flow_events_suppressed_total") == 6


def test_nothing_counted_is_no_series() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FlowMetrics(Counts()))
    assert registry.get_sample_value("cairn_agent_flows_total", {"kind": "new"}) is None
    assert registry.get_sample_value("cairn_agent_flow_events_suppressed_total") == 0
