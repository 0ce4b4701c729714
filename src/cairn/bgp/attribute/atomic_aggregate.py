"""Attribute 6, ATOMIC_AGGREGATE: an aggregate whose path lost some autonomous systems.

    no octets  <->  True

Standards   RFC 4271 s5.1.6; RFC 7606 s7.6
"""

from cairn.bgp.attribute.kind import WELL_KNOWN, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader


def read_atomic_aggregate(wire: Reader, negotiated: Negotiated) -> bool:
    """Return True: being there is all it says."""
    return True


def write_atomic_aggregate(value: bool, negotiated: Negotiated) -> bytes:
    """Return no octets."""
    return b""


KIND = AttributeKind(
    code=6,
    name="ATOMIC_AGGREGATE",
    field="atomic_aggregate",
    flags=WELL_KNOWN,
    read=read_atomic_aggregate,
    write=write_atomic_aggregate,
    on_error=Treatment.DISCARD_ATTRIBUTE,
    subcode=UpdateError.ATTRIBUTE_LENGTH_ERROR,
    spec="RFC 4271 s5.1.6",
)
