"""What happens to BGP sessions, in one line each: for logs, and for those who watch.

    bgp.Event  ->  (level, "BGP peer 192.168.1.1 (AS 64512) Established, hold 90 s")

Invariants  Every line holds the word BGP. Changes of routes are no lines: they are too many.
"""

import logging
from collections.abc import Sequence

from cairn.bgp.event import (
    AttributeDiscarded,
    Event,
    PeerDown,
    PeerUp,
    PrefixLimit,
    RouteNotAnnounced,
    TreatedAsWithdraw,
)
from cairn.bgp.transitions import State

MAX_PREFIXES_NAMED = 3


def describe(event: Event) -> tuple[int, str] | None:
    """Return level and text of a log line; None for events that are too frequent for one."""
    match event:
        case PeerUp():
            return logging.INFO, (
                f"BGP peer {event.remote} (AS {event.asn}) Established, hold {event.hold_time_s} s"
            )
        case PeerDown():
            return _describe_down(event)
        case TreatedAsWithdraw():
            return logging.WARNING, (
                f"BGP peer {event.peer}: malformed UPDATE, {_some(event.prefixes)} treated as"
                f" withdrawn (RFC 7606): {event.reason}"
            )
        case AttributeDiscarded():
            return logging.WARNING, f"BGP peer {event.peer}: attribute discarded: {event.reason}"
        case RouteNotAnnounced():
            return logging.WARNING, (
                f"BGP peer {event.peer} is not told {event.prefix}: {event.reason}"
            )
        case PrefixLimit():
            return logging.ERROR, (
                f"BGP peer {event.peer} announced {event.prefixes} prefixes, limit {event.limit}:"
                " session closed"
            )
    return None


class Journal:
    """Writes events to the log, a repeated failure of a peer to connect only once."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._last_failure: dict[str, str] = {}

    def write(self, events: Sequence[Event]) -> None:
        """Log what is worth a line."""
        for event in events:
            found = describe(event)
            if found is None or self._is_repetition(event):
                continue
            level, text = found
            self._logger.log(level, "%s", text)

    def _is_repetition(self, event: Event) -> bool:
        if isinstance(event, PeerUp):
            self._last_failure.pop(event.peer, None)
        if not isinstance(event, PeerDown) or event.was is State.ESTABLISHED:
            return False
        before = self._last_failure.get(event.peer)
        self._last_failure[event.peer] = event.reason
        return before == event.reason


def _describe_down(event: PeerDown) -> tuple[int, str]:
    if event.was is not State.ESTABLISHED:
        return logging.WARNING, f"BGP peer {event.remote} not connected: {event.reason}"
    kept = "; its routes are kept while it restarts" if event.graceful else ""
    return logging.WARNING, f"BGP peer {event.remote} down: {event.reason}{kept}"


def _some(prefixes: Sequence[object]) -> str:
    named = ", ".join(str(prefix) for prefix in prefixes[:MAX_PREFIXES_NAMED])
    more = len(prefixes) - MAX_PREFIXES_NAMED
    return f"{named} and {more} more" if more > 0 else named or "nothing"
