"""Probes as machines: from single checks to ready, live and started.

    result(ok, now)  ->  healthy, changed;  due  ->  when to check again

Pure: the checks themselves are in `probe_check.py`.

Invariants  It takes `failure_threshold` failures, or `success_threshold` successes, in a row to
            change the verdict.
Standards   Kubernetes API reference, Probe
"""

from dataclasses import dataclass
from enum import StrEnum

from cairn.kube.metadata import Object


class Kind(StrEnum):
    """What a probe decides."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a probe checks and how many results count."""

    initial_delay_s: float
    """Pause before the first check."""
    period_s: float
    """Pause between checks."""
    timeout_s: float
    """A check that takes longer has failed."""
    success_threshold: int
    """Successes in a row that make it healthy."""
    failure_threshold: int
    """Failures in a row that make it unhealthy."""


def timing_of(probe: Object) -> Timing:
    """Return a probe's timing, with Kubernetes' defaults."""
    return Timing(
        initial_delay_s=float(probe.get("initialDelaySeconds") or 0),
        period_s=float(probe.get("periodSeconds") or 10),
        timeout_s=float(probe.get("timeoutSeconds") or 1),
        success_threshold=int(probe.get("successThreshold") or 1),
        failure_threshold=int(probe.get("failureThreshold") or 3),
    )


class ProbeMachine:
    """One probe of one running container."""

    def __init__(self, kind: Kind, timing: Timing, now: float, *, healthy: bool) -> None:
        self.kind = kind
        self.timing = timing
        self.healthy = healthy
        """The verdict so far."""
        self.due = now + timing.initial_delay_s
        """When the next check is to be made."""
        self._streak = 0

    def result(self, now: float, *, ok: bool) -> bool:
        """Take the result of a check; return whether a threshold was just reached.

        For liveness and startup a reached failure threshold means: end the container.
        """
        self.due = now + self.timing.period_s
        self._streak = max(self._streak, 0) + 1 if ok else min(self._streak, 0) - 1
        if ok and self._streak == self.timing.success_threshold:
            changed = not self.healthy
            self.healthy = True
            return changed
        if not ok and -self._streak >= self.timing.failure_threshold:
            changed = self.healthy or self.kind is not Kind.READINESS
            self.healthy = False
            self._streak = 0
            return changed
        return False
