"""Frames that nobody honest sends, and what an answer to one may look like.

frames(), arps(), tagged()  ->  hypothesis strategies of whole frames
answer_faults(asked, answer)  ->  what is wrong with an answer, in words

Not here: who is asked what and how it is judged (test_hostile_packets.py).
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar

import packets
import trial
from hypothesis import strategies as st
from packets import ICMP, ICMP6, IP4, IP6, SCTP, TCP, UDP

BROADCAST, GROUP6, GROUP4 = (
    b"\xff" * 6,
    bytes.fromhex("333300000001"),
    bytes.fromhex("01005e000001"),
)
ARP, VLAN, SERVICE_VLAN = 0x0806, 0x8100, 0x88A8
EXTENSIONS = {0, 43, 44, 51, 60}
FRAGMENT, AUTHENTICATION = 44, 51
NOBODY4 = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "240.0.0.1"]
NOBODY6 = ["::", "ff02::1", "::1", f"::ffff:{trial.VIP}", f"::ffff:{trial.CLIENT}"]
PLACES4 = [
    trial.VIP,
    trial.ARP_VIP,
    trial.QUIET_VIP,
    trial.FREE,
    trial.NODE,
    trial.POD,
    trial.OTHER_POD,
]
PLACES6 = [trial.VIP6, trial.ARP_VIP6, trial.FREE6, trial.NODE6, trial.POD6, trial.OTHER_POD6]
FURTHER4 = [trial.CLIENT, trial.REMOTE_POD, trial.PEER_ADDRESS, "203.0.113.9"]
FURTHER6 = [trial.CLIENT6, trial.REMOTE_POD6, "fe80::1", "2001:db8:9::9"]
FREEST = bytes(40)
T = TypeVar("T")
PORTS = [0, 9, 80, 81, 82, 83, 84, 8080, 30080, 40000, 65535]


def _mostly(usual: T, strange: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Return a strategy that leaves most as it should be, so that programs read on."""
    return st.one_of(*[st.just(usual)] * 5, strange)


def _asked(version: int) -> st.SearchStrategy[str]:
    places = PLACES4 if version == 4 else PLACES6
    return st.one_of(st.sampled_from(places[:1]), st.sampled_from(places), _somebody(version))


def _asker(version: int) -> st.SearchStrategy[str]:
    who = (trial.CLIENT, trial.POD) if version == 4 else (trial.CLIENT6, trial.POD6)
    return st.one_of(*map(st.just, who), _somebody(version))


def _somebody(version: int) -> st.SearchStrategy[str]:
    usual, nobody = (PLACES4 + FURTHER4, NOBODY4) if version == 4 else (PLACES6 + FURTHER6, NOBODY6)
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(nobody))


@st.composite
def _segments(draw: st.DrawFn, protocol: int, source: str, destination: str) -> bytes:
    """Draw what stands behind an IP header: honest, or lying about its length."""
    ends = (source, draw(st.sampled_from(PORTS))), (destination, draw(st.sampled_from(PORTS)))
    payload = draw(st.binary(max_size=24))
    if protocol == TCP:
        whole = bytearray(packets.tcp(*ends, draw(st.integers(0, 255)), payload))
        if draw(st.booleans()):
            whole[12] = draw(st.integers(0, 255))  # data offset
        return bytes(whole)
    if protocol == UDP:
        whole = bytearray(packets.udp(*ends, payload))
        if draw(st.booleans()):
            whole[4:6] = draw(st.binary(min_size=2, max_size=2))
        return bytes(whole)
    if protocol == SCTP:
        return struct.pack("!HHII", ends[0][1], ends[1][1], 1, 0) + payload
    if protocol in (ICMP, ICMP6):
        kind = draw(
            st.sampled_from([0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 128, 129, 133, 135, 136, 255])
        )
        rest = draw(st.one_of(st.binary(min_size=4, max_size=60), _quotes(destination)))
        code = draw(st.integers(0, 15))
        if protocol == ICMP:
            return packets.icmp(kind, code, rest)
        return packets.icmp6(source, destination, kind, code, rest)
    return payload


