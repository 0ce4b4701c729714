"""Attribute 14, MP_REACH_NLRI: reachable prefixes of any family, with their next hop.

    AFI:u16 SAFI:u8 length:u8 next hop, reserved:u8, prefixes  <->  MpReach

Invariants  A family that was not negotiated is named in the value, but its prefixes are not read.
Standards   RFC 4760 s3; RFC 2545 s3 (IPv6: global address, with the link-local one behind it
            on a shared link); RFC 7606 s7.11
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from cairn.bgp.attribute.kind import OPTIONAL_NON_TRANSITIVE, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.family import Family, read_family, write_family
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.nlri.table import BY_FAMILY
from cairn.bgp.treatment import Treatment
from cairn.net import Address, Network
from cairn.wire import Malformed, Reader, Writer

IPV6_BYTES = 16


@dataclass(frozen=True, slots=True)
class MpReach:
    """Reachable prefixes of one family."""

    family: Family
    """Which."""
    next_hop: Address | None
    """Where packets go; None for a family that was not negotiated."""
    prefixes: tuple[Network, ...]
    """What is reachable."""
    link_local: IPv6Address | None = None
    """The next hop's link-local address, if it was given too."""


def read_mp_reach(wire: Reader, negotiated: Negotiated) -> MpReach:
    """Read one family's prefixes and their next hop."""
    family = read_family(wire)
    start = wire.at
    hop = wire.sub(wire.u8())
    wire.u8()
    kind = BY_FAMILY.get(family)
    if kind is None or family not in negotiated.families:
        wire.rest()
        return MpReach(family, None, ())
    link_local: IPv6Address | None = None
    octets = hop.rest()
    if kind.address_bytes == IPV6_BYTES and len(octets) == 2 * IPV6_BYTES:
        link_local = IPv6Address(octets[IPV6_BYTES:])
    elif len(octets) != kind.address_bytes:
        raise Malformed(f"next hop of {len(octets)} octets", at=start)
    return MpReach(family, ip_address(octets[: kind.address_bytes]), kind.read(wire), link_local)


def write_mp_reach(value: MpReach, negotiated: Negotiated) -> bytes:
    """Return the attribute's contents."""
    hop = value.next_hop.packed if value.next_hop else b""
    hop += value.link_local.packed if value.link_local else b""
    out = Writer().put(write_family(value.family)).u8(len(hop)).put(hop).u8(0)
    kind = BY_FAMILY.get(value.family)
    return out.put(b"".join(kind.write(value.prefixes)) if kind else b"").done()


KIND = AttributeKind(
    code=14,
    name="MP_REACH_NLRI",
    field="",
    flags=OPTIONAL_NON_TRANSITIVE,
    read=read_mp_reach,
    write=write_mp_reach,
    on_error=Treatment.SESSION_RESET,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 4760 s3",
)
