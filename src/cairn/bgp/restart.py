"""Waiting for a peer that restarts: how long its routes are kept.

    session lost, session up, End-of-RIB, time  ->  Restart  ->  families to mark and to sweep

Units       seconds
Invariants  No route stays stale for ever: a timer runs while there may be one.
Standards   RFC 4724 s4.2
"""

from collections.abc import Iterable

from cairn.bgp.family import Family
from cairn.bgp.negotiate import Negotiated

STALE_S = 360.0
"""How long after its return a peer may take to confirm its routes."""


class Restart:
    """The state of one peer's graceful restart, on our side."""

    def __init__(self) -> None:
        self._sweep_at: float | None = None
        self._awaited: set[Family] = set()

    @property
    def deadline(self) -> float | None:
        """When all that is stale must go."""
        return self._sweep_at

    def lost(self, negotiated: Negotiated, now: float) -> set[Family]:
        """Return the families to keep now that the session is gone."""
        said = negotiated.graceful_restart
        if said is None:
            return set()
        self._awaited = {one.family for one in said.families} & negotiated.families
        self._sweep_at = now + said.restart_time_s if self._awaited else None
        return set(self._awaited)

    def returned(self, negotiated: Negotiated, now: float) -> set[Family]:
        """Return the families to sweep at once: those whose forwarding was not preserved."""
        said = negotiated.graceful_restart
        agreed = self._awaited & negotiated.families
        kept = {one for one in agreed if said is not None and said.preserves(one)}
        gone, self._awaited = self._awaited - kept, kept
        self._sweep_at = now + STALE_S if kept else None
        return gone

    def ended(self, family: Family) -> None:
        """Take note that the peer has confirmed all it has of `family`."""
        self._awaited.discard(family)
        if not self._awaited:
            self._sweep_at = None

    def expire(self, now: float) -> bool:
        """Return whether everything stale must go now."""
        if self._sweep_at is None or now < self._sweep_at:
            return False
        self._sweep_at = None
        self._awaited = set()
        return True


def earliest(times: Iterable[float | None]) -> float | None:
    """Return the first of several deadlines; None if no timer runs."""
    return min((at for at in times if at is not None), default=None)
