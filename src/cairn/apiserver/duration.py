"""How long something took, or how old it is, as kubectl writes it.

seconds  ->  "45s", "12m", "3h5m", "6d"; RFC 3339 text, now  ->  age
"""

from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def spell(seconds: float) -> str:
    """Return a duration with at most two units, the smaller one only while it matters."""
    whole = int(seconds)
    if seconds < -1:
        return "<invalid>"
    steps = (
        (2 * _MINUTE, 1, "s", 0, ""),
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    )
    for limit, unit, letter, small, small_letter in steps:
        if whole < limit:
            rest = whole % unit // small if small else 0
            return f"{max(whole, 0) // unit}{letter}" + (f"{rest}{small_letter}" if rest else "")
    return f"{whole // _YEAR}y"


def moment(text: object) -> datetime | None:
    """Return the time that RFC 3339 text gives; None if it gives none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age(text: object, now: datetime) -> str:
    """Return how long ago a time was; `<unknown>` if it is none."""
    then = moment(text)
    return "<unknown>" if then is None else spell((now - then).total_seconds())
