"""The relay's metrics: nodes, flows, what was missed, the history.

Relay, History  ->  families of drive.metrics_text
"""

from collections.abc import Iterator

from cairn.drive.metrics_text import Family, common, counter, gauge, number
from cairn.relay.history.keeper import History
from cairn.relay.relay import Relay


def families(relay: Relay, history: History | None) -> Iterator[Family]:
    """Yield every family."""
    yield from common("relay")
    states = relay.states
    yield gauge(
        "cairn_relay_node_connected",
        "Whether a node's flows come",
        {(state.name,): state.connected for state in states},
        "node",
    )
    yield counter(
        "cairn_relay_flows_total",
        "Flows that came from a node",
        {(state.name,): state.flows for state in states},
        "node",
    )
    yield counter(
        "cairn_relay_flows_missed_total",
        "Flows that a node had no more when they were asked for",
        {(state.name,): state.missed for state in states},
        "node",
    )
    yield number("cairn_relay_flows_held", "Flows in memory", len(relay.store))
    if history is not None:
        yield from _history(history)


def _history(history: History) -> Iterator[Family]:
    status = history.status()
    yield number(
        "cairn_relay_history_writing",
        "Whether the history of flows is written; 0: it has stopped, and the log says why",
        not status.stopped,
    )
    yield number(
        "cairn_relay_history_missed_flows_total", "Flows that were not written", status.missed
    )
    yield number("cairn_relay_history_flows", "Flows on disk", status.flows)
    yield number("cairn_relay_history_bytes", "Octets on disk", status.bytes)
    yield number("cairn_relay_history_files", "Files on disk", status.files)
    yield number(
        "cairn_relay_history_corrupt_files_total",
        "Files that were moved aside",
        len(status.corrupt),
    )
    yield number(
        "cairn_relay_history_removed_flows_total", "Flows that retention took", status.removed
    )
