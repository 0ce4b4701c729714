"""What a sans-IO protocol machine looks like from outside.

    receive(data, now), expire(now)  ->  output(), events(), deadline

Units       `now` and `deadline` in seconds of one monotonic clock that the driver owns.
Invariants  A machine never waits, never reads a clock and never opens anything.
            `output` and `events` drain: what they return is not returned again.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

E = TypeVar("E", covariant=True)


class Machine(Protocol[E]):
    """A protocol core for one byte stream."""

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called at the latest; None while no timer runs."""

    def receive(self, data: bytes, now: float) -> None:
        """Take octets that arrived."""

    def expire(self, now: float) -> None:
        """Take the time; timers whose deadline has passed fire."""

    def output(self) -> bytes:
        """Return the octets to send and forget them."""

    def events(self) -> Sequence[E]:
        """Return what happened since the last call and forget it."""
