"""Counts of flows, as Prometheus sees them."""

import numpy as np
from prometheus_client import CollectorRegistry

from cairn.abi.structs import Point
from cairn.abi.verdicts import Verdict
from cairn.agent.flow_counts import FlowCounts
from cairn.agent.flow_metrics import FlowMetrics
from cairn.flow.columns import FLOW, FlowKind, FlowVerdict

FORWARDED, DROPPED = FlowVerdict.FORWARDED, FlowVerdict.DROPPED


def registry(counts: FlowCounts) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    names = {5: "NETFILTER_DROP"}
    made.register(FlowMetrics(counts, lambda: 7, lambda n: names.get(n, str(n))))
    return made


def flows(*rows: tuple[int, int, dict[str, int]]) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    made = np.zeros(len(rows), FLOW)
    for at, (kind, verdict, more) in enumerate(rows):
        made["kind"][at], made["verdict"][at] = kind, verdict
        for name, value in more.items():
            made[name][at] = value
    return made


def test_what_was_counted_is_told() -> None:
    counts = FlowCounts()
    counts.count(
        flows(
            (FlowKind.NEW, FORWARDED, {}),
            (FlowKind.DROP, DROPPED, {"reason": Verdict.DROP_POLICY_DENIED, "suppressed": 4}),
            (FlowKind.DROP, DROPPED, {"reason": Verdict.DROP_NO_BACKEND}),
            (FlowKind.KERNEL_DROP, DROPPED, {"kernel_reason": 5, "suppressed": 2}),
            (FlowKind.KERNEL_DROP, DROPPED, {"kernel_reason": 6}),
            (FlowKind.HTTP, DROPPED, {"reason": Verdict.DROP_POLICY_DENIED}),
            (FlowKind.DNS, FORWARDED, {}),
            (FlowKind.LOST, 0, {"point": Point.POD, "packets": 500}),
            (FlowKind.LOST, 0, {"point": Point.UPLINK, "packets": 40}),
        )
    )
    counts.count(flows((FlowKind.DNS, FORWARDED, {}), (200, 0, {})))
    counts.bad_lines, counts.lost_lookups = 8, 9
    value = registry(counts).get_sample_value

    def seen(kind: str, verdict: str) -> float | None:
        return value("cairn_agent_flows_total", {"kind": kind, "verdict": verdict})

    assert seen("new", "forwarded") == 1
    assert seen("drop", "dropped") == 2
    assert seen("kernel-drop", "dropped") == 2
    assert seen("http", "dropped") == 1
    assert seen("dns", "forwarded") == 2
    assert seen("lost", "unknown") == 2
    assert seen("200", "unknown") == 1
    assert value("cairn_agent_flow_drops_total", {"reason": "DROP_POLICY_DENIED"}) == 2
    assert value("cairn_agent_flow_drops_total", {"reason": "DROP_NO_BACKEND"}) == 1
    assert value("cairn_agent_kernel_drops_total", {"reason": "NETFILTER_DROP"}) == 3
    assert value("cairn_agent_kernel_drops_total", {"reason": "6"}) == 1
    assert value("cairn_agent_flow_events_lost_total", {"point": "pod"}) == 500
    assert value("cairn_agent_flow_events_lost_total", {"point": "uplink"}) == 40
    assert value("cairn_agent_flow_events_suppressed_total") == 6
    assert value("cairn_agent_flow_lines_bad_total") == 8
    assert value("cairn_agent_lookups_lost_total") == 9
    assert value("cairn_agent_flows_held") == 7


def test_nothing_counted_is_no_series() -> None:
    counts = FlowCounts()
    counts.count(flows())
    value = registry(counts).get_sample_value
    assert value("cairn_agent_flows_total", {"kind": "new", "verdict": "forwarded"}) is None
    assert value("cairn_agent_flow_drops_total", {"reason": "DROP_NO_BACKEND"}) is None
    assert value("cairn_agent_flow_events_suppressed_total") == 0
