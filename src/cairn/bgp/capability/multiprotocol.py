"""Capability 1: one address family that the speaker exchanges routes of.

    AFI:u16 reserved:u8 SAFI:u8  <->  Multiprotocol

Standards   RFC 4760 s8
"""

from dataclasses import dataclass

from cairn.bgp.capability.kind import CapabilityKind
from cairn.bgp.family import Family
from cairn.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class Multiprotocol:
    """Routes of one family are understood."""

    family: Family
    """Which."""

    def __str__(self) -> str:
        return str(self.family)


def read_multiprotocol(wire: Reader) -> Multiprotocol:
    """Read one family; the reserved octet carries no meaning."""
    afi = wire.u16()
    wire.u8()
    return Multiprotocol(Family(afi, wire.u8()))


def write_multiprotocol(value: Multiprotocol) -> bytes:
    """Return the capability's contents."""
    return Writer().u16(value.family.afi).u8(0).u8(value.family.safi).done()


KIND = CapabilityKind(
    code=1,
    name="multiprotocol",
    type=Multiprotocol,
    read=read_multiprotocol,
    write=write_multiprotocol,
    spec="RFC 4760 s8",
)
