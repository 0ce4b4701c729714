"""Attribute 15, MP_UNREACH_NLRI: withdrawn prefixes of any family.

    AFI:u16 SAFI:u8 prefixes  <->  MpUnreach

Invariants  No prefixes: the End-of-RIB marker of the family (RFC 4724 s2).
Standards   RFC 4760 s4; RFC 7606 s7.12
"""

from dataclasses import dataclass

from cairn.bgp.attribute.kind import OPTIONAL_NON_TRANSITIVE, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.family import Family, read_family, write_family
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.nlri.table import BY_FAMILY
from cairn.bgp.treatment import Treatment
from cairn.net import Network
from cairn.wire import Reader


@dataclass(frozen=True, slots=True)
class MpUnreach:
    """Withdrawn prefixes of one family."""

    family: Family
    """Which."""
    prefixes: tuple[Network, ...]
    """What is no longer reachable."""


def read_mp_unreach(wire: Reader, negotiated: Negotiated) -> MpUnreach:
    """Read one family's prefixes; those of a family that was not negotiated are skipped."""
    family = read_family(wire)
    kind = BY_FAMILY.get(family)
    if kind is None or family not in negotiated.families:
        wire.rest()
        return MpUnreach(family, ())
    return MpUnreach(family, kind.read(wire))


def write_mp_unreach(value: MpUnreach, negotiated: Negotiated) -> bytes:
    """Return the attribute's contents."""
    kind = BY_FAMILY.get(value.family)
    prefixes = kind.write(value.prefixes) if kind else []
    return write_family(value.family) + b"".join(prefixes)


KIND = AttributeKind(
    code=15,
    name="MP_UNREACH_NLRI",
    field="",
    flags=OPTIONAL_NON_TRANSITIVE,
    read=read_mp_unreach,
    write=write_mp_unreach,
    on_error=Treatment.SESSION_RESET,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 4760 s4",
)
