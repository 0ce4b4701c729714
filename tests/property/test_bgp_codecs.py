"""Any octets give a value or Malformed, for every codec; and what is written is read back."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cairn.bgp.attribute.aggregator import Aggregator
from cairn.bgp.attribute.as4 import merge_as4
from cairn.bgp.attribute.as_path import AsPath, Segment, SegmentType
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.communities import Community
from cairn.bgp.attribute.extended_communities import ExtendedCommunity, link_bandwidth
from cairn.bgp.attribute.kind import AttributeKind, UnknownAttribute
from cairn.bgp.attribute.large_communities import LargeCommunity
from cairn.bgp.attribute.origin import Origin
from cairn.bgp.attribute.table import ALL as ATTRIBUTES
from cairn.bgp.attribute.table import BY_CODE
from cairn.bgp.capability.four_octet_as import FourOctetAs
from cairn.bgp.capability.graceful_restart import GracefulRestart, PreservedFamily
from cairn.bgp.capability.kind import CapabilityKind, UnknownCapability
from cairn.bgp.capability.multiprotocol import Multiprotocol
from cairn.bgp.capability.table import ALL as CAPABILITIES
from cairn.bgp.capability.table import BY_CODE as CAPABILITY_BY_CODE
from cairn.bgp.capability.table import read_capabilities
from cairn.bgp.error import Cease
from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST, Family
from cairn.bgp.framing import HEADER_BYTES, MARKER, Framer
from cairn.bgp.message.notification import read_notification, shutdown
from cairn.bgp.message.open import Open, read_open, write_open
from cairn.bgp.message.refresh import read_refresh
from cairn.bgp.message.update import (
    read_update,
    write_announcements,
    write_end_of_rib,
    write_withdrawals,
)
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.nlri.kind import NlriKind
from cairn.bgp.nlri.table import ALL as NLRI
from cairn.wire import Malformed, Reader


def session(*, as4: bool, ibgp: bool, extended: bool = False) -> Negotiated:
    return Negotiated(
        local_asn=64512,
        remote_asn=64512 if ibgp else 64513,
        remote_id=IPv4Address("192.168.1.10"),
        hold_time_s=90,
        families=frozenset({IPV4_UNICAST, IPV6_UNICAST}),
        four_octet_as=as4,
        extended_message=extended,
        route_refresh=True,
        enhanced_refresh=True,
        graceful_restart=None,
        capabilities=(),
    )


SESSIONS = [session(as4=as4, ibgp=ibgp) for as4 in (True, False) for ibgp in (True, False)]
octets = st.binary(max_size=300)
sessions = st.sampled_from(SESSIONS)

READERS: dict[str, Callable[[bytes, Negotiated], Any]] = {
    "capabilities": lambda d, n: read_capabilities(Reader(d)),
    "open": lambda d, n: read_open(d),
    "update": read_update,
    "notification": lambda d, n: str(read_notification(d)),
    "refresh": lambda d, n: read_refresh(d),
}


def reader_of_attribute(kind: AttributeKind) -> Callable[[bytes, Negotiated], Any]:
    return lambda data, negotiated: kind.read(Reader(data), negotiated)


def reader_of(kind: CapabilityKind | NlriKind) -> Callable[[bytes, Negotiated], Any]:
    return lambda data, negotiated: kind.read(Reader(data))


READERS |= {f"attribute {kind.name}": reader_of_attribute(kind) for kind in ATTRIBUTES}
READERS |= {f"capability {kind.name}": reader_of(kind) for kind in CAPABILITIES}
READERS |= {f"nlri {kind.name}": reader_of(kind) for kind in NLRI}


def test_the_registries_do_not_shrink() -> None:
    assert len(READERS) >= 16 + 6 + 2 + 5


@pytest.mark.parametrize("name", sorted(READERS))
@settings(max_examples=100, deadline=None)
@given(data=octets, negotiated=sessions)
def test_any_octets_give_a_value_or_malformed(
    name: str, data: bytes, negotiated: Negotiated
) -> None:
    try:
        at, value = 0, READERS[name](data, negotiated)
    except Malformed as wrong:
        at, value = wrong.at, wrong
    assert 0 <= at <= len(data)
    assert value is not None


@st.composite
def update_like(draw: st.DrawFn) -> bytes:
    """Return octets that look like an UPDATE, so that its depths are reached."""
    parts = b""
    for _ in range(draw(st.integers(0, 5))):
        code = draw(st.one_of(st.sampled_from(sorted(BY_CODE)), st.integers(0, 255)))
        kind = BY_CODE.get(code)
        plain = st.just(int(kind.flags)) if kind else st.integers(0, 255)
        flags = draw(st.one_of(plain, st.integers(0, 255)))
        contents = draw(st.binary(max_size=24))
        size = len(contents).to_bytes(2 if flags & 0x10 else 1, "big")
        parts += bytes([flags, code]) + size + contents
    withdrawn = draw(st.binary(max_size=6))
    head = len(withdrawn).to_bytes(2, "big") + withdrawn + len(parts).to_bytes(2, "big")
    return head + parts + draw(st.binary(max_size=8))


@settings(max_examples=600, deadline=None)
@given(data=update_like(), negotiated=sessions)
def test_updates_are_total(data: bytes, negotiated: Negotiated) -> None:
    try:
        update = read_update(data, negotiated)
    except Malformed:
        return
    for part in update.reachable:
        assert part.prefixes
        written = write_announcements(part.prefixes, part.attributes, negotiated)
        again = [read_update(one, negotiated) for one in written]
        found = [p for one in again for reach in one.reachable for p in reach.prefixes]
        assert found == list(part.prefixes)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(1, 30), max_size=20))
def test_framing_is_total_and_does_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    whole, pieces = Framer(), Framer()
    stream = MARKER + b"\x00\x13\x04" + data
    whole.feed(stream)
    rest = stream
    for cut in [*cuts, len(stream)]:
        pieces.feed(rest[:cut])
        rest = rest[cut:]
    assert _frames(whole) == _frames(pieces)


def _frames(framer: Framer) -> list[str]:
    found: list[str] = []
    while True:
        try:
            frame = framer.next()
        except Malformed as wrong:
            return [*found, str(wrong)]
        if frame is None:
            return found
        found.append(repr(frame))


asns = st.integers(1, 0xFFFFFFFF)
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
segments = st.builds(
    Segment,
    st.sampled_from(SegmentType),
    st.lists(asns, min_size=1, max_size=6).map(tuple),
)
paths = st.lists(segments, max_size=3).map(lambda s: AsPath(tuple(s)))
v4_prefixes = st.builds(
    lambda a, n: IPv4Network((int(a) >> (32 - n) << (32 - n), n)), v4, st.integers(0, 32)
)
v6_prefixes = st.builds(
    lambda a, n: IPv6Network((int(a) >> (128 - n) << (128 - n), n)), v6, st.integers(0, 128)
)
attributes = st.builds(
    Attributes,
    origin=st.sampled_from(Origin),
    as_path=paths,
    next_hop=v4,
    med=st.none() | st.integers(0, 0xFFFFFFFF),
    local_pref=st.integers(0, 0xFFFFFFFF),
    atomic_aggregate=st.booleans(),
    aggregator=st.none() | st.builds(Aggregator, asns, v4),
    communities=st.lists(st.builds(Community, st.integers(0, 0xFFFFFFFF)), max_size=80).map(tuple),
    originator_id=st.none() | v4,
    cluster_list=st.lists(v4, max_size=3).map(tuple),
    extended_communities=st.lists(
        st.builds(
            ExtendedCommunity,
            st.integers(0, 255),
            st.integers(0, 255),
            st.integers(0, 2**48 - 1),
        ),
        max_size=3,
    ).map(tuple),
    large_communities=st.lists(
        st.builds(LargeCommunity, asns, asns, asns), max_size=3, unique=True
    ).map(tuple),
    unknown=st.lists(
        st.builds(UnknownAttribute, st.integers(200, 250), st.binary(max_size=300)),
        max_size=2,
        unique_by=lambda one: one.code,
    ).map(lambda found: tuple(sorted(found))),
)


@settings(max_examples=200, deadline=None)
@given(value=attributes, prefixes=st.lists(v4_prefixes, min_size=1, max_size=40, unique=True))
def test_an_announcement_is_read_back(value: Attributes, prefixes: list[IPv4Network]) -> None:
    negotiated = session(as4=True, ibgp=True)
    (body,) = write_announcements(prefixes, value, negotiated)
    update = read_update(body, negotiated)
    assert not update.findings
    (part,) = update.reachable
    assert part.attributes == value
    assert list(part.prefixes) == prefixes


@settings(max_examples=100, deadline=None)
@given(value=attributes, prefixes=st.lists(v6_prefixes, min_size=1, max_size=40), hop=v6)
def test_an_ipv6_announcement_is_read_back(
    value: Attributes, prefixes: list[IPv6Network], hop: IPv6Address
) -> None:
    negotiated = session(as4=True, ibgp=True)
    (body,) = write_announcements(prefixes, value_with_hop(value, hop), negotiated)
    update = read_update(body, negotiated)
    (part,) = update.reachable
    assert part.attributes == value_with_hop(value, hop)
    assert list(part.prefixes) == prefixes


def value_with_hop(value: Attributes, hop: IPv6Address) -> Attributes:
    fields = {name: getattr(value, name) for name in Attributes.__slots__}
    return Attributes(**{**fields, "next_hop": hop})


@settings(max_examples=150, deadline=None)
@given(path=paths, who=st.none() | st.builds(Aggregator, asns, v4))
def test_true_numbers_survive_an_old_speaker(path: AsPath, who: Aggregator | None) -> None:
    old = session(as4=False, ibgp=True)
    value = Attributes(as_path=path, aggregator=who, next_hop=IPv4Address("10.0.0.1"), local_pref=1)
    (body,) = write_announcements([IPv4Network("10.0.0.0/8")], value, old)
    (part,) = read_update(body, old).reachable
    if who is None or who.asn > 0xFFFF:
        assert part.attributes.as_path == path
    assert part.attributes.aggregator == who


@settings(max_examples=200, deadline=None)
@given(path=paths, path4=paths)
def test_a_merged_path_is_never_shorter(path: AsPath, path4: AsPath) -> None:
    assert merge_as4(path, path4).hops == path.hops


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 6000), extended=st.booleans())
def test_many_prefixes_are_packed_within_the_limit(count: int, extended: bool) -> None:
    negotiated = session(as4=True, ibgp=True, extended=extended)
    four = [IPv4Network((0x0A000000 + i, 32)) for i in range(count)]
    six = [IPv6Network(((0x20010DB8 << 96) + i, 128)) for i in range(count)]
    value = Attributes(next_hop=IPv4Address("10.0.0.1"), local_pref=100)
    hop6 = value_with_hop(value, IPv6Address("2001:db8::1"))
    bodies = write_announcements(four, value, negotiated)
    bodies += write_announcements(six, hop6, negotiated)
    gone = write_withdrawals([*four, *six], negotiated)
    room = negotiated.max_message_bytes - HEADER_BYTES
    assert max(len(one) for one in bodies + gone) <= room
    back = [read_update(one, negotiated) for one in bodies]
    assert [p for u in back for part in u.reachable for p in part.prefixes] == [*four, *six]
    lost = [read_update(one, negotiated) for one in gone]
    assert [p for u in lost for p in u.withdrawn] == [*four, *six]
    assert len(bodies) <= 2 + (count * 5 + count * 17) // (room - 100)


def test_the_end_of_rib_of_each_family() -> None:
    negotiated = session(as4=True, ibgp=True)
    for family in (IPV4_UNICAST, IPV6_UNICAST):
        assert read_update(write_end_of_rib(family, negotiated), negotiated).end_of_rib == family


families = st.builds(Family, st.integers(0, 0xFFFF), st.integers(0, 255))
unknown_codes = st.integers(0, 255).filter(lambda code: code not in CAPABILITY_BY_CODE)
capabilities = st.one_of(
    st.builds(Multiprotocol, families),
    st.builds(
        GracefulRestart,
        st.integers(0, 4095),
        st.lists(st.builds(PreservedFamily, families, forwarding=st.booleans()), max_size=4).map(
            tuple
        ),
        restarting=st.booleans(),
        notification=st.booleans(),
    ),
    st.builds(UnknownCapability, unknown_codes, st.binary(max_size=255)),
)


@settings(max_examples=200, deadline=None)
@given(
    asn=asns,
    hold_time_s=st.just(0) | st.integers(3, 0xFFFF),
    router_id=st.integers(1, 0xFFFFFFFF).map(IPv4Address),
    found=st.lists(capabilities, max_size=12),
)
def test_an_open_is_read_back(
    asn: int, hold_time_s: int, router_id: IPv4Address, found: list[Any]
) -> None:
    value = Open(asn, hold_time_s, router_id, (*found, FourOctetAs(asn)))
    assert read_open(write_open(value)) == value


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 3e38))
def test_link_bandwidth_keeps_24_bits(number: float) -> None:
    back = link_bandwidth(64512, number).bandwidth_bytes_per_s if number > 1e-37 else number
    assert back == pytest.approx(number, rel=2**-23)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_a_goodbye_fits_and_is_read(said: str) -> None:
    notification = shutdown(Cease.ADMINISTRATIVE_SHUTDOWN, said)
    assert len(notification.data) <= 256
    assert notification.communication.isprintable() or not notification.communication
