"""Times of flows as text.

google.protobuf.Timestamp  ->  text, in one of the forms of upstream's `--time-format`
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Spell = Callable[[Any], str]


def seconds(stamp: Any) -> str:
    """Return RFC 3339 in UTC, to the second."""
    return _utc(stamp).strftime("%Y-%m-%dT%H:%M:%SZ")


def _utc(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.seconds, UTC)


def _local(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.seconds, UTC).astimezone()


def _stamp_milli(stamp: Any) -> str:
    local = _local(stamp)
    return f"{local:%b} {local.day:2} {local:%H:%M:%S}.{stamp.nanos // 1_000_000:03}"


def _rfc3339(digits: int) -> Spell:
    def spell(stamp: Any) -> str:
        fraction = f".{stamp.nanos:09}"[: digits + 1] if digits else ""
        return f"{_utc(stamp):%Y-%m-%dT%H:%M:%S}{fraction}Z"

    return spell


def _rfc1123(stamp: Any) -> str:
    return f"{_local(stamp):%a, %d %b %Y %H:%M:%S %z}"


FORMATS: dict[str, Spell] = {
    "StampMilli": _stamp_milli,
    "RFC3339": seconds,
    "RFC3339Milli": _rfc3339(3),
    "RFC3339Micro": _rfc3339(6),
    "RFC3339Nano": _rfc3339(9),
    "RFC1123Z": _rfc1123,
}
"""What `--time-format` takes."""
