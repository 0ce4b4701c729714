"""Attribute 4, MULTI_EXIT_DISC: the preferred link into an autonomous system, the lower.

    u32  <->  int

Standards   RFC 4271 s5.1.4; RFC 7606 s7.4
"""

from cairn.bgp.attribute.kind import OPTIONAL_NON_TRANSITIVE, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer


def read_med(wire: Reader, negotiated: Negotiated) -> int:
    """Read four octets."""
    return wire.u32()


def write_med(value: int, negotiated: Negotiated) -> bytes:
    """Return four octets."""
    return Writer().u32(value).done()


KIND = AttributeKind(
    code=4,
    name="MULTI_EXIT_DISC",
    field="med",
    flags=OPTIONAL_NON_TRANSITIVE,
    read=read_med,
    write=write_med,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.ATTRIBUTE_LENGTH_ERROR,
    spec="RFC 4271 s5.1.4",
)
