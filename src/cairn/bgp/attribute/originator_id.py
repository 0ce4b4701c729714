"""Attribute 9, ORIGINATOR_ID: who brought the route into the autonomous system.

    4 octets  <->  IPv4Address

Standards   RFC 4456 s8; RFC 7606 s7.9
"""

from ipaddress import IPv4Address

from cairn.bgp.attribute.kind import OPTIONAL_NON_TRANSITIVE, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader


def read_originator_id(wire: Reader, negotiated: Negotiated) -> IPv4Address:
    """Read a BGP identifier."""
    return IPv4Address(wire.take(4))


def write_originator_id(value: IPv4Address, negotiated: Negotiated) -> bytes:
    """Return the identifier."""
    return value.packed


KIND = AttributeKind(
    code=9,
    name="ORIGINATOR_ID",
    field="originator_id",
    flags=OPTIONAL_NON_TRANSITIVE,
    read=read_originator_id,
    write=write_originator_id,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 4456 s8",
    ibgp_only=True,
)
