"""Attribute 5, LOCAL_PREF: how much an autonomous system prefers the route, the higher.

    u32  <->  int

Standards   RFC 4271 s5.1.5; RFC 7606 s7.5
"""

from cairn.bgp.attribute.kind import WELL_KNOWN, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer


def read_local_pref(wire: Reader, negotiated: Negotiated) -> int:
    """Read four octets."""
    return wire.u32()


def write_local_pref(value: int, negotiated: Negotiated) -> bytes:
    """Return four octets."""
    return Writer().u32(value).done()


KIND = AttributeKind(
    code=5,
    name="LOCAL_PREF",
    field="local_pref",
    flags=WELL_KNOWN,
    read=read_local_pref,
    write=write_local_pref,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.ATTRIBUTE_LENGTH_ERROR,
    spec="RFC 4271 s5.1.5",
    ibgp_only=True,
)
