"""What the server core takes from outside: time, identities and chance.

    clock, uid source, suffix source  ->  Environment

Invariants  The core reads no clock and draws no number itself, so that a test can replay it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Environment:
    """The outside, as functions."""

    now: Callable[[], datetime]
    """The time, in UTC."""
    new_uid: Callable[[], str]
    """A uid that was never given before."""
    suffix: Callable[[], str]
    """Five characters that complete a `generateName`."""


def timestamp(moment: datetime) -> str:
    """Return a time as `creationTimestamp` writes it (RFC 3339, seconds, UTC).

    >>> from datetime import UTC
    >>> timestamp(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2030-01-02T03:04:05Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
