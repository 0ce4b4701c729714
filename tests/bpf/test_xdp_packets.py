"""Frames in, verdicts and frames out: the XDP program, alone and beside the tcx one."""

import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import packets
import pytest
import trial
import xdp_trial
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import ACK, FIN, SYN, TCP, UDP
from trial import EMPTY_PORT, LOCAL_PORT, PEER, REDIRECT, REMOTE_PORT, UPLINK
from xdp_trial import DROP, PASS, TX, XdpTrial, frame

from cairn.abi.records import EVENT
from cairn.abi.structs import (
    MAGLEV_SIZE,
    Backend,
    BackendFlag,
    Connection,
    Node,
    Point,
    RevisionFlag,
    Service,
    ServiceFlag,
    State,
    Tuple,
)
from cairn.abi.verdicts import Verdict
from cairn.libbpf import Map, MapShape, MapType
from cairn.libbpf.ring import Ring

pytestmark = pytest.mark.bpf

BOTH = pytest.mark.parametrize("version", [4, 6])
SERVICES = {4: (trial.VIP, 2), 6: (trial.VIP6, 12)}
PATIENCE_S = 5.0


@pytest.fixture
def node() -> Iterator[XdpTrial]:
    with trial.loaded() as made, xdp_trial.beside(made) as both:
        yield both


@pytest.fixture
def dropper() -> Iterator[XdpTrial]:
    with trial.loaded() as made, xdp_trial.beside(made, hand_over=False) as both:
        yield both


def known(node: XdpTrial, version: int, protocol: int = TCP) -> Connection:
    """Return the entry of the client's connection to the remote service."""
    client = ip_address(trial.CLIENT if version == 4 else trial.CLIENT6)
    vip = ip_address(SERVICES[version][0])
    held = node.maps["conntrack"].lookup(
        Tuple(client, vip, 40000, REMOTE_PORT, protocol, 0).write()
    )
    assert held is not None
    return Connection.read(held)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that time brings."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_new_flow_to_another_nodes_backend_goes_there_with_other_macs_and_is_remembered(
    node: XdpTrial, version: int, protocol: int
) -> None:
    sent = frame(REMOTE_PORT, version=version, protocol=protocol)
    run, verdict = node.judged(sent)
    assert (run.verdict, verdict) == (TX, Verdict.HANDED_OVER)
    assert run.packet == PEER + UPLINK + sent[12:]
    entry = known(node, version, protocol)
    assert (entry.packets, entry.octets) == (1, len(sent))


@BOTH
def test_what_memory_leads_on_is_told_to_conntrack(node: XdpTrial, version: int) -> None:
    node.run(frame(REMOTE_PORT, version=version))
    middle = frame(REMOTE_PORT, version=version, flags=ACK)
    for _ in range(10):
        run, verdict = node.judged(middle)
        assert (run.verdict, verdict) == (TX, Verdict.HANDED_OVER)
        assert run.packet == PEER + UPLINK + middle[12:]
    node.run(frame(REMOTE_PORT, version=version, flags=ACK | FIN))
    entry = known(node, version)
    assert (entry.packets, entry.octets) == (12, 12 * len(middle))
    assert entry.state == State.CLOSING


def test_memory_is_renewed_as_time_goes_by(node: XdpTrial) -> None:
    node.run(frame(REMOTE_PORT))
    middle = frame(REMOTE_PORT, flags=ACK)
    node.run(middle)
    seen = known(node, 4).seen_ns

    def renewed() -> bool:
        node.run(middle)
        return known(node, 4).seen_ns > seen

    until(renewed)


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_to_a_backend_here_everything_is_left_to_tcx(
    node: XdpTrial, version: int, protocol: int
) -> None:
    for flags in (SYN, ACK):
        sent = frame(LOCAL_PORT, version=version, protocol=protocol, flags=flags)
        run, verdict = node.judged(sent)
        assert (run.verdict, verdict, run.packet) == (PASS, None, sent)
    assert node.connections() == 0


