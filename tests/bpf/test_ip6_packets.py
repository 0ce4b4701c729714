"""IPv6 packets in, verdicts and packets out; extension headers, fragments, neighbour discovery."""

import struct
from collections.abc import Iterator
from ipaddress import ip_address

import packets
import pytest
import trial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import ACK, ICMP6, RST, SYN, TCP, UDP, ethernet, fragment6, icmp6, ip6, read
from trial import CLIENT6, DROP, NEXT, POD6, REDIRECT, VIP6, Trial, sent_by_pod

from cairn.abi.address import write_address
from cairn.abi.structs import Vip, VipFlag
from cairn.abi.verdicts import Verdict

pytestmark = pytest.mark.bpf

HOP_OPTIONS, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
EIGHT = b"\0\1\4\0\0\0\0"
"""What follows the next-header field of an options header of eight octets: padding."""


@pytest.fixture
def node() -> Iterator[Trial]:
    with trial.loaded() as made:
        yield made


@pytest.fixture(scope="module")
def shared_node() -> Iterator[Trial]:
    with trial.loaded() as made:
        yield made


def framed(packet: bytes, mac: bytes = trial.ROUTER) -> bytes:
    return ethernet(packet, source=mac, destination=trial.UPLINK, kind=packets.IP6)


def segment(port: int, *, flags: int = SYN, to: str = VIP6, source_port: int = 40000) -> bytes:
    return packets.tcp((CLIENT6, source_port), (to, port), flags)


def request(
    port: int, *, flags: int = SYN, to: str = VIP6, mac: bytes = trial.ROUTER, ttl: int = 64
) -> bytes:
    whole = segment(port, flags=flags, to=to)
    return framed(ip6(whole, source=CLIENT6, destination=to, protocol=TCP, ttl=ttl), mac)


def datagram(port: int) -> bytes:
    whole = packets.udp((CLIENT6, 40000), (VIP6, port))
    return framed(ip6(whole, source=CLIENT6, destination=VIP6, protocol=UDP))


def extended(first: int, *chain: tuple[int, bytes], protocol: int = TCP) -> bytes:
    """Return a request whose headers are `first` and each (next header, rest) of the chain."""
    extensions = b"".join(bytes([after]) + rest for after, rest in chain)
    whole = segment(trial.LOCAL_PORT)
    return framed(
        ip6(
            whole,
            source=CLIENT6,
            destination=VIP6,
            protocol=protocol,
            extensions=extensions,
            first=first,
        )
    )


def solicit(target: str, *, source: str = "fd00:1::1", ttl: int = 255) -> bytes:
    """Return a neighbour solicitation for `target`; from :: it asks whether it is taken."""
    group = "ff02::1:ff00:64"
    rest = bytes(4) + ip_address(target).packed
    if source != "::":
        rest += b"\1\1" + trial.ROUTER
    message = icmp6(source, group, 135, 0, rest)
    packet = ip6(message, source=source, destination=group, protocol=ICMP6, ttl=ttl)
    return ethernet(packet, source=trial.ROUTER, destination=b"\x33\x33\xff\0\0\x64", kind=0x86DD)


def echo(to: str = VIP6, *, source: str = CLIENT6, kind: int = 128, ttl: int = 9) -> bytes:
    message = icmp6(source, to, kind)
    return ip6(message, source=source, destination=to, protocol=ICMP6, ttl=ttl)


