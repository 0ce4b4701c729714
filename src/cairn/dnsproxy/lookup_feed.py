"""Tells who watches of every lookup; nobody waits for a watcher.

    lookups  ->  lines to the clients that asked for them

Invariants  Lines wait at most until the next tick. What a client's backlog has no room for is
            counted, and the client is told how many it missed.
Cost        nothing while nobody watches; else 1 us a lookup
"""

import time
from typing import Protocol

from cairn.dns.lookup import MOST_OCTETS, Lookup, Lost, Outcome, write_lookup
from cairn.dns.pending import Place

AT_ONCE = 64
"""Lines that are sent together."""


class Watcher(Protocol):
    """A client that gets lines."""

    def offer(self, line: bytes) -> bool:
        """Queue lines if there is room; return whether there was."""

    @property
    def is_open(self) -> bool:
        """Whether it is still there."""


class LookupFeed:
    """Lookups, for whoever watches."""

    def __init__(self) -> None:
        self._watchers: dict[Watcher, int] = {}
        self._lines: list[bytes] = []
        self.lost = 0
        """Lookups that some watcher was not told of."""

    @property
    def watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._watchers)

    def watch(self, watcher: Watcher) -> None:
        """Tell a client from now on."""
        self.flush()
        self._watchers[watcher] = 0

    def tell(
        self,
        outcome: Outcome,
        client: Place,
        server: Place,
        message: bytes,
        *,
        took_s: float = 0.0,
        listener: int = 0,
        tcp: bool = False,
    ) -> None:
        """Tell of one lookup."""
        if not self._watchers:
            return
        lookup = Lookup(
            time.time_ns(),
            *client,
            *server,
            outcome,
            message[:MOST_OCTETS],
            int(took_s * 1e6),
            listener,
            tcp,
        )
        self._lines.append(write_lookup(lookup))
        if len(self._lines) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if not self._lines:
            return
        text, count = b"".join(self._lines), len(self._lines)
        self._lines.clear()
        for watcher, missed in list(self._watchers.items()):
            if not watcher.is_open:
                del self._watchers[watcher]
            elif missed and not watcher.offer(write_lookup(Lost(missed)) + text):
                self._missed(watcher, count)
            elif missed:
                self._watchers[watcher] = 0
            elif not watcher.offer(text):
                self._missed(watcher, count)

    def _missed(self, watcher: Watcher, count: int) -> None:
        self._watchers[watcher] += count
        self.lost += count
