"""The descriptor of a capability, and the value of one that nobody here knows.

code, octets  ->  CapabilityKind.read  ->  value  ->  CapabilityKind.write  ->  octets
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cairn.wire import Reader


@dataclass(frozen=True, slots=True)
class CapabilityKind:
    """One row of the table of capabilities."""

    code: int
    """The number IANA gave it."""
    name: str
    """What its standard calls it."""
    type: type
    """Class of its values."""
    read: Callable[[Reader], Any]
    """Octets of one capability to its value; raises Malformed."""
    write: Callable[[Any], bytes]
    """The inverse of `read`."""
    spec: str
    """Where it is defined."""


@dataclass(frozen=True, slots=True)
class UnknownCapability:
    """A capability that is kept but not understood."""

    code: int
    """The number it came with."""
    octets: bytes
    """Its contents."""

    def __str__(self) -> str:
        return f"capability {self.code}"