def unwanted() -> dict[str, bytes]:
    """Return frames that XDP does not judge, by what is special about them."""
    ack = packets.tcp((trial.CLIENT, 40000), (trial.VIP, REMOTE_PORT), ACK)
    options = packets.ip4(
        ack, source=trial.CLIENT, destination=trial.VIP, protocol=TCP, options=b"\1" * 4
    )
    first = packets.ip4(
        ack, source=trial.CLIENT, destination=trial.VIP, protocol=TCP, fragment=0x2000
    )
    later = packets.ip4(
        ack, source=trial.CLIENT, destination=trial.VIP, protocol=TCP, fragment=0x0001
    )
    ping = packets.ip4(
        packets.icmp(8), source=trial.CLIENT, destination=trial.VIP, protocol=packets.ICMP
    )
    ack6 = packets.tcp((trial.CLIENT6, 40000), (trial.VIP6, REMOTE_PORT), ACK)
    extended = packets.ip6(
        ack6, source=trial.CLIENT6, destination=trial.VIP6, protocol=TCP,
        extensions=bytes((TCP, 0, 1, 4, 0, 0, 0, 0)), first=60,
    )  # fmt: skip
    plain = frame(REMOTE_PORT, flags=ACK)
    tag = b"\x81\0\0\5"

    def framed(packet: bytes, kind: int = packets.IP4) -> bytes:
        return packets.ethernet(packet, source=trial.ROUTER, destination=UPLINK, kind=kind)

    return {
        "options": framed(options),
        "first fragment": framed(first),
        "later fragment": framed(later),
        "ping": framed(ping),
        "extension header": framed(extended, packets.IP6),
        "VLAN tag": plain[:12] + tag + plain[12:],
        "another host's frame": frame(REMOTE_PORT, flags=ACK, own_mac=PEER),
        "broadcast": frame(REMOTE_PORT, flags=ACK, own_mac=b"\xff" * 6),
        "handed over by a peer": frame(REMOTE_PORT, flags=ACK, mac=PEER),
        "ARP": packets.ethernet(bytes(46), source=trial.ROUTER, destination=UPLINK, kind=0x0806),
        "not for a service": frame(22, to="192.0.2.7"),
        "nobody listens": frame(9),
        "no backend": frame(EMPTY_PORT),
        "longer than the frame": plain[:16] + struct.pack("!H", 1000) + plain[18:],
        "shorter than its headers": plain[:16] + struct.pack("!H", 39) + plain[18:],
        "ends in the TCP header": plain[:50],
        "another version": plain[:14] + b"\x65" + plain[15:],
    }


@pytest.mark.parametrize("what", unwanted())
def test_what_is_not_plain_is_left_to_tcx_unchanged_and_uncounted(
    node: XdpTrial, what: str
) -> None:
    sent = unwanted()[what]
    run, verdict = node.judged(sent)
    assert (run.verdict, verdict, run.packet) == (PASS, None, sent)
    assert node.connections() == 0


def test_what_a_peer_hands_over_is_never_handed_on_even_of_a_flow_in_memory(
    node: XdpTrial,
) -> None:
    node.run(frame(REMOTE_PORT))
    assert node.run(frame(REMOTE_PORT, flags=ACK)).verdict == TX
    assert node.run(frame(REMOTE_PORT, flags=ACK, mac=PEER)).verdict == PASS
    assert node.run(frame(REMOTE_PORT, flags=ACK)).verdict == TX


@BOTH
@pytest.mark.parametrize("hand_over", [True, False])
def test_a_source_on_the_deny_list_is_dropped_with_all_it_sends(
    version: int, hand_over: bool
) -> None:
    with trial.loaded() as made, xdp_trial.beside(made, hand_over=hand_over) as node:
        sent = [
            frame(REMOTE_PORT, version=version),
            frame(LOCAL_PORT, version=version, protocol=UDP),
            frame(22, version=version, to="192.0.2.7" if version == 4 else "2001:db8::7"),
        ]
        if version == 4:
            sent += [unwanted()[what] for what in ("options", "later fragment", "ping")]
        else:
            sent.append(unwanted()["extension header"])
        assert Verdict.DROP_DENIED not in [node.judged(one)[1] for one in sent]
        network, bits = (trial.CLIENT, 24) if version == 4 else (trial.CLIENT6, 64)
        node.deny(network, bits)
        for one in sent:
            run, verdict = node.judged(one)
            assert (run.verdict, verdict) == (DROP, Verdict.DROP_DENIED)
        other = frame(LOCAL_PORT, version=version, source=OTHERS[version])
        assert node.run(other).verdict == PASS


