"""ARP for IPv4 on Ethernet: probes, announcements, and what others claim.

    Arp  <->  one Ethernet frame

Invariants  What is read is an Arp or Malformed, whatever the octets were.
Standards   RFC 826; RFC 5227 s1.1 (probe: sender 0.0.0.0; announcement: sender is target), s2.3
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from cairn.wire import Malformed, Reader, Writer

ETHERTYPE = 0x0806
BROADCAST = b"\xff" * 6
NOBODY = b"\0" * 6
UNSPECIFIED = IPv4Address(0)
_FORM = (1, 0x0800, 6, 4)
"""Ethernet, IPv4, and the lengths of their addresses."""


class Operation(IntEnum):
    """What a packet is."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP packet for IPv4."""

    operation: int
    """Of Operation; others are read and mean nothing here."""
    sender_mac: bytes
    """Ethernet address of the sender."""
    sender: IPv4Address
    """Address that the sender claims; 0.0.0.0 in a probe."""
    target_mac: bytes
    """Zero where it is asked for."""
    target: IPv4Address
    """Address that is asked about."""

    @property
    def claim(self) -> tuple[IPv4Address, bytes] | None:
        """The address that the sender says is its own, and its Ethernet address."""
        if self.sender == UNSPECIFIED or self.operation not in tuple(Operation):
            return None
        return self.sender, self.sender_mac


def read_arp(frame: bytes) -> Arp:
    """Return the ARP packet of an Ethernet frame; raises Malformed."""
    wire = Reader(frame)
    wire.take(12)
    if (ethertype := wire.u16()) != ETHERTYPE:
        raise Malformed(f"Ethernet type {ethertype:#06x}, expected {ETHERTYPE:#06x}", at=12)
    form = wire.u16(), wire.u16(), wire.u8(), wire.u8()
    if form != _FORM:
        raise Malformed(f"hardware, protocol and lengths {form}, expected {_FORM}", at=14)
    operation = wire.u16()
    sender_mac, sender = wire.take(6), IPv4Address(wire.take(4))
    target_mac, target = wire.take(6), IPv4Address(wire.take(4))
    return Arp(operation, sender_mac, sender, target_mac, target)


def write_arp(packet: Arp, *, destination: bytes = BROADCAST) -> bytes:
    """Return the frame, from the sender to `destination`."""
    wire = Writer().put(destination).put(packet.sender_mac).u16(ETHERTYPE)
    wire.u16(_FORM[0]).u16(_FORM[1]).u8(_FORM[2]).u8(_FORM[3]).u16(packet.operation)
    wire.put(packet.sender_mac).put(packet.sender.packed)
    return wire.put(packet.target_mac).put(packet.target.packed).done()


def probe(address: IPv4Address, mac: bytes) -> bytes:
    """Return the frame that asks who has `address`, claiming nothing (RFC 5227 s2.1.1)."""
    return write_arp(Arp(Operation.REQUEST, mac, UNSPECIFIED, NOBODY, address))


def announcement(address: IPv4Address, mac: bytes) -> bytes:
    """Return the frame that tells everyone that `mac` has `address` now (RFC 5227 s2.3)."""
    return write_arp(Arp(Operation.REQUEST, mac, address, NOBODY, address))