@st.composite
def _quotes(draw: st.DrawFn, destination: str) -> bytes:
    """Draw the rest of an ICMP error: a quote that may be of the connection, cut anywhere."""
    version = ip_address(destination).version
    other = draw(_somebody(version))
    source = draw(st.sampled_from([destination, other]))
    protocol = draw(st.sampled_from([TCP, UDP, SCTP, ICMP, ICMP6, 47]))
    segment = struct.pack("!HH", *draw(st.tuples(*[st.sampled_from(PORTS)] * 2))) + bytes(4)
    if version == 4:
        options = draw(st.sampled_from([b"", FREEST]))
        fragment = draw(st.sampled_from([0, 0x2000, 185]))
        quoted = packets.ip4(
            segment,
            source=source,
            destination=other,
            protocol=protocol,
            options=options,
            fragment=fragment,
        )
    else:
        quoted = packets.ip6(segment, source=source, destination=other, protocol=protocol)
    # A solicitation has its target where an error's quote begins.
    quoted = draw(st.sampled_from([quoted, ip_address(destination).packed]))
    return bytes(4) + quoted[: draw(st.integers(0, len(quoted)))]


@st.composite
def _packets4(draw: st.DrawFn) -> bytes:
    source, destination = draw(_asker(4)), draw(_asked(4))
    protocol = draw(st.one_of(st.sampled_from([TCP, UDP, ICMP, SCTP]), st.integers(0, 255)))
    return packets.ip4(
        draw(_segments(protocol, source, destination)),
        source=source,
        destination=destination,
        protocol=protocol,
        ttl=draw(st.integers(0, 255)),
        fragment=draw(_mostly(0, st.integers(0, 0xFFFF))),
        identity=draw(st.integers(7, 9)),
        options=draw(
            st.integers(0, 10).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))
        ),
    )


@st.composite
def _chains(draw: st.DrawFn, protocol: int) -> tuple[int, bytes]:
    """Draw extension headers, which end in `protocol`; their lengths and contents may lie."""
    kinds = draw(st.lists(st.sampled_from(sorted(EXTENSIONS)), max_size=8))
    octets = b""
    for after in [*kinds[1:], protocol][: len(kinds)]:
        length = draw(st.sampled_from([0, 0, 0, 1, 255]))
        octets += bytes((after, length)) + draw(st.binary(min_size=6, max_size=6))
    return (kinds[0] if kinds else protocol), octets


