"""Attribute 8, COMMUNITIES: marks of four octets.

    ASN:u16 value:u16, repeated  <->  tuple of Community

Standards   RFC 1997; RFC 7606 s7.8; well-known: RFC 1997, RFC 3765, RFC 7999, RFC 8326, RFC 9494
"""

from cairn.bgp.attribute.kind import OPTIONAL_TRANSITIVE, AttributeKind, read_items
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer


class Community(int):
    """One mark; prints as its well-known name or as ASN:value."""

    __slots__ = ()

    def __str__(self) -> str:
        return NAMES.get(self, f"{self >> 16}:{self & 0xFFFF}")

    def __repr__(self) -> str:
        return f"Community({self})"


GRACEFUL_SHUTDOWN = Community(0xFFFF0000)
ACCEPT_OWN = Community(0xFFFF0001)
LLGR_STALE = Community(0xFFFF0006)
NO_LLGR = Community(0xFFFF0007)
BLACKHOLE = Community(0xFFFF029A)
NO_EXPORT = Community(0xFFFFFF01)
NO_ADVERTISE = Community(0xFFFFFF02)
NO_EXPORT_SUBCONFED = Community(0xFFFFFF03)
NO_PEER = Community(0xFFFFFF04)

NAMES: dict[int, str] = {
    GRACEFUL_SHUTDOWN: "graceful-shutdown",
    ACCEPT_OWN: "accept-own",
    LLGR_STALE: "llgr-stale",
    NO_LLGR: "no-llgr",
    BLACKHOLE: "blackhole",
    NO_EXPORT: "no-export",
    NO_ADVERTISE: "no-advertise",
    NO_EXPORT_SUBCONFED: "no-export-subconfed",
    NO_PEER: "no-peer",
}
NUMBERS = {name: Community(number) for number, name in NAMES.items()}


def parse_community(text: str) -> Community:
    """Return the community that `text` spells, by name or as ASN:value; raises ValueError."""
    if text in NUMBERS:
        return NUMBERS[text]
    high, colon, low = text.partition(":")
    if not colon or not high.isdecimal() or not low.isdecimal():
        raise ValueError(f"'{text}' is no community: write ASN:VALUE or one of {sorted(NUMBERS)}")
    if int(high) > 0xFFFF or int(low) > 0xFFFF:
        raise ValueError(f"'{text}' is no community: both parts go to 65535")
    return Community(int(high) << 16 | int(low))


def read_communities(wire: Reader, negotiated: Negotiated) -> tuple[Community, ...]:
    """Read all marks."""
    return tuple(Community(int.from_bytes(item, "big")) for item in read_items(wire, 4))


def write_communities(value: tuple[Community, ...], negotiated: Negotiated) -> bytes:
    """Return all marks, in their order."""
    out = Writer()
    for one in value:
        out.u32(one)
    return out.done()


KIND = AttributeKind(
    code=8,
    name="COMMUNITIES",
    field="communities",
    flags=OPTIONAL_TRANSITIVE,
    read=read_communities,
    write=write_communities,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 1997",
)
