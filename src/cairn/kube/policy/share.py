"""Equal parts of policies as one object: thirty thousand policies say much the same.

    value  ->  the equal value that was seen first, as long as it is remembered

Cost        one hash of the value; half the memory of many policies
"""

from functools import lru_cache
from typing import TypeVar, cast

REMEMBERED = 1 << 15

T = TypeVar("T")


def share(value: T) -> T:
    """Return an equal value, most often one that others hold already."""
    return cast(T, _first(value))


@lru_cache(maxsize=REMEMBERED, typed=True)
def _first(value: object) -> object:
    return value
