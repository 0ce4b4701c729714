"""How long to wait before something that failed is tried again.

    failures, times  ->  seconds

Units       seconds
Standards   Kubernetes: container restarts wait 10 s, doubled up to 300 s, anew after 10 min
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """A pause that doubles; the first try after a calm time waits not at all."""

    first_s: float = 10.0
    """The first pause that is not nothing."""
    longest_s: float = 300.0
    """Pauses do not grow over this."""
    calm_s: float = 600.0
    """A run that lasted this long is not held against the container."""
    pause_s: float = 0.0
    """The pause now."""
    until: float = 0.0
    """When the next try is due."""

    def failed(self, now: float, *, ran_s: float = 0.0) -> None:
        """Take note of a failure, after `ran_s` of running; `until` is set."""
        if ran_s >= self.calm_s:
            self.pause_s = 0.0
        self.until = now + self.pause_s
        self.pause_s = min(self.longest_s, self.pause_s * 2 or self.first_s)

    def waits(self, now: float) -> float:
        """Return how long there is still to wait, 0 if it is time."""
        return max(0.0, self.until - now)
