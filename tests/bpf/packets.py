"""Build packets octet by octet, with checksums that a receiver would accept.

ethernet() + ip4(…, udp(…))  ->  a frame
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

TCP, UDP, ICMP = 6, 17, 1
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


def checksum(octets: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(payload: bytes, *, source: bytes, destination: bytes, kind: int = 0x0800) -> bytes:
    """Return an Ethernet frame."""
    return destination + source + struct.pack("!H", kind) + payload


def ip4(
    payload: bytes,
    *,
    source: str,
    destination: str,
    protocol: int,
    ttl: int = 64,
    fragment: int = 0,
    identity: int = 7,
    options: bytes = b"",
) -> bytes:
    """Return an IPv4 packet; `fragment` is the flags and offset field."""
    words = 5 + len(options) // 4
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | words,
        0,
        words * 4 + len(payload),
        identity,
        fragment,
        ttl,
        protocol,
        0,
        IPv4Address(source).packed,
        IPv4Address(destination).packed,
    )
    head += options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def _pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    ends = IPv4Address(source).packed + IPv4Address(destination).packed
    return ends + struct.pack("!BBH", 0, protocol, length)


def tcp(
    source: tuple[str, int], destination: tuple[str, int], flags: int, payload: bytes = b""
) -> bytes:
    """Return a TCP segment."""
    head = struct.pack("!HHIIBBHHH", source[1], destination[1], 1, 0, 0x50, flags, 8192, 0, 0)
    whole = _pseudo(source[0], destination[0], TCP, len(head) + len(payload)) + head + payload
    return head[:16] + struct.pack("!H", checksum(whole)) + head[18:] + payload


def udp(source: tuple[str, int], destination: tuple[str, int], payload: bytes = b"data") -> bytes:
    """Return a UDP datagram."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", source[1], destination[1], length, 0)
    whole = _pseudo(source[0], destination[0], UDP, length) + head + payload
    return head[:6] + struct.pack("!H", checksum(whole)) + payload


def icmp(kind: int, code: int = 0, rest: bytes = b"\0\1\0\1ping") -> bytes:
    """Return an ICMP message."""
    head = struct.pack("!BBH", kind, code, 0)
    return head[:2] + struct.pack("!H", checksum(head + rest)) + rest


@dataclass(frozen=True, slots=True)
class Read:
    """What a test asserts of a frame that came out."""

    source_mac: bytes
    destination_mac: bytes
    source: str
    destination: str
    source_port: int
    destination_port: int
    ttl: int
    good: bool
    """Whether the IP and the TCP, UDP or ICMP checksum are right."""


def read(frame: bytes) -> Read:
    """Return the fields of an IPv4 frame and check its checksums."""
    header = (frame[14] & 15) * 4
    total = struct.unpack_from("!H", frame, 16)[0]
    protocol, l4 = frame[23], frame[14 + header : 14 + total]
    source, destination = (str(IPv4Address(frame[at : at + 4])) for at in (26, 30))
    covered = l4 if protocol == ICMP else _pseudo(source, destination, protocol, len(l4)) + l4
    good = checksum(frame[14 : 14 + header]) == 0 and checksum(covered) == 0
    one, two = (0, 0) if protocol == ICMP else struct.unpack_from("!HH", l4)
    return Read(frame[6:12], frame[:6], source, destination, one, two, frame[22], good)
