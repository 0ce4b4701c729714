"""Read what JSON or YAML decoded to into frozen values, naming the field that is at fault.

    dict, list, str, int  ->  values, or ConfigError("config.peers[].hold_time_s: …")

A reader is a function from a plain value to a value that raises ValueError; `record` puts readers
together to one for a whole dataclass.

Invariants  An unknown field is an error, never ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

Read = Callable[[Any], Any]


class ConfigError(ValueError):
    """A configuration that says something impossible; the text names the field."""


def number(low: int, high: int) -> Callable[[Any], int]:
    """Return the reader of a whole number from `low` to `high`."""

    def read(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not low <= raw <= high:
            raise ValueError(f"{raw!r} is not a number from {low} to {high}")
        return raw

    return read


def text(raw: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"{raw!r} is not a text")
    return raw


def flag(raw: Any) -> bool:
    """Return true or false."""
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} is neither true nor false")
    return raw


def password(raw: Any) -> str:
    """Return a TCP MD5 key."""
    if not 1 <= len(text(raw).encode()) <= 80:
        raise ValueError("the password must have 1 to 80 octets (a TCP MD5 key)")
    return str(raw)


def hold_time(raw: Any) -> int:
    """Return a hold time in seconds (RFC 4271 s4.2)."""
    value = number(0, 65535)(raw)
    if value in (1, 2):
        raise ValueError(f"{value} s: a hold time is 0 or at least 3 s (RFC 4271 s4.2)")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return the reader of one of several words."""

    def read(raw: Any) -> str:
        if raw not in choices:
            raise ValueError(f"{raw!r} is not one of {', '.join(choices)}")
        return str(raw)

    return read


def many(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """Return the reader of a list of what `read` reads."""

    def read_all(raw: Any) -> tuple[T, ...]:
        if not isinstance(raw, list):
            raise ValueError(f"{raw!r} is not a list")
        return tuple(map(read, raw))

    return read_all


def record(kind: type[T], where: str, readers: Mapping[str, Read]) -> Callable[[Any], T]:
    """Return the reader of a whole dataclass; a field that is null counts as left out."""

    def read(raw: Any) -> T:
        if not isinstance(raw, dict):
            raise ConfigError(f"{where}: {raw!r} is not an object")
        values = {}
        for name, value in raw.items():
            if name not in readers:
                raise ConfigError(f"{where}.{name}: unknown field")
            if value is not None:
                values[name] = _field(where, name, value, readers[name])
        try:
            return kind(**values)
        except TypeError as error:
            missing = str(error).rpartition(": ")[2]
            raise ConfigError(f"{where}: required field missing: {missing}") from error

    return read


def _field(where: str, name: str, value: Any, read: Read) -> Any:
    try:
        return read(value)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}.{name}: {error}") from error
