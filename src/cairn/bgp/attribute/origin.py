"""Attribute 1, ORIGIN: how the route came into BGP.

    u8  <->  Origin

Standards   RFC 4271 s4.3 a, s5.1.1; RFC 7606 s7.1
"""

from enum import IntEnum

from cairn.bgp.attribute.kind import WELL_KNOWN, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Malformed, Reader, Writer


class Origin(IntEnum):
    """The origins; the lower is preferred."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2

    @property
    def letter(self) -> str:
        """Return the origin as routers print it: i, e or ?."""
        return "ie?"[self]


def read_origin(wire: Reader, negotiated: Negotiated) -> Origin:
    """Read one octet; raises Malformed above 2."""
    start = wire.at
    value = wire.u8()
    if value > Origin.INCOMPLETE:
        raise Malformed(f"origin {value}", at=start)
    return Origin(value)


def write_origin(value: Origin, negotiated: Negotiated) -> bytes:
    """Return one octet."""
    return Writer().u8(value).done()


KIND = AttributeKind(
    code=1,
    name="ORIGIN",
    field="origin",
    flags=WELL_KNOWN,
    read=read_origin,
    write=write_origin,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.INVALID_ORIGIN_ATTRIBUTE,
    spec="RFC 4271 s5.1.1",
)
