"""Build packets octet by octet, with checksums that a receiver would accept.

ethernet() + ip4(…, udp(…))  ->  a frame
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

TCP, UDP, ICMP, ICMP6, SCTP, GRE = 6, 17, 1, 58, 132, 47
IP4, IP6 = 0x0800, 0x86DD
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


def ip6(
    payload: bytes,
    *,
    source: str,
    destination: str,
    protocol: int,
    ttl: int = 64,
    extensions: bytes = b"",
    first: int | None = None,
) -> bytes:
    """Return an IPv6 packet; `extensions` are whole headers, the first of kind `first`."""
    head = struct.pack(
        "!IHBB16s16s",
        0x60000000,
        len(extensions) + len(payload),
        protocol if first is None else first,
        ttl,
        IPv6Address(source).packed,
        IPv6Address(destination).packed,
    )
    return head + extensions + payload


def fragment6(protocol: int, offset: int, *, more: bool, identity: int = 7) -> bytes:
    """Return a fragment header (RFC 8200 s4.5); `offset` in octets, a multiple of eight."""
    return struct.pack("!BBHI", protocol, 0, offset | more, identity)


def pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    """Return the pseudo header that a transport checksum covers (RFC 9293 s3.1, RFC 8200 s8.1)."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if ip_address(source).version == 6:
        return ends + struct.pack("!II", length, protocol)
    return ends + struct.pack("!BBH", 0, protocol, length)


def tcp(
    source: tuple[str, int], destination: tuple[str, int], flags: int, payload: bytes = b""
) -> bytes:
    """Return a TCP segment."""
    head = struct.pack("!HHIIBBHHH", source[1], destination[1], 1, 0, 0x50, flags, 8192, 0, 0)
    whole = pseudo(source[0], destination[0], TCP, len(head) + len(payload)) + head + payload
    return head[:16] + struct.pack("!H", checksum(whole)) + head[18:] + payload


def udp(source: tuple[str, int], destination: tuple[str, int], payload: bytes = b"data") -> bytes:
    """Return a UDP datagram."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", source[1], destination[1], length, 0)
    whole = pseudo(source[0], destination[0], UDP, length) + head + payload
    return head[:6] + struct.pack("!H", checksum(whole)) + payload


def icmp(kind: int, code: int = 0, rest: bytes = b"\0\1\0\1ping") -> bytes:
    """Return an ICMP message."""
    head = struct.pack("!BBH", kind, code, 0)
    return head[:2] + struct.pack("!H", checksum(head + rest)) + rest


def icmp6(source: str, destination: str, kind: int, code: int = 0, rest: bytes = b"") -> bytes:
    """Return an ICMPv6 message; its checksum covers the addresses (RFC 4443 s2.3)."""
    rest = rest or b"\0\1\0\1ping"
    head = struct.pack("!BBH", kind, code, 0)
    whole = pseudo(source, destination, ICMP6, 4 + len(rest)) + head + rest
    return head[:2] + struct.pack("!H", checksum(whole)) + rest


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
    """Return the fields of a frame and check its checksums; no IPv6 extension headers."""
    if frame[12:14] == struct.pack("!H", IP6):
        length, protocol, ttl = struct.unpack_from("!HBB", frame, 18)
        source, destination = (str(IPv6Address(frame[at : at + 16])) for at in (22, 38))
        l4, good = frame[54 : 54 + length], True
    else:
        header = (frame[14] & 15) * 4
        total = struct.unpack_from("!H", frame, 16)[0]
        protocol, ttl, l4 = frame[23], frame[22], frame[14 + header : 14 + total]
        source, destination = (str(IPv4Address(frame[at : at + 4])) for at in (26, 30))
        good = checksum(frame[14 : 14 + header]) == 0
    covered = l4 if protocol == ICMP else pseudo(source, destination, protocol, len(l4)) + l4
    bare = protocol in (ICMP, ICMP6)
    one, two = (0, 0) if bare else struct.unpack_from("!HH", l4)
    good = good and checksum(covered) == 0
    return Read(frame[6:12], frame[:6], source, destination, one, two, ttl, good)
