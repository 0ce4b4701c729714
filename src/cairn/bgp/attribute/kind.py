"""The descriptor of a path attribute: its code, flags, codec and what an error in it leads to.

    octets, Negotiated  ->  AttributeKind.read  ->  value  ->  AttributeKind.write  ->  octets

Standards   RFC 4271 s4.3 (flags); RFC 7606 s3, s7 (error handling)
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Malformed, Reader


class Flag(IntFlag):
    """The high bits of an attribute's first octet."""

    OPTIONAL = 0x80
    TRANSITIVE = 0x40
    PARTIAL = 0x20
    EXTENDED_LENGTH = 0x10


WELL_KNOWN = Flag.TRANSITIVE
OPTIONAL_TRANSITIVE = Flag.OPTIONAL | Flag.TRANSITIVE
OPTIONAL_NON_TRANSITIVE = Flag.OPTIONAL


@dataclass(frozen=True, slots=True)
class AttributeKind:
    """One row of the table of attributes."""

    code: int
    """The number IANA gave it."""
    name: str
    """What its standard calls it."""
    field: str
    """Field of Attributes that holds it; empty for those that only UPDATE itself reads."""
    flags: Flag
    """What the optional and transitive bits must be."""
    read: Callable[[Reader, Negotiated], Any]
    """Octets of one attribute to its value; raises Malformed."""
    write: Callable[[Any, Negotiated], bytes]
    """The inverse of `read`."""
    on_error: Treatment
    """What an error in it leads to."""
    subcode: UpdateError
    """What RFC 4271 calls the error."""
    spec: str
    """Where it is defined."""
    ibgp_only: bool = False
    """From an external peer it is discarded (RFC 7606 s7.5, s7.9, s7.10)."""


@dataclass(frozen=True, slots=True, order=True)
class UnknownAttribute:
    """An optional transitive attribute that is kept and passed on, but not understood."""

    code: int
    """The number it came with."""
    octets: bytes
    """Its contents."""
    partial: bool = True
    """Some speaker on the way, we among them, did not understand it."""


def read_items(wire: Reader, item_bytes: int) -> list[bytes]:
    """Return the items of a list attribute, which must be neither empty nor uneven."""
    if wire.left == 0 or wire.left % item_bytes:
        raise Malformed(f"length {wire.left}, no multiple of {item_bytes}", at=wire.at)
    data = wire.rest()
    return [data[at : at + item_bytes] for at in range(0, len(data), item_bytes)]
