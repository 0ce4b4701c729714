"""Attribute 16, EXTENDED COMMUNITIES: marks of eight octets, with a type.

    type:u8 subtype:u8 value:6 octets, repeated  <->  tuple of ExtendedCommunity

Units       link bandwidth in octets per second, an IEEE single
Standards   RFC 4360; RFC 7153; RFC 7606 s7.14; draft-ietf-idr-link-bandwidth (type 0x40, subtype 4)
"""

from dataclasses import dataclass
from math import frexp, isfinite, ldexp

from cairn.bgp.attribute.kind import OPTIONAL_TRANSITIVE, AttributeKind, read_items
from cairn.bgp.capability.four_octet_as import two_octet_asn
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer

NON_TRANSITIVE = 0x40
TWO_OCTET_AS = 0x00
LINK_BANDWIDTH = 0x04
ROUTE_TARGET = 0x02
ROUTE_ORIGIN = 0x03
NAMES = {ROUTE_TARGET: "rt", ROUTE_ORIGIN: "soo"}


@dataclass(frozen=True, slots=True, order=True)
class ExtendedCommunity:
    """One mark."""

    type: int
    """High octet: how the value is laid out, and whether it crosses autonomous systems."""
    subtype: int
    """Low octet: what it means."""
    value: int
    """The other six octets."""

    def __str__(self) -> str:
        bandwidth = self.bandwidth_bytes_per_s
        if bandwidth is not None:
            return f"link-bandwidth:{self.value >> 32}:{bandwidth:.0f}"
        if self.type == TWO_OCTET_AS and self.subtype in NAMES:
            return f"{NAMES[self.subtype]}:{self.value >> 32}:{self.value & 0xFFFFFFFF}"
        return f"0x{self.type:02x}{self.subtype:02x}:0x{self.value:012x}"

    @property
    def is_transitive(self) -> bool:
        """Return whether the mark crosses autonomous systems."""
        return not self.type & NON_TRANSITIVE

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Return the link bandwidth if this mark says one."""
        if self.type & ~NON_TRANSITIVE == TWO_OCTET_AS and self.subtype == LINK_BANDWIDTH:
            return _from_single(self.value & 0xFFFFFFFF)
        return None


def link_bandwidth(asn: int, bytes_per_s: float) -> ExtendedCommunity:
    """Return the mark that says how much the link to the next hop carries."""
    value = two_octet_asn(asn) << 32 | _to_single(bytes_per_s)
    return ExtendedCommunity(NON_TRANSITIVE, LINK_BANDWIDTH, value)


def _from_single(bits: int) -> float | None:
    exponent, mantissa = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if bits >> 31 or exponent == 0xFF:
        return None  # negative, infinite or no number: no bandwidth
    if exponent == 0:
        return ldexp(mantissa, -149)
    return ldexp(mantissa | 0x800000, exponent - 150)


def _to_single(number: float) -> int:
    if not isfinite(number) or number < 0:
        raise ValueError(f"bandwidth {number} octets/s: a finite number from 0 on is needed")
    if number == 0:
        return 0
    fraction, exponent = frexp(number)
    mantissa = int(fraction * 0x1000000)
    biased = exponent + 126
    if not 0 < biased < 0xFF:
        raise ValueError(f"bandwidth {number} octets/s does not fit an IEEE single")
    return biased << 23 | mantissa & 0x7FFFFF


def read_extended_communities(
    wire: Reader, negotiated: Negotiated
) -> tuple[ExtendedCommunity, ...]:
    """Read all marks."""
    return tuple(
        ExtendedCommunity(item[0], item[1], int.from_bytes(item[2:], "big"))
        for item in read_items(wire, 8)
    )


def write_extended_communities(
    value: tuple[ExtendedCommunity, ...], negotiated: Negotiated
) -> bytes:
    """Return all marks, in their order."""
    out = Writer()
    for one in value:
        out.u8(one.type).u8(one.subtype).put(one.value.to_bytes(6, "big"))
    return out.done()


KIND = AttributeKind(
    code=16,
    name="EXTENDED_COMMUNITIES",
    field="extended_communities",
    flags=OPTIONAL_TRANSITIVE,
    read=read_extended_communities,
    write=write_extended_communities,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 4360",
)
