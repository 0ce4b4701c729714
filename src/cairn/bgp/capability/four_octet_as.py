"""Capability 65: autonomous system numbers of four octets, and the speaker's own.

    ASN:u32  <->  FourOctetAs

Standards   RFC 6793 s3
"""

from dataclasses import dataclass

from cairn.bgp.capability.kind import CapabilityKind
from cairn.wire import Reader, Writer

AS_TRANS = 23456
"""What stands where a number of four octets does not fit (RFC 6793 s9)."""
MAX_TWO_OCTET_ASN = 0xFFFF


@dataclass(frozen=True, slots=True)
class FourOctetAs:
    """Numbers of four octets are understood."""

    asn: int
    """The speaker's own number."""

    def __str__(self) -> str:
        return "four-octet AS"


def read_four_octet_as(wire: Reader) -> FourOctetAs:
    """Read the speaker's number."""
    return FourOctetAs(wire.u32())


def write_four_octet_as(value: FourOctetAs) -> bytes:
    """Return the capability's contents."""
    return Writer().u32(value.asn).done()


def two_octet_asn(asn: int) -> int:
    """Return `asn`, or AS_TRANS if it needs four octets."""
    return asn if asn <= MAX_TWO_OCTET_ASN else AS_TRANS


KIND = CapabilityKind(
    code=65,
    name="four-octet AS",
    type=FourOctetAs,
    read=read_four_octet_as,
    write=write_four_octet_as,
    spec="RFC 6793 s3",
)
