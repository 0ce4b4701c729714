"""The relay's metrics: nodes, flows, what was missed, the history, its certificate.

Relay, History, a certificate's file  ->  families of drive.metrics_text
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from cairn.drive.metrics_text import Family, common, counter, gauge, number
from cairn.relay.history.keeper import History
from cairn.relay.relay import Relay


def families(relay: Relay, history: History | None, certificate: str) -> Iterator[Family]:
    """Yield every family; `certificate`: the file that clients are shown, empty for none."""
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
    yield gauge(
        "cairn_relay_certificate_expiry_timestamp_seconds",
        "When the certificate that clients are shown ends",
        _ends(certificate),
        "certificate",
    )
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


def _ends(certificate: str) -> dict[tuple[str, ...], float]:
    """Return when it ends, as it stands in the file now; what cannot be read has no series."""
    with contextlib.suppress(OSError, ValueError):
        if certificate:
            found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
            return {("server",): found.not_valid_after_utc.timestamp()}
    return {}
