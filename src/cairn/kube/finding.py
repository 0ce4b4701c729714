"""Something in an object that is honoured, but not as its author may think.

an object's dialect or surroundings  ->  Finding(reason, message)
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about an object, with what to write instead."""

    reason: str
    """CamelCase word for machines, as conditions carry it."""
    message: str
    """What stands there, what Cairn does, what to write."""
