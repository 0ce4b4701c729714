"""The end of what was learnt: what is due and nobody uses is let go.

    Names.due, policy_flows  ->  tick(now)  ->  Names.keep, Names.forget

All that is due at a time is looked for in one walk of the connections, a piece with each tick, so
that queries never wait for it.

Invariants  An address is forgotten when its time has passed and no live connection was opened to
            it; where the connections cannot be seen it stays.
            Connections to it that are over leave the data plane after it: one that goes on
            all the same is judged anew.
Units       times in seconds of CLOCK_MONOTONIC
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from cairn.dns.learnt import Names
from cairn.dnsproxy.name_map import FlowMap
from cairn.dnsproxy.sampled_log import SampledLog
from cairn.libbpf import BpfError

PAUSE_S = 2.0
"""Between two walks."""
AGAIN_S = 60.0
"""When an address that is in use is looked at again."""


class Expiry:
    """Lets go what is over."""

    def __init__(
        self, names: Names, counts: Counter[str], pins: Path, commit: Callable[[], None]
    ) -> None:
        """`commit` brings what was forgotten into the data plane."""
        self._names = names
        self._counts = counts
        self._flows = FlowMap(pins)
        self._commit = commit
        self._log = SampledLog()
        self._next = 0.0
        self._walk: Iterator[int] | None = None
        self._due: dict[bytes, set[str]] = {}
        self._used: set[bytes] = set()
        self._idle: dict[bytes, bytes] = {}

    def tick(self, now: float) -> None:
        """Go on with the walk, or begin one if something is due."""
        if self._walk is not None:
            self._step(now)
        elif now >= self._next and (self._names.next_due() or now) < now:
            self._next = now + PAUSE_S
            self._due = self._names.due(now)
            self._used, self._idle = set(), {}
            self._walk = self._flows.walk(set(self._due), self._used, self._idle)
            self._step(now)

    def _step(self, now: float) -> None:
        try:
            if self._walk is not None and next(self._walk, None) is not None:
                return
        except BpfError as error:
            self._log.warn(
                "walk", "cannot see which connections live: %s; addresses of names stay longer",
                error, now=now,
            )  # fmt: skip
            self._used.update(self._due)
        self._walk = None
        self._decide(now)

    def _decide(self, now: float) -> None:
        for address, names in self._due.items():
            if address in self._used:
                self._names.keep(address, names, now + AGAIN_S)
                self._counts["kept for connections"] += 1
            else:
                self._counts["expired"] += self._names.forget(address, names, now)
        self._commit()
        try:
            self._flows.drop([key for key, to in self._idle.items() if to not in self._used])
        except BpfError as error:
            self._log.warn("drop", "connections that are over stay: %s", error, now=now)
        self._due = {}
