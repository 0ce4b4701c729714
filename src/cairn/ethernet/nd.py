"""Neighbour discovery for IPv6 on Ethernet: probes, announcements, and what others claim.

    Solicitation, Advertisement  <->  one Ethernet frame

Invariants  What is read is one of both or Malformed, whatever the octets were; a message that did
            not start on this link (hop limit below 255) or whose checksum is wrong is Malformed.
Standards   RFC 4861 s4.3, s4.4, s7.1 (validity), s7.2.6 (unsolicited); RFC 4862 s5.4.2 (probes);
            RFC 4291 s2.7.1 (solicited-node address); RFC 2464 s7 (multicast on Ethernet)
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

from cairn.wire import Malformed, Reader, Writer

ETHERTYPE = 0x86DD
ICMP6 = 58
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_LINK, TARGET_LINK = 1, 2
HOP_LIMIT = 255
OVERRIDE = 0x20000000
UNSPECIFIED = IPv6Address(0)
ALL_NODES = IPv6Address("ff02::1")
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
_IP_AT, _ICMP_AT = 14, 54


@dataclass(frozen=True, slots=True)
class Solicitation:
    """A question for an address."""

    source: IPv6Address
    """Who asks; :: in a probe."""
    target: IPv6Address
    """The address asked for."""

    @property
    def claim(self) -> tuple[IPv6Address, bytes] | None:
        """A question claims nothing."""
        return None


@dataclass(frozen=True, slots=True)
class Advertisement:
    """An answer, or an announcement that nobody asked for."""

    target: IPv6Address
    """The address."""
    mac: bytes
    """Who has it."""

    @property
    def claim(self) -> tuple[IPv6Address, bytes] | None:
        """The address that the sender says is its own, and its Ethernet address."""
        return self.target, self.mac


def solicited_node(address: IPv6Address) -> IPv6Address:
    """Return the group in which whoever has `address` listens."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)


def multicast_mac(group: IPv6Address) -> bytes:
    """Return the Ethernet address of an IPv6 group."""
    return b"\x33\x33" + group.packed[12:]


def probe(address: IPv6Address, mac: bytes) -> bytes:
    """Return the frame that asks who has `address`, claiming nothing (RFC 4862 s5.4.2)."""
    body = Writer().u32(0).put(address.packed).done()
    return _frame(mac, UNSPECIFIED, solicited_node(address), SOLICITATION, body)


def announcement(address: IPv6Address, mac: bytes, source: IPv6Address) -> bytes:
    """Return the frame that tells all nodes that `mac` has `address` now (RFC 4861 s7.2.6)."""
    body = Writer().u32(OVERRIDE).put(address.packed).u8(TARGET_LINK).u8(1).put(mac).done()
    return _frame(mac, source, ALL_NODES, ADVERTISEMENT, body)


def read_nd(frame: bytes) -> Solicitation | Advertisement:
    """Return the message of an Ethernet frame; raises Malformed."""
    wire = Reader(frame)
    wire.take(6)
    ethernet_source = wire.take(6)
    if (ethertype := wire.u16()) != ETHERTYPE:
        raise Malformed(f"Ethernet type {ethertype:#06x}, expected {ETHERTYPE:#06x}", at=12)
    wire.take(4)
    length, next_header, hop_limit = wire.u16(), wire.u8(), wire.u8()
    if next_header != ICMP6 or hop_limit != HOP_LIMIT:
        raise Malformed(
            f"next header {next_header}, hop limit {hop_limit}, expected 58, 255", at=20
        )
    source, destination = wire.take(16), wire.take(16)
    body = wire.take(length)
    if _checksum(source, destination, body):
        raise Malformed("the ICMPv6 checksum is wrong", at=_ICMP_AT + 2)
    return _message(Reader(body, base=_ICMP_AT), IPv6Address(source), ethernet_source)


def _message(
    wire: Reader, source: IPv6Address, ethernet_source: bytes
) -> Solicitation | Advertisement:
    kind, code = wire.u8(), wire.u8()
    wire.take(2 + 4)
    if kind not in (SOLICITATION, ADVERTISEMENT) or code != 0:
        raise Malformed(f"ICMPv6 type {kind} code {code} is no neighbour discovery", at=_ICMP_AT)
    target = IPv6Address(wire.take(16))
    if kind == SOLICITATION:
        return Solicitation(source, target)
    mac = ethernet_source
    while wire:
        at = wire.at
        option, units = wire.u8(), wire.u8()
        if units == 0:
            raise Malformed("an option of length 0", at=at)
        value = wire.take(8 * units - 2)
        if option == TARGET_LINK and units == 1:
            mac = value
    return Advertisement(target, mac)


def _frame(
    mac: bytes, source: IPv6Address, destination: IPv6Address, kind: int, body: bytes
) -> bytes:
    bare = bytes([kind, 0, 0, 0]) + body
    check = _checksum(source.packed, destination.packed, bare)
    wire = Writer().put(multicast_mac(destination)).put(mac).u16(ETHERTYPE)
    wire.u32(6 << 28).u16(len(bare)).u8(ICMP6).u8(HOP_LIMIT)
    wire.put(source.packed).put(destination.packed)
    return wire.u8(kind).u8(0).u16(check).put(body).done()


def _checksum(source: bytes, destination: bytes, body: bytes) -> int:
    """Return the ICMPv6 checksum, 0 for a body that holds the right one (RFC 4443 s2.3)."""
    octets = source + destination + len(body).to_bytes(4, "big") + bytes([0, 0, 0, ICMP6]) + body
    octets += b"\0" * (len(octets) % 2)
    total = sum(octets[0::2]) * 256 + sum(octets[1::2])
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
