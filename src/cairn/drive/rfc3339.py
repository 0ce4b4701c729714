"""The wall clock as Kubernetes writes it.

    now  ->  "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678901Z"

Standards   RFC 3339; Kubernetes meta/v1 Time and MicroTime
"""

from datetime import UTC, datetime


def now_text() -> str:
    """Return the time in seconds, as conditions and Events carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_micro_text() -> str:
    """Return the time in microseconds, as Leases carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def age_s(text: str) -> float:
    """Return how long ago `text` was; infinite if it is no time."""
    try:
        then = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return float("inf")
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return (datetime.now(UTC) - then).total_seconds()
