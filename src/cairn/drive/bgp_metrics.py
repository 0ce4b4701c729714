"""Metrics of BGP sessions, as speaker and router tell alike of theirs.

PeerState  ->  families of metrics_text
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from cairn.bgp.event import PeerState
from cairn.bgp.transitions import State
from cairn.drive.metrics_text import Family, counter, gauge

PEER = ("peer", "address", "asn")
"""The labels by which a session is known."""


def session_families(
    component: str, peers: Sequence[PeerState], flaps: Counter[str], now: float
) -> Iterator[Family]:
    """Yield what speaker and router tell alike of their sessions."""
    up = {peer.name: peer.state is State.ESTABLISHED for peer in peers}
    name = f"cairn_{component}"

    def of(values: dict[str, float]) -> dict[tuple[str, ...], float]:
        return {peer_labels(peer): values[peer.name] for peer in peers if peer.name in values}

    def each(suffix: str, text: str, values: dict[str, float]) -> Family:
        make = counter if suffix.endswith("_total") else gauge
        return make(f"{name}_{suffix}", text, of(values), *PEER)

    yield each("session_up", "Whether the session is established", dict(up))
    yield gauge(
        f"{name}_session_state",
        "The state in which the session is",
        {(*peer_labels(peer), str(peer.state)): 1 for peer in peers},
        *PEER,
        "state",
    )
    uptime = {peer.name: now - peer.since for peer in peers if up[peer.name]}
    yield each("session_uptime_seconds", "How long it has been established", uptime)
    hold = {peer.name: float(peer.hold_time_s) for peer in peers if peer.hold_time_s is not None}
    yield each("session_hold_time_seconds", "Hold time agreed on", hold)
    yield each("session_flaps_total", "Established sessions that ended",
               {peer.name: flaps[peer.name] for peer in peers})  # fmt: skip
    for suffix, text, field in (
        ("messages_received_total", "Messages from the peer", "messages_in"),
        ("messages_sent_total", "Messages to the peer", "messages_out"),
        ("routes_received", "Prefixes that the peer announces", "prefixes_received"),
        ("routes_announced", "Prefixes that the peer was told", "prefixes_announced"),
        ("routes_stale", "Prefixes kept while the peer restarts", "prefixes_stale"),
        ("queue_messages", "Messages and routes that wait to be sent", "out_queue"),
    ):
        yield each(suffix, text, {peer.name: getattr(peer, field) for peer in peers})


def peer_labels(peer: PeerState) -> tuple[str, str, str]:
    """Return the values of the labels PEER."""
    return peer.name, str(peer.remote), str(peer.remote_asn or "")
