"""ARP and ND frames: what is written reads back, and any octets are read or Malformed."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from cairn.ethernet import arp, nd
from cairn.ethernet.claim import Claim, claim_of
from cairn.wire import Malformed

MACS = st.binary(min_size=6, max_size=6)
V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
ARPS = st.builds(arp.Arp, st.integers(0, 65535), MACS, V4, MACS, V4)


@given(ARPS, MACS, st.binary(max_size=18))
def test_arp_round_trip_with_padding(packet: arp.Arp, to: bytes, padding: bytes) -> None:
    frame = arp.write_arp(packet, destination=to)
    assert frame[:6] == to
    assert arp.read_arp(frame + padding) == packet


@given(V6, MACS, V6, st.binary(max_size=8))
def test_advertisement_round_trip(
    target: IPv6Address, mac: bytes, source: IPv6Address, padding: bytes
) -> None:
    frame = nd.announcement(target, mac, source)
    assert nd.read_nd(frame + padding) == nd.Advertisement(target, mac)
    assert claim_of(frame) == Claim(target, mac)


@given(V6, MACS)
def test_solicitation_round_trip(target: IPv6Address, mac: bytes) -> None:
    frame = nd.probe(target, mac)
    assert nd.read_nd(frame) == nd.Solicitation(nd.UNSPECIFIED, target)
    assert claim_of(frame) is None


@given(st.binary(max_size=120), st.sampled_from((b"", b"\x08\x06", b"\x86\xdd")))
def test_any_octets_claim_something_or_nothing(octets: bytes, ethertype: bytes) -> None:
    frame = octets[:12] + ethertype + octets[12:]
    for read in (arp.read_arp, nd.read_nd):
        try:
            read(frame)
        except Malformed:
            assert claim_of(frame) is None or read is not _reader(frame)
    claim_of(frame)


def _reader(frame: bytes) -> object:
    return arp.read_arp if frame[12:14] == b"\x08\x06" else nd.read_nd


@given(st.integers(14, 85), st.integers(1, 255))
def test_an_advertisement_with_a_flipped_octet_claims_nothing_else(at: int, flip: int) -> None:
    target, mac = IPv6Address("fd00::1"), b"\x02\0\0\0\0\x01"
    frame = bytearray(nd.announcement(target, mac, IPv6Address("fd00::9")))
    frame[at] ^= flip
    # Version, traffic class and flow label are in no checksum.
    assert claim_of(bytes(frame)) in (None, Claim(target, mac))


# By hand from RFC 826's figure and RFC 5227 s1.1: 02:…:01 asks who has 192.168.1.100.
PROBE = bytes.fromhex(
    "ffffffffffff 020000000001 0806 0001 0800 06 04 0001020000000001 00000000 000000000000 c0a80164"
)
# By hand from RFC 4861 s4.4: fd00::9 tells ff02::1 that 02:…:01 has fd00::64, override set.
ADVERTISEMENT = bytes.fromhex(
    "333300000001 020000000001 86dd 60000000 0020 3a ff"
    "fd000000000000000000000000000009 ff020000000000000000000000000001"
    "88 00 0000 20000000 fd000000000000000000000000000064 0201 020000000001"
)


def test_frames_of_the_standards() -> None:
    mac = b"\x02\0\0\0\0\x01"
    assert arp.probe(IPv4Address("192.168.1.100"), mac) == PROBE
    assert arp.read_arp(PROBE).claim is None
    # The checksum is left out: kernels take what we send (tests/netns/test_l2_segment.py).
    told = nd.announcement(IPv6Address("fd00::64"), mac, IPv6Address("fd00::9"))
    assert told[:56] == ADVERTISEMENT[:56]
    assert told[58:] == ADVERTISEMENT[58:]
    assert nd.solicited_node(IPv6Address("2001:db8::12:3456:789a")) == IPv6Address(
        "ff02::1:ff56:789a"
    )


def test_announcements_claim_and_probes_do_not() -> None:
    address, mac = IPv4Address("192.168.1.100"), b"\x02\0\0\0\0\x01"
    assert claim_of(arp.announcement(address, mac)) == Claim(address, mac)
    reply = arp.Arp(arp.Operation.REPLY, mac, address, b"\x02" * 6, IPv4Address(0))
    assert claim_of(arp.write_arp(reply)) == Claim(address, mac)
    reverse = arp.Arp(3, mac, address, mac, address)
    assert claim_of(arp.write_arp(reverse)) is None
