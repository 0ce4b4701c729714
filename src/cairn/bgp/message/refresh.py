"""ROUTE-REFRESH: a request for a family's routes, or a mark around the answer.

    AFI:u16 subtype:u8 SAFI:u8  <->  Refresh

Standards   RFC 2918 s3; RFC 7313 s3.2 (the reserved octet became the subtype)
"""

from dataclasses import dataclass
from enum import IntEnum

from cairn.bgp.error import ErrorCode, RefreshError, Violation
from cairn.bgp.family import Family
from cairn.wire import Reader, Writer

BODY_BYTES = 4


class RefreshType(IntEnum):
    """What a ROUTE-REFRESH means."""

    REQUEST = 0
    BEGIN = 1
    END = 2


@dataclass(frozen=True, slots=True)
class Refresh:
    """One ROUTE-REFRESH."""

    family: Family
    """Of which family."""
    subtype: int = RefreshType.REQUEST
    """RefreshType; others are ignored by the receiver (RFC 7313 s5)."""


def read_refresh(body: bytes) -> Refresh:
    """Return the message; raises Violation unless it has four octets.

    A longer one may carry route filters (RFC 5291), which we never announce.
    """
    if len(body) != BODY_BYTES:
        found = f"ROUTE-REFRESH of {len(body)} octets"
        raise Violation(ErrorCode.ROUTE_REFRESH, RefreshError.INVALID_MESSAGE_LENGTH, found, at=0)
    wire = Reader(body)
    afi = wire.u16()
    subtype = wire.u8()
    return Refresh(Family(afi, wire.u8()), subtype)


def write_refresh(value: Refresh) -> bytes:
    """Return the body."""
    return Writer().u16(value.family.afi).u8(value.subtype).u8(value.family.safi).done()
