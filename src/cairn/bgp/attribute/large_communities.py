"""Attribute 32, LARGE_COMMUNITY: marks of twelve octets.

    ASN:u32 data:u32 data:u32, repeated  <->  tuple of LargeCommunity

Standards   RFC 8092; duplicates are dropped by the receiver (s5)
"""

from dataclasses import dataclass

from cairn.bgp.attribute.kind import OPTIONAL_TRANSITIVE, AttributeKind, read_items
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer


@dataclass(frozen=True, slots=True, order=True)
class LargeCommunity:
    """One mark."""

    asn: int
    """Global administrator."""
    first: int
    """Local data, part 1."""
    second: int
    """Local data, part 2."""

    def __str__(self) -> str:
        return f"{self.asn}:{self.first}:{self.second}"


def read_large_communities(wire: Reader, negotiated: Negotiated) -> tuple[LargeCommunity, ...]:
    """Read all marks, each once."""
    found: dict[LargeCommunity, None] = {}
    for item in read_items(wire, 12):
        parts = [int.from_bytes(item[at : at + 4], "big") for at in (0, 4, 8)]
        found[LargeCommunity(*parts)] = None
    return tuple(found)


def write_large_communities(value: tuple[LargeCommunity, ...], negotiated: Negotiated) -> bytes:
    """Return all marks, in their order."""
    out = Writer()
    for one in value:
        out.u32(one.asn).u32(one.first).u32(one.second)
    return out.done()


KIND = AttributeKind(
    code=32,
    name="LARGE_COMMUNITY",
    field="large_communities",
    flags=OPTIONAL_TRANSITIVE,
    read=read_large_communities,
    write=write_large_communities,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 8092",
)