VERDICTS = [
    ("local backend", request(trial.LOCAL_PORT), REDIRECT, Verdict.TO_BACKEND),
    ("local backend, UDP", datagram(trial.LOCAL_PORT), REDIRECT, Verdict.TO_BACKEND),
    ("remote backend", request(trial.REMOTE_PORT), REDIRECT, Verdict.HANDED_OVER),
    (
        "handed over, none is here",
        request(trial.REMOTE_PORT, mac=trial.PEER),
        DROP,
        Verdict.DROP_HANDED_NO_LOCAL,
    ),
    ("no backend", request(trial.EMPTY_PORT), REDIRECT, Verdict.DROP_NO_BACKEND),
    ("no service", request(9), REDIRECT, Verdict.DROP_NO_SERVICE),
    ("ping", framed(echo()), REDIRECT, Verdict.PING_ANSWERED),
    ("ping from a pod", framed(echo(trial.POD6)), REDIRECT, Verdict.TO_POD),
    ("to a pod", request(8080, to=POD6), REDIRECT, Verdict.TO_POD),
    ("to somebody else", request(80, to="2001:db8:9::9"), NEXT, Verdict.PASS),
    ("a free address", request(80, to=trial.FREE6), REDIRECT, Verdict.DROP_NO_ADDRESS),
    (
        "hop-by-hop and destination options",
        extended(HOP_OPTIONS, (DESTINATION_OPTIONS, EIGHT), (TCP, EIGHT)),
        REDIRECT,
        Verdict.TO_BACKEND,
    ),
    (
        "a routing header",
        extended(ROUTING, (TCP, b"\0\0\0\0\0\0\0")),
        REDIRECT,
        Verdict.TO_BACKEND,
    ),
    (
        "more extension headers than anyone sends",
        extended(HOP_OPTIONS, *((DESTINATION_OPTIONS, EIGHT),) * 6, (TCP, EIGHT)),
        DROP,
        Verdict.DROP_EXTENSION,
    ),
    (
        "an extension header longer than the packet",
        extended(HOP_OPTIONS, (TCP, b"\xff" + EIGHT[1:])),
        DROP,
        Verdict.DROP_TRUNCATED_L3,
    ),
    (
        "another protocol",
        extended(packets.GRE, protocol=packets.GRE),
        DROP,
        Verdict.DROP_PROTOCOL,
    ),
]


@pytest.mark.parametrize(
    ("frame", "action", "verdict"), [pytest.param(*row[1:], id=row[0]) for row in VERDICTS]
)
def test_verdict(node: Trial, frame: bytes, action: int, verdict: Verdict) -> None:
    run, judged = node.judged(frame)
    assert (run.verdict, judged) == (action, verdict)


@pytest.mark.parametrize("kind", [TCP, UDP])
def test_translation_to_the_backend_and_back(node: Trial, kind: int) -> None:
    client, service, pod = (CLIENT6, 40000), (VIP6, trial.LOCAL_PORT), (POD6, 8080)
    there = (
        packets.tcp(client, service, SYN, b"odd") if kind == TCP else packets.udp(client, service)
    )
    back = packets.tcp(pod, client, ACK, b"odd") if kind == TCP else packets.udp(pod, client)
    out = read(node.run(framed(ip6(there, source=CLIENT6, destination=VIP6, protocol=kind))).packet)
    assert (out.source, out.source_port) == client
    assert (out.destination, out.destination_port) == pod
    assert out.good
    frame = sent_by_pod(ip6(back, source=POD6, destination=CLIENT6, protocol=kind))
    run, verdict = node.judged(frame, "pod_ingress")
    out = read(run.packet)
    assert verdict is Verdict.REPLY
    assert (out.source, out.source_port) == service
    assert (out.destination, out.destination_port) == client
    assert out.good


def test_hand_over_changes_only_the_macs(node: Trial) -> None:
    frame = request(trial.REMOTE_PORT, ttl=1)
    out = node.run(frame).packet
    assert out[12:] == frame[12:]
    assert (out[:6], out[6:12]) == (trial.PEER, trial.UPLINK)


def test_ping_comes_back_with_a_good_checksum_and_a_fresh_hop_limit(node: Trial) -> None:
    out = read(node.run(framed(echo())).packet)
    assert (out.source, out.destination, out.ttl) == (VIP6, CLIENT6, 64)
    assert (out.source_mac, out.destination_mac) == (trial.UPLINK, trial.ROUTER)
    assert out.good


