"""The BFD Control packet.

    ControlPacket  <->  24 octets

Units       intervals in microseconds, as on the wire
Invariants  What is read is a ControlPacket or Malformed, whatever the octets were.
Standards   RFC 5880 s4.1; the checks of s6.8.6 that need no session
Not here    Authentication sections: their length is checked, their content is not kept.
"""

from dataclasses import dataclass
from enum import IntEnum

from cairn.wire import Malformed, Reader, Writer

VERSION = 1
LENGTH_BYTES = 24
SHORTEST_AUTHENTICATION_BYTES = 2

POLL, FINAL, INDEPENDENT, AUTHENTICATED, DEMAND, MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01


class State(IntEnum):
    """State of a session (bfd.SessionState)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def text(self) -> str:
        """The state as people write it."""
        return self.name.lower().replace("_", "-")


class Diagnostic(IntEnum):
    """Why a session last left Up (RFC 5880 s4.1); values of no name here stay plain numbers."""

    NONE = 0
    DETECTION_TIME_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOUR_SIGNALED_DOWN = 3
    FORWARDING_PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One packet."""

    state: State
    """The sender's state."""
    my_discriminator: int
    """The sender's number for the session; never 0."""
    your_discriminator: int = 0
    """The receiver's number for it; 0 while the sender does not know it."""
    diagnostic: int = 0
    """Why the sender last left Up, of Diagnostic or a value of five bits that has no name yet."""
    detect_multiplier: int = 3
    """How many intervals without a packet mean that the sender is gone."""
    desired_min_tx_us: int = 1_000_000
    """Shortest interval at which the sender would like to send."""
    required_min_rx_us: int = 1_000_000
    """Shortest interval that the sender can receive; 0: it wants no packets."""
    required_min_echo_rx_us: int = 0
    """The same for Echo packets; 0: none."""
    poll: bool = False
    """The sender asks for an answer with `final`."""
    final: bool = False
    """This answers a poll."""
    control_plane_independent: bool = False
    """The sender's BFD outlives its control plane."""
    authenticated: bool = False
    """An authentication section follows."""
    demand: bool = False
    """The sender wants no periodic packets while both are Up."""


def read_packet(data: bytes) -> ControlPacket:
    """Return the packet that a datagram holds; raises Malformed."""
    wire = Reader(data)
    first, flags = wire.u8(), wire.u8()
    multiplier, length = wire.u8(), wire.u8()
    mine, yours = wire.u32(), wire.u32()
    intervals = wire.u32(), wire.u32(), wire.u32()
    if first >> 5 != VERSION:
        raise Malformed(f"version {first >> 5}, expected {VERSION}", at=0)
    authenticated = bool(flags & AUTHENTICATED)
    shortest = LENGTH_BYTES + (SHORTEST_AUTHENTICATION_BYTES if authenticated else 0)
    if not shortest <= length <= len(data):
        raise Malformed(f"length {length}, expected {shortest} to {len(data)}", at=3)
    if multiplier == 0:
        raise Malformed("detect multiplier 0", at=2)
    if flags & MULTIPOINT:
        raise Malformed("the Multipoint bit is set", at=1)
    if mine == 0:
        raise Malformed("my discriminator 0", at=4)
    return ControlPacket(
        state=State(flags >> 6),
        my_discriminator=mine,
        your_discriminator=yours,
        diagnostic=first & 0x1F,
        detect_multiplier=multiplier,
        desired_min_tx_us=intervals[0],
        required_min_rx_us=intervals[1],
        required_min_echo_rx_us=intervals[2],
        poll=bool(flags & POLL),
        final=bool(flags & FINAL),
        control_plane_independent=bool(flags & INDEPENDENT),
        authenticated=authenticated,
        demand=bool(flags & DEMAND),
    )


def write_packet(packet: ControlPacket) -> bytes:
    """Return the packet's octets; ours carry no authentication section."""
    if packet.authenticated:
        raise ValueError("an authentication section cannot be written")
    flags = (
        packet.state << 6
        | POLL * packet.poll
        | FINAL * packet.final
        | INDEPENDENT * packet.control_plane_independent
        | DEMAND * packet.demand
    )
    return (
        Writer()
        .u8(VERSION << 5 | packet.diagnostic)
        .u8(flags)
        .u8(packet.detect_multiplier)
        .u8(LENGTH_BYTES)
        .u32(packet.my_discriminator)
        .u32(packet.your_discriminator)
        .u32(packet.desired_min_tx_us)
        .u32(packet.required_min_rx_us)
        .u32(packet.required_min_echo_rx_us)
        .done()
    )
