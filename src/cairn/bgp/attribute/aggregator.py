"""Attribute 7, AGGREGATOR: who formed an aggregate.

    ASN:u16 or u32, identifier:4 octets  <->  Aggregator

Standards   RFC 4271 s5.1.7; RFC 6793 s4.2; RFC 7606 s7.7
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from cairn.bgp.attribute.kind import OPTIONAL_TRANSITIVE, AttributeKind
from cairn.bgp.capability.four_octet_as import two_octet_asn
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class Aggregator:
    """A speaker that formed an aggregate."""

    asn: int
    """Its autonomous system."""
    router_id: IPv4Address
    """Its BGP identifier."""


def read_aggregator(wire: Reader, negotiated: Negotiated) -> Aggregator:
    """Read number and identifier, in the width that was negotiated."""
    asn = wire.u32() if negotiated.four_octet_as else wire.u16()
    return Aggregator(asn, IPv4Address(wire.take(4)))


def write_aggregator(value: Aggregator, negotiated: Negotiated) -> bytes:
    """Return number and identifier, in the width that was negotiated."""
    out = Writer()
    if negotiated.four_octet_as:
        out.u32(value.asn)
    else:
        out.u16(two_octet_asn(value.asn))
    return out.put(value.router_id.packed).done()


KIND = AttributeKind(
    code=7,
    name="AGGREGATOR",
    field="aggregator",
    flags=OPTIONAL_TRANSITIVE,
    read=read_aggregator,
    write=write_aggregator,
    on_error=Treatment.DISCARD_ATTRIBUTE,
    subcode=UpdateError.ATTRIBUTE_LENGTH_ERROR,
    spec="RFC 4271 s5.1.7",
)