def test_fragments_follow_the_first(node: Trial) -> None:
    whole = packets.udp((CLIENT6, 40000), (VIP6, trial.LOCAL_PORT), b"x" * 2000)

    def piece(start: int, stop: int, *, more: bool) -> bytes:
        return framed(
            ip6(
                whole[start:stop],
                source=CLIENT6,
                destination=VIP6,
                protocol=UDP,
                extensions=fragment6(UDP, start, more=more),
                first=FRAGMENT,
            )
        )

    one = node.run(piece(0, 1448, more=True)).packet
    two, verdict = node.judged(piece(1448, len(whole), more=False))
    assert verdict is Verdict.TO_BACKEND
    joined = one[62:] + two.packet[62:]
    out = read(framed(ip6(joined, source=CLIENT6, destination=POD6, protocol=UDP)))
    assert out.destination_port == 8080
    assert out.good
    assert two.packet[62:] == whole[1448:]


def test_a_later_fragment_out_of_nowhere_is_dropped(node: Trial) -> None:
    frame = framed(
        ip6(
            b"x" * 64,
            source=CLIENT6,
            destination=VIP6,
            protocol=UDP,
            extensions=fragment6(UDP, 1448, more=False, identity=99),
            first=FRAGMENT,
        )
    )
    run, verdict = node.judged(frame)
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_FRAGMENT)


def test_a_reset_says_which_octets_it_is_about(node: Trial) -> None:
    out = node.run(request(9)).packet
    seen = read(out)
    assert (seen.source, seen.destination) == (VIP6, CLIENT6)
    assert (seen.source_port, seen.destination_port) == (9, 40000)
    assert seen.good
    assert out[67] == RST | ACK
    assert struct.unpack_from("!I", out, 62)[0] == 2, "sequence number 1 and the SYN"


def test_unreachable_quotes_the_packet(node: Trial) -> None:
    whole = packets.udp((CLIENT6, 40000), (VIP6, 9))
    asked = ip6(whole, source=CLIENT6, destination=VIP6, protocol=UDP)
    run, verdict = node.judged(framed(asked))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.DROP_NO_SERVICE)
    assert read(run.packet).good
    assert run.packet[54:56] == bytes((1, 4)), "port unreachable (RFC 4443 s3.1)"
    assert run.packet[62:] == asked[:48]


def test_errors_are_not_answered_with_errors(node: Trial) -> None:
    run, verdict = node.judged(framed(echo(trial.FREE6, kind=1)))
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_NO_ADDRESS)


def test_an_icmp_error_follows_its_connection_and_quotes_the_backend(node: Trial) -> None:
    node.run(request(trial.LOCAL_PORT))
    sent = packets.tcp((VIP6, trial.LOCAL_PORT), (CLIENT6, 40000), ACK)
    quoted = ip6(sent, source=VIP6, destination=CLIENT6, protocol=TCP)
    message = icmp6("2001:db8:5::1", VIP6, 2, 0, struct.pack("!I", 1300) + quoted)
    packet = ip6(message, source="2001:db8:5::1", destination=VIP6, protocol=ICMP6)
    run, verdict = node.judged(framed(packet))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.TO_BACKEND)
    out = read(run.packet)
    assert out.destination == POD6
    assert out.good
    inner = run.packet[62:]
    assert ip_address(inner[8:24]) == ip_address(POD6)
    assert struct.unpack_from("!HH", inner, 40) == (8080, 40000)


def elected(node: Trial) -> None:
    flags = VipFlag.PING | VipFlag.ARP
    node.maps["vips"].update(write_address(ip_address(VIP6)), Vip(flags).write())


def test_a_solicitation_is_answered_by_the_elected_node_alone(node: Trial) -> None:
    run, verdict = node.judged(solicit(VIP6))
    assert (run.verdict, verdict) == (NEXT, Verdict.PASS)
    elected(node)
    run, verdict = node.judged(solicit(VIP6))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.ND_ANSWERED)
    out = read(run.packet)
    assert (out.source, out.destination, out.ttl) == (VIP6, "fd00:1::1", 255)
    assert (out.source_mac, out.destination_mac) == (trial.UPLINK, trial.ROUTER)
    assert out.good
    assert run.packet[54:59] == bytes((136, 0)) + run.packet[56:58] + bytes((0x60,))
    assert ip_address(run.packet[62:78]) == ip_address(VIP6)
    assert run.packet[78:86] == b"\2\1" + trial.UPLINK


