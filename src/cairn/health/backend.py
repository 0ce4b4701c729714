"""One backend's health as a machine: from checks to ejection and back.

    receive(result, now), expire(now)  ->  events() (Begin | Passed | Ejected | Restored), deadline

A backend that was never seen well is unproven. `failures` bad checks in a row eject it, one good
check restores it. One that was restored and fails again soon is flapping: it must then stay well
for a second before it is restored, and twice as long each time, up to a minute.

Invariants  A healthy backend is asked once each interval; where that is a request, a connect comes
            in between, which can only condemn: that a port is open does not make a page good.
            A check that is not answered soon is doubted: the next ones begin at once beside it,
            so that a backend that hangs is known after little more than one timeout.
            A refused connect is asked again a moment later: a dead process is ejected in a fraction
            of a second, one that is being replaced by its successor on the same port is not.
            An answer to a check that is older than the last good one is no news.
Cost        a few assignments per check
"""

from dataclasses import dataclass
from enum import Enum

from cairn.health.check import CONNECT_INTERVAL_S, Check, Result

DOUBT_S = 0.25
"""A check that has no answer after this begins another."""
RECHECK_S = 0.1
"""After a refused connect."""
FLAP_S = 60.0
"""Failing again within this after a restoration is flapping."""
FIRST_HOLD_S = 1.0
LONGEST_HOLD_S = 60.0


class Health(Enum):
    """What is known of a backend."""

    UNPROVEN = "not seen well yet"
    HEALTHY = "well"
    EJECTED = "ejected"


@dataclass(frozen=True, slots=True)
class Begin:
    """A check is to be begun now, and its result received."""

    began: float
    """The time, which the result must carry."""
    whole: bool
    """Whether all is asked, or only a connect."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The backend was seen well for the first time."""


@dataclass(frozen=True, slots=True)
class Ejected:
    """The backend must not be used."""

    reason: str
    """What was wrong."""
    was_well: bool
    """Whether it had been seen well before: a process that is still starting was not."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The backend may be used again."""

    after_s: float
    """How long it was ejected."""


HealthEvent = Begin | Passed | Ejected | Restored


class BackendHealth:
    """What one node knows of one of its backends."""

    def __init__(
        self, check: Check, now: float, *, phase: float = 0.0, ejected: str | None = None
    ) -> None:
        """`phase`, 0 to 1, spreads the checks of many; `ejected`: why it was, before a restart."""
        self.check = check
        self.health = Health.UNPROVEN if ejected is None else Health.EJECTED
        self.reason = ejected or ""
        """What was wrong last."""
        self.deadline: float | None = now
        """When `expire` must be called; None while enough answers are awaited."""
        self._phase = phase
        self._events: list[HealthEvent] = []
        self._awaited: list[float] = []
        self._failures = 0
        self._light_next = False
        self._well_since: float | None = None
        self._ejected_at = now
        self._restored_at: float | None = None
        self._hold_s = 0.0

    def expire(self, now: float) -> None:
        """Begin the next check if its time has come."""
        if self.deadline is None or now < self.deadline:
            return
        if self._awaited and self._failures + len(self._awaited) >= self.check.failures:
            self.deadline = None  # enough is asked to decide
            return
        self._awaited.append(now)
        self._events.append(Begin(now, not self._light_next))
        self._light_next = False
        self.deadline = now + DOUBT_S

    def receive(self, result: Result, now: float) -> None:
        """Take the answer to a check that was begun; to one that no longer matters, do nothing."""
        if result.began not in self._awaited:
            return
        self._awaited.remove(result.began)
        if not result.ok:
            self._ill(result, now)
        elif result.whole:
            self._well(result, now)
        elif not self._awaited:
            self.deadline = now + self.check.interval_s - CONNECT_INTERVAL_S

    def change(self, check: Check, now: float) -> None:
        """Check in another way from now on; what is known stays."""
        self.check = check
        self.hasten(now)

    def hasten(self, now: float) -> None:
        """Have all of it checked now: something else says that it is not well."""
        if not self._awaited:
            self._light_next = False
            self.deadline = now

    def events(self) -> list[HealthEvent]:
        """Return what happened since the last call and forget it."""
        found, self._events = self._events, []
        return found

    def _well(self, result: Result, now: float) -> None:
        self._failures = 0
        self._awaited = [began for began in self._awaited if began > result.began]
        first = self._well_since is None
        since = self._well_since = now if self._well_since is None else self._well_since
        if self.health is Health.UNPROVEN:
            self._events.append(Passed())
            self.health = Health.HEALTHY
        elif self.health is Health.EJECTED and now - since >= self._hold_s:
            self._events.append(Restored(now - self._ejected_at))
            self.health = Health.HEALTHY
            self._restored_at = now
        self._light_next = self.health is Health.HEALTHY and self._has_light
        pause_s = CONNECT_INTERVAL_S if self._light_next else self.check.interval_s
        self.deadline = now + pause_s * (0.5 + self._phase / 2 if first else 1.0)

    def _ill(self, result: Result, now: float) -> None:
        self.reason = result.reason
        self._well_since = None
        self._light_next = False
        self._failures += 1
        if self.health is Health.EJECTED:
            self.deadline = now + self.check.interval_s
        elif self._failures < self.check.failures:
            self.deadline = now + (RECHECK_S if result.refused else DOUBT_S)
        else:
            flaps = self._restored_at is not None and now - self._restored_at < FLAP_S
            longer_s = min(max(2 * self._hold_s, FIRST_HOLD_S), LONGEST_HOLD_S)
            self._hold_s = longer_s if flaps else 0.0
            self._events.append(Ejected(result.reason, self.health is Health.HEALTHY))
            self.health = Health.EJECTED
            self._ejected_at = now
            self.deadline = now + self.check.interval_s

    @property
    def _has_light(self) -> bool:
        """Whether connects come in between."""
        return self.check.http is not None and self.check.interval_s > CONNECT_INTERVAL_S
