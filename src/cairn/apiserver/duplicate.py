"""A copy of a JSON value that shares nothing with it.

    decoded JSON  ->  decoded JSON

Cost        About a fifth of copy.deepcopy, which looks for cycles and other types that JSON cannot
            hold: every write passes here several times.
"""

from typing import TypeVar, cast

T = TypeVar("T")


def duplicate(value: T) -> T:
    """Return a deep copy of a JSON value."""
    if isinstance(value, dict):
        return cast(T, {key: duplicate(item) for key, item in value.items()})
    if isinstance(value, list):
        return cast(T, [duplicate(item) for item in value])
    return value
