"""Attribute 3, NEXT_HOP: where packets for an IPv4 route go.

    4 octets  <->  IPv4Address

Standards   RFC 4271 s5.1.3; RFC 7606 s7.3
Not here    whether the address makes sense for the session (cairn.bgp.rib.adj_in).
"""

from ipaddress import IPv4Address

from cairn.bgp.attribute.kind import WELL_KNOWN, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader


def read_next_hop(wire: Reader, negotiated: Negotiated) -> IPv4Address:
    """Read four octets."""
    return IPv4Address(wire.take(4))


def write_next_hop(value: IPv4Address, negotiated: Negotiated) -> bytes:
    """Return four octets."""
    return value.packed


KIND = AttributeKind(
    code=3,
    name="NEXT_HOP",
    field="next_hop",
    flags=WELL_KNOWN,
    read=read_next_hop,
    write=write_next_hop,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.INVALID_NEXT_HOP_ATTRIBUTE,
    spec="RFC 4271 s5.1.3",
)