def test_who_asks_whether_the_address_is_taken_is_told_so(node: Trial) -> None:
    elected(node)
    run, verdict = node.judged(solicit(VIP6, source="::"))
    assert verdict is Verdict.ND_ANSWERED
    out = read(run.packet)
    assert (out.destination, out.destination_mac) == ("ff02::1", bytes.fromhex("333300000001"))
    assert out.good
    assert run.packet[58] == 0x20, "not solicited (RFC 4861 s7.2.4)"


def test_a_solicitation_from_afar_is_none(node: Trial) -> None:
    elected(node)
    _, verdict = node.judged(solicit(VIP6, ttl=254))
    assert verdict is Verdict.PASS


POD_VERDICTS = [
    ("a ping to a service", echo(source=POD6), REDIRECT, Verdict.PING_ANSWERED),
    ("to a pod of the node", echo(trial.OTHER_POD6, source=POD6), REDIRECT, Verdict.TO_POD),
    ("to a pod of a peer", echo(trial.REMOTE_POD6, source=POD6), REDIRECT, Verdict.TO_NODE),
    ("to the world", echo("2001:db8:9::9", source=POD6), NEXT, Verdict.PASS),
    ("another's address", echo(source=CLIENT6), DROP, Verdict.DROP_SOURCE_ADDRESS),
    ("link business", echo("ff02::2", source="fe80::5", kind=133), NEXT, Verdict.PASS),
]


@pytest.mark.parametrize(
    ("packet", "action", "verdict"), [pytest.param(*row[1:], id=row[0]) for row in POD_VERDICTS]
)
def test_pod_verdict(node: Trial, packet: bytes, action: int, verdict: Verdict) -> None:
    run, judged = node.judged(sent_by_pod(packet), "pod_ingress")
    assert (run.verdict, judged) == (action, verdict)


HEADS = st.sampled_from([HOP_OPTIONS, ROUTING, FRAGMENT, 51, DESTINATION_OPTIONS, TCP, UDP, ICMP6])


@pytest.mark.parametrize("program", ["uplink_ingress", "pod_ingress", "uplink_egress"])
@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    chain=st.lists(st.tuples(HEADS, st.binary(min_size=7, max_size=7)), max_size=8),
    first=HEADS,
    rest=st.binary(max_size=120),
    destination=st.sampled_from([VIP6, POD6, trial.FREE6, trial.NODE6, "ff02::1"]),
    source=st.sampled_from([CLIENT6, POD6, VIP6, "::", trial.NODE6]),
    lie=st.integers(-40, 40),
)
def test_any_chain_of_headers_is_counted_once(
    shared_node: Trial,
    program: str,
    chain: list[tuple[int, bytes]],
    first: int,
    rest: bytes,
    destination: str,
    source: str,
    lie: int,
) -> None:
    extensions = b"".join(bytes([kind]) + octets for kind, octets in chain)
    packet = bytearray(
        ip6(
            rest,
            source=source,
            destination=destination,
            protocol=0,
            extensions=extensions,
            first=first,
        )
    )
    length = max(0, len(extensions) + len(rest) + lie)
    packet[4:6] = struct.pack("!H", length)
    frame = ethernet(bytes(packet), source=trial.POD_MAC, destination=trial.UPLINK, kind=0x86DD)
    if program == "uplink_egress":  # counts only what it acts on
        assert shared_node.run(frame, program).verdict in (NEXT, DROP)
        return
    run, verdict = shared_node.judged(frame, program)
    assert run.verdict in (NEXT, DROP, REDIRECT)
    if not verdict.is_drop:
        assert run.verdict != DROP