@st.composite
def _packets6(draw: st.DrawFn) -> bytes:
    source, destination = draw(_asker(6)), draw(_asked(6))
    protocol = draw(st.one_of(st.sampled_from([TCP, UDP, ICMP6, SCTP]), st.integers(0, 255)))
    first, extensions = draw(_mostly((protocol, b""), _chains(protocol)))
    return packets.ip6(
        draw(_segments(protocol, source, destination)),
        source=source,
        destination=destination,
        protocol=protocol,
        first=first,
        extensions=extensions,
        ttl=draw(st.sampled_from([0, 1, 64, 255])),
    )


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw an IP packet in a frame: honest, cut, grown, or with octets of chance in it."""
    kind, packet = draw(
        st.one_of(
            *[st.tuples(st.just(IP4), _packets4())] * 3,
            *[st.tuples(st.just(IP6), _packets6())] * 3,
            st.tuples(st.sampled_from([IP4, IP6]), st.binary(max_size=80)),
        )
    )
    octets = bytearray(packet)
    for _ in range(draw(_mostly(0, st.integers(1, 3)))):
        if octets:
            octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    cut = draw(_mostly(0, st.integers(0, len(octets))))
    octets = octets[: len(octets) - cut] + bytes(draw(st.sampled_from([0, 0, 6, 40])))
    least = 20 if kind == IP4 else 40  # shorter ones the kernel refuses to try
    return packets.ethernet(
        bytes(octets).ljust(least, b"\0"),
        source=draw(_mostly(trial.POD_MAC, st.sampled_from([trial.ROUTER, trial.PEER, BROADCAST]))),
        destination=draw(_mostly(trial.UPLINK, st.sampled_from([BROADCAST, GROUP6, GROUP4]))),
        kind=kind,
    )


@st.composite
def arps(draw: st.DrawFn) -> bytes:
    """Draw ARP of any operation between anybody, cut anywhere."""
    macs = st.sampled_from([trial.ROUTER, trial.UPLINK, BROADCAST, GROUP4, bytes(6)])
    head = struct.pack(
        "!HHBBH",
        *draw(st.sampled_from([(1, 0x800, 6, 4), (1, 0x800, 8, 16), (6, 0, 0, 0)])),
        draw(st.integers(0, 4)),
    )
    ends = [draw(macs) + IPv4Address(draw(_somebody(4))).packed for _ in range(2)]
    octets = (head + b"".join(ends))[: draw(st.sampled_from([28, 28, 28, 27, 8, 1]))]
    source, destination = draw(macs), draw(st.sampled_from([BROADCAST, trial.UPLINK]))
    return packets.ethernet(octets, source=source, destination=destination, kind=ARP)


@st.composite
def tagged(draw: st.DrawFn) -> bytes:
    """Draw a frame with one VLAN tag or more, or one cut inside its tag."""
    frame = draw(frames())
    for _ in range(draw(st.integers(1, 3))):
        tag = struct.pack(
            "!HH", draw(st.sampled_from([VLAN, SERVICE_VLAN])), draw(st.integers(0, 0xFFFF))
        )
        frame = frame[:12] + tag + frame[12:]
    return frame[: draw(st.sampled_from([len(frame), 18, 16, 15]))]


def is_group(mac: bytes) -> bool:
    """Return whether an Ethernet address is a broadcast's or a group's (IEEE 802 s8.2)."""
    return bool(mac[0] & 1)


def ends(frame: bytes) -> tuple[str, str]:
    """Return source and destination of the IP packet in a frame."""
    if frame[12:14] == struct.pack("!H", IP6):
        return str(IPv6Address(frame[22:38])), str(IPv6Address(frame[38:54]))
    return str(IPv4Address(frame[26:30])), str(IPv4Address(frame[30:34]))


def upper(frame: bytes) -> tuple[int, bytes, bool]:
    """Return protocol, what it carries, and whether that is whole: no fragment, no lie."""
    if frame[12:14] != struct.pack("!H", IP6):
        header, total = (frame[14] & 15) * 4, struct.unpack_from("!H", frame, 16)[0]
        fragment = struct.unpack_from("!H", frame, 20)[0] & 0x3FFF
        return frame[23], frame[14 + header : 14 + total], not fragment
    length, protocol = struct.unpack_from("!HB", frame, 18)
    at, end, whole = 54, 54 + length, True
    while protocol in EXTENSIONS and at + 8 <= end:
        whole = whole and protocol != FRAGMENT
        octets = {FRAGMENT: 8, AUTHENTICATION: (frame[at + 1] + 2) * 4}.get(
            protocol, (frame[at + 1] + 1) * 8
        )
        protocol, at = frame[at], at + octets
    return protocol, frame[at:end], whole


def sums_are_good(frame: bytes) -> bool:
    """Return whether the IP header's and the transport's checksums are right."""
    protocol, carried, _ = upper(frame)
    is_v6 = frame[12:14] == struct.pack("!H", IP6)
    header = (frame[14] & 15) * 4
    if not is_v6 and packets.checksum(frame[14 : 14 + header]):
        return False
    covered = (
        carried
        if protocol == ICMP
        else packets.pseudo(*ends(frame), protocol, len(carried)) + carried
    )
    return packets.checksum(covered) == 0


def is_error(frame: bytes) -> bool:
    """Return whether a packet is an ICMP message that no error may be sent about."""
    protocol, carried, _ = upper(frame)
    if frame[12:14] == struct.pack("!H", IP6):
        return protocol == ICMP6 and carried[0] < 128
    return protocol == ICMP and carried[:1] != b"\x08"


def is_reset(frame: bytes) -> bool:
    """Return whether a packet is a TCP reset."""
    protocol, carried, _ = upper(frame)
    return protocol == TCP and bool(carried[13] & packets.RST)


def answer_faults(
    asked: bytes, answer: bytes, *, is_ping: bool, is_nd: bool, is_routed: bool
) -> list[str]:
    """Return what RFC 1122 s3.2.2, RFC 4443 s2.4 or RFC 9293 forbid in an answer.

    The kernel gives one that `is_routed` its Ethernet addresses after the program.
    """
    whence, where = ends(asked)
    one, two = ends(answer)
    faults = []
    source = ip_address(whence)
    nobody = source.is_multicast or source.is_unspecified or source.is_loopback
    nobody = nobody or (source.is_reserved and source.version == 4)
    if nobody and not (is_nd and source.is_unspecified):
        faults.append(f"answers {whence}, which is no host's address")
    if not is_nd and (one, two) != (where, whence):
        faults.append(f"goes from {one} to {two}")
    if is_group(asked[:6]) and not is_nd:
        faults.append("answers what was sent to all")
    to_group = is_group(answer[:6]) and not (is_nd and source.is_unspecified)
    if not is_routed and (is_group(answer[6:12]) or to_group):
        faults.append(f"has the Ethernet addresses {answer[:12].hex()}")
    if not is_ping and is_error(asked):
        faults.append("answers an error")
    if is_reset(answer) and (is_reset(asked) or not upper(asked)[2]):
        faults.append("resets a reset or a fragment")
    if (not is_ping or sums_are_good(asked)) and upper(answer)[2] and not sums_are_good(answer):
        faults.append("has bad checksums")
    return faults