OTHERS = {4: "198.18.0.1", 6: "2001:db8:8::1"}


@BOTH
def test_without_xdp_the_deny_list_and_the_rate_hold_at_tcx(node: XdpTrial, version: int) -> None:
    vip, _ = SERVICES[version]
    tcx = node.node
    node.limit(vip, LOCAL_PORT, version // 2 * 5 - 9, 1)
    assert tcx.judged(frame(LOCAL_PORT, version=version))[1] != Verdict.DROP_SOURCE_RATE
    again = frame(LOCAL_PORT, version=version, source_port=40001)
    assert tcx.judged(again)[1] == Verdict.DROP_SOURCE_RATE
    node.deny(trial.CLIENT if version == 4 else trial.CLIENT6, 32)
    assert tcx.judged(again)[1] == Verdict.DROP_DENIED


def test_where_xdp_counts_the_rate_tcx_counts_only_what_xdp_could_not(node: XdpTrial) -> None:
    tcx = node.node
    node.limit(trial.VIP, LOCAL_PORT, 1, 1)
    node.change(RevisionFlag.RATES_BEFORE)
    plain = frame(LOCAL_PORT)
    assert [tcx.judged(plain)[1] for _ in range(3)] == [Verdict.TO_BACKEND] * 3
    segment = packets.tcp((trial.CLIENT, 40000), (trial.VIP, LOCAL_PORT), SYN)
    options = packets.ethernet(
        packets.ip4(
            segment, source=trial.CLIENT, destination=trial.VIP, protocol=TCP, options=b"\1" * 4
        ),
        source=trial.ROUTER,
        destination=UPLINK,
    )
    verdicts = [tcx.judged(options)[1] for _ in range(3)]
    assert verdicts[0] == Verdict.TO_BACKEND
    assert verdicts[-1] == Verdict.DROP_SOURCE_RATE


@BOTH
@pytest.mark.parametrize("port", [LOCAL_PORT, REMOTE_PORT])
def test_only_clients_in_the_source_ranges_pass(node: XdpTrial, version: int, port: int) -> None:
    vip, number = SERVICES[version]
    if port == LOCAL_PORT:
        number -= 1
    network, bits = ("198.18.0.0", 15) if version == 4 else ("2001:db8:8::", 48)
    node.run(frame(port, version=version))
    node.allow_only(vip, port, number, network, bits)
    for flags in (SYN, ACK):
        run, verdict = node.judged(frame(port, version=version, flags=flags))
        assert (run.verdict, verdict) == (DROP, Verdict.DROP_SOURCE_RANGE)
    allowed = node.run(frame(port, version=version, source=OTHERS[version]))
    assert allowed.verdict == (TX if port == REMOTE_PORT else PASS)


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_source_opens_no_more_than_its_rate_and_a_second_later_again(
    node: XdpTrial, version: int, protocol: int
) -> None:
    vip, number = SERVICES[version]
    node.limit(vip, REMOTE_PORT, number, 5)

    def opens(port: int, source: str = "") -> int:
        return node.run(
            frame(REMOTE_PORT, version=version, protocol=protocol, source=source, source_port=port)
        ).verdict

    verdicts = [opens(41000 + n) for n in range(20)]
    assert verdicts[:5] == [TX] * 5
    assert verdicts.count(DROP) >= 13
    assert node.node.counted()[Point.XDP, Verdict.DROP_SOURCE_RATE] == verdicts.count(DROP)
    assert opens(40000, OTHERS[version]) == TX
    until(lambda: opens(42000) == TX)
    middle = frame(REMOTE_PORT, version=version, flags=ACK)
    assert {node.run(middle).verdict for _ in range(20)} == {TX}


def test_the_addresses_of_one_ipv6_subnet_share_a_rate(node: XdpTrial) -> None:
    node.limit(trial.VIP6, REMOTE_PORT, 12, 1)
    first = frame(REMOTE_PORT, version=6, source="2001:db8:9::1")
    neighbour = frame(REMOTE_PORT, version=6, source="2001:db8:9::ffff:2")
    other = frame(REMOTE_PORT, version=6, source="2001:db8:9:1::1")
    assert [node.run(one).verdict for one in (first, neighbour, other)] == [TX, DROP, TX]


def test_a_drop_makes_no_entry_and_an_event(node: XdpTrial) -> None:
    node.deny(trial.CLIENT, 32)
    node.run(frame(REMOTE_PORT))
    assert node.connections() == 0
    ring = Ring(node.maps["events"], EVENT)
    events = ring.drain()
    assert [(int(e["point"]), int(e["verdict"])) for e in events] == [
        (Point.XDP, Verdict.DROP_DENIED)
    ]


def test_where_hand_over_is_off_all_but_drops_is_left_to_tcx(dropper: XdpTrial) -> None:
    run, verdict = dropper.judged(frame(REMOTE_PORT))
    assert (run.verdict, verdict) == (PASS, None)
    assert dropper.connections() == 0


def changes() -> dict[str, Callable[[XdpTrial], None]]:
    """Return what takes a flow's way away, by name."""

    def node_moves(node: XdpTrial) -> None:
        node.maps["nodes"].update(
            struct.pack("<I", 2), Node(ip_address(trial.PEER_ADDRESS), b"\2\0\0\0\0\x99", 0).write()
        )

    def backend_goes(node: XdpTrial) -> None:
        node.maps["backends"].delete(struct.pack("<I", trial.REMOTE_ID))

    def number_is_reused(node: XdpTrial) -> None:
        other = Backend(ip_address("10.244.2.77"), 8080, BackendFlag(0), 2)
        node.maps["backends"].update(struct.pack("<I", trial.REMOTE_ID), other.write())

    def backend_comes_here(node: XdpTrial) -> None:
        here = Backend(ip_address(trial.REMOTE_POD), 8080, BackendFlag.LOCAL, 1)
        node.maps["backends"].update(struct.pack("<I", trial.REMOTE_ID), here.write())

    def router_turns_peer(node: XdpTrial) -> None:
        node.maps["peers"].update(trial.ROUTER + bytes(2), struct.pack("<I", 2))

    return {
        "the node's MAC changes": node_moves,
        "the backend goes": backend_goes,
        "its number stands for another": number_is_reused,
        "the backend is here": backend_comes_here,
        "the sender is a peer": router_turns_peer,
    }


@pytest.mark.parametrize("what", changes())
def test_a_change_is_in_force_for_flows_in_memory_at_once(node: XdpTrial, what: str) -> None:
    middle = frame(REMOTE_PORT, flags=ACK)
    node.run(frame(REMOTE_PORT))
    assert [node.run(middle).verdict for _ in range(2)] == [TX, TX]
    changes()[what](node)
    node.change()
    run = node.run(middle)
    if what == "the node's MAC changes":
        assert (run.verdict, run.packet[:6]) == (TX, b"\2\0\0\0\0\x99")
    else:
        assert (run.verdict, run.packet) == (PASS, middle)


def test_a_service_with_affinity_begins_at_tcx_and_goes_on_here(node: XdpTrial) -> None:
    node.publish(trial.VIP, REMOTE_PORT, Service(2, ServiceFlag.AFFINITY, 1, 0, 1, 10800, 0))
    opening, middle = frame(REMOTE_PORT), frame(REMOTE_PORT, flags=ACK)
    assert node.run(opening).verdict == PASS
    assert node.node.run(opening).verdict == REDIRECT
    assert [node.run(middle).verdict for _ in range(2)] == [TX, TX]


def test_a_flood_makes_no_more_entries_than_allowed_and_is_still_handed_over() -> None:
    with trial.loaded() as made, xdp_trial.beside(made, entries_per_s=10) as node:
        verdicts = {node.run(frame(REMOTE_PORT, source_port=50000 + n)).verdict for n in range(100)}
        assert verdicts == {TX}
        assert 10 <= node.connections() <= 40


def test_a_table_without_room_does_not_cost_the_packet(node: XdpTrial) -> None:
    for n in range(trial.SIZES["conntrack"] + 50):
        assert node.run(frame(REMOTE_PORT, source_port=10000 + n)).verdict == TX
    assert node.connections() == trial.SIZES["conntrack"]


def test_more_flows_than_lines_lose_no_count(node: XdpTrial) -> None:
    flows = trial.SIZES["conntrack"]
    for n in range(flows):
        node.run(frame(REMOTE_PORT, source_port=10000 + n))
    for _ in range(3):
        for n in range(flows):
            assert node.run(frame(REMOTE_PORT, source_port=10000 + n, flags=ACK)).verdict == TX
    for n in range(flows):
        node.run(frame(REMOTE_PORT, source_port=10000 + n, flags=FIN | ACK))
    counts = {Connection.read(value).packets for _, value in node.maps["conntrack"].items()}
    assert counts == {5}


@pytest.fixture(scope="module")
def spread() -> Iterator[XdpTrial]:
    """A node whose remote services have sixteen backends on as many nodes, in a random table."""
    with trial.loaded() as made, xdp_trial.beside(made) as node:
        for index in range(16):
            number = struct.pack("<I", 100 + index)
            mac = bytes((2, 0, 0, 0, 9, index))
            node.maps["nodes"].update(number, Node(ip_address("192.168.1.100"), mac, 0).write())
            backend = Backend(ip_address("10.244.9.1") + index, 8080, BackendFlag(0), 100 + index)
            node.maps["backends"].update(number, backend.write())
        table = np.random.default_rng(1).integers(100, 116, MAGLEV_SIZE, dtype=np.uint32)
        with Map.create(MapShape(MapType.ARRAY, 4, MAGLEV_SIZE * 4, 1, 0), "maglev") as inner:
            inner.update(bytes(4), table.tobytes())
            for service in (2, 12):
                node.maps["maglev"].update_inner(struct.pack("<I", service), inner)
        node.change()
        yield node


PORTS = st.integers(1, 65535)


def is_host(address: IPv4Address | IPv6Address) -> bool:
    """Return whether packets may come from there; tcx drops the others where it sees them."""
    if address.version == 6 and (address.ipv4_mapped or int(address) >> 32 == 0):
        return False
    first = int(address) >> 24
    special = address.version == 4 and (first in (0, 127) or first >= 224)
    return not (special or address.is_multicast or address.is_loopback or address.is_unspecified)


HOSTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(is_host)


@settings(max_examples=200, deadline=None)
@given(
    source=HOSTS,
    source_port=PORTS,
    protocol=st.sampled_from([TCP, UDP]),
)
def test_xdp_and_tcx_choose_the_same_node_for_any_flow(
    spread: XdpTrial, source: object, source_port: int, protocol: int
) -> None:
    version = ip_address(str(source)).version
    sent = frame(
        REMOTE_PORT, version=version, protocol=protocol, source=str(source), source_port=source_port
    )
    by_tcx = spread.node.run(sent)
    spread.maps["conntrack"].delete(next(iter(dict(spread.maps["conntrack"].items()))))
    by_xdp = spread.run(sent)
    assert by_tcx.verdict == REDIRECT
    assert by_xdp.verdict == TX
    assert by_xdp.packet == by_tcx.packet
    key = next(iter(dict(spread.maps["conntrack"].items())))
    spread.maps["conntrack"].delete(key)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a good frame, cut short and with octets of its headers changed."""
    version = draw(st.sampled_from([4, 6]))
    octets = bytearray(frame(REMOTE_PORT, version=version, flags=draw(st.integers(0, 255))))
    for at in draw(st.lists(st.integers(12, len(octets) - 1), max_size=3)):
        octets[at] = draw(st.integers(0, 255))
    return bytes(octets[: draw(st.integers(14, len(octets)))])


@settings(max_examples=300, deadline=None)
@given(sent=damaged())
def test_no_damaged_frame_is_more_than_passed_dropped_or_sent_on_whole(
    spread: XdpTrial, sent: bytes
) -> None:
    run = spread.run(sent)
    if run.verdict == TX:
        assert run.packet[12:] == sent[12:]
        assert run.packet[6:12] == UPLINK
    else:
        assert run.verdict == PASS
        assert run.packet == sent
