"""Packets in, verdicts and packets out: the uplink's and the pods' programs."""

import struct
from collections.abc import Iterator
from ipaddress import ip_address

import packets
import pytest
import trial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import ACK, FIN, ICMP, RST, SYN, ethernet, icmp, ip4, read
from trial import (
    CLIENT,
    DROP,
    NEXT,
    POD,
    REDIRECT,
    VIP,
    Trial,
    datagram,
    from_pod,
    request,
    sent_by_pod,
)

from cairn.abi.structs import Backend, BackendFlag, Connection, Direction, State, Tuple
from cairn.abi.verdicts import Verdict

pytestmark = pytest.mark.bpf


@pytest.fixture
def node() -> Iterator[Trial]:
    with trial.loaded() as made:
        yield made


@pytest.fixture(scope="module")
def shared_node() -> Iterator[Trial]:
    with trial.loaded() as made:
        yield made


def framed(packet: bytes) -> bytes:
    return ethernet(packet, source=trial.ROUTER, destination=trial.UPLINK)


def ping(kind: int = 8, to: str = VIP, ttl: int = 61) -> bytes:
    packet = ip4(icmp(kind), source=CLIENT, destination=to, protocol=ICMP, ttl=ttl)
    return ethernet(packet, source=trial.ROUTER, destination=trial.UPLINK)


def connection(node: Trial, source_port: int, port: int, direction: Direction) -> Connection:
    client, vip, pod = map(ip_address, (CLIENT, VIP, POD))
    key = {
        Direction.FORWARD: Tuple(client, vip, source_port, port, packets.TCP, direction),
        Direction.REVERSE: Tuple(pod, client, 8080, source_port, packets.TCP, direction),
    }[direction]
    value = node.maps["conntrack"].lookup(key.write())
    assert value is not None
    return Connection.read(value)


VERDICTS = [
    ("local backend", request(trial.LOCAL_PORT), REDIRECT, Verdict.TO_BACKEND),
    ("local backend, UDP", datagram(trial.LOCAL_PORT), REDIRECT, Verdict.TO_BACKEND),
    ("remote backend", request(trial.REMOTE_PORT), REDIRECT, Verdict.HANDED_OVER),
    (
        "middle of an unknown connection",
        request(trial.LOCAL_PORT, flags=ACK),
        REDIRECT,
        Verdict.TO_BACKEND,
    ),
    (
        "handed over, backend here",
        request(trial.LOCAL_PORT, mac=trial.PEER),
        REDIRECT,
        Verdict.TO_BACKEND,
    ),
    (
        "handed over, Maglev says elsewhere but one is here",
        request(trial.MIXED_PORT, mac=trial.PEER),
        REDIRECT,
        Verdict.TO_BACKEND,
    ),
    (
        "handed over, none is here",
        request(trial.REMOTE_PORT, mac=trial.PEER),
        DROP,
        Verdict.DROP_HANDED_NO_LOCAL,
    ),
    ("no backend", request(trial.EMPTY_PORT), REDIRECT, Verdict.DROP_NO_BACKEND),
    ("no such node", request(trial.BROKEN_PORT), DROP, Verdict.DROP_BACKEND_NO_NODE),
    ("no service", request(9), REDIRECT, Verdict.DROP_NO_SERVICE),
    ("ping", ping(), REDIRECT, Verdict.PING_ANSWERED),
    ("ping where it is off", ping(to=trial.QUIET_VIP), DROP, Verdict.DROP_ICMP_TYPE),
    ("an ICMP message of no connection", ping(kind=13), DROP, Verdict.DROP_ICMP_TYPE),
    (
        "another protocol",
        ethernet(
            ip4(b"\0" * 20, source=CLIENT, destination=VIP, protocol=packets.GRE),
            source=trial.ROUTER,
            destination=trial.UPLINK,
        ),
        DROP,
        Verdict.DROP_PROTOCOL,
    ),
    (
        "a later fragment out of nowhere",
        request(trial.LOCAL_PORT, fragment=185, identity=99),
        DROP,
        Verdict.DROP_FRAGMENT,
    ),
    ("to a pod", request(8080, to=POD), REDIRECT, Verdict.TO_POD),
    ("to somebody else", request(80, to="203.0.113.9"), NEXT, Verdict.PASS),
    ("to the node", request(22, to=trial.NODE), NEXT, Verdict.PASS),
    ("a node port", request(trial.NODE_PORT, to=trial.NODE), REDIRECT, Verdict.TO_BACKEND),
    ("a free address", request(80, to=trial.FREE), REDIRECT, Verdict.DROP_NO_ADDRESS),
]


@pytest.mark.parametrize(
    ("frame", "action", "verdict"), [pytest.param(*row[1:], id=row[0]) for row in VERDICTS]
)
def test_verdict(node: Trial, frame: bytes, action: int, verdict: Verdict) -> None:
    run, judged = node.judged(frame)
    assert (run.verdict, judged) == (action, verdict)


POD_VERDICTS = [
    (
        "a ping to a service",
        sent_by_pod(ip4(icmp(8), source=POD, destination=VIP, protocol=ICMP)),
        REDIRECT,
        Verdict.PING_ANSWERED,
    ),
    (
        "a ping elsewhere",
        sent_by_pod(ip4(icmp(8), source=POD, destination="203.0.113.9", protocol=ICMP)),
        NEXT,
        Verdict.PASS,
    ),
    ("to a pod of the node", from_pod(trial.OTHER_POD, 80), REDIRECT, Verdict.TO_POD),
    ("to a pod of a peer", from_pod(trial.REMOTE_POD, 80), REDIRECT, Verdict.TO_NODE),
    ("to the world", from_pod("203.0.113.9", 443), NEXT, Verdict.PASS),
    (
        "another pod's address",
        from_pod("203.0.113.9", 443, source=trial.OTHER_POD),
        DROP,
        Verdict.DROP_SOURCE_ADDRESS,
    ),
    (
        "another's Ethernet address",
        sent_by_pod(ip4(icmp(8), source=POD, destination=VIP, protocol=ICMP), mac=trial.UPLINK),
        DROP,
        Verdict.DROP_SOURCE_MAC,
    ),
    ("to a free address", from_pod(trial.FREE, 80), REDIRECT, Verdict.DROP_NO_ADDRESS),
    (
        "the service's address",
        from_pod(CLIENT, 40000, source=VIP),
        DROP,
        Verdict.DROP_SOURCE_ADDRESS,
    ),
]


@pytest.mark.parametrize(
    ("frame", "action", "verdict"), [pytest.param(*row[1:], id=row[0]) for row in POD_VERDICTS]
)
def test_pod_verdict(node: Trial, frame: bytes, action: int, verdict: Verdict) -> None:
    run, judged = node.judged(frame, "pod_ingress")
    assert (run.verdict, judged) == (action, verdict)


def segment(kind: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    if kind == packets.TCP:
        return packets.tcp(source, destination, SYN, b"odd")
    return packets.udp(source, destination, b"odd")


@pytest.mark.parametrize("options", [b"", b"\1" * 8, b"\1" * 40], ids=["0", "8", "40"])
@pytest.mark.parametrize("kind", [packets.TCP, packets.UDP])
def test_translation_to_the_backend_and_back(node: Trial, kind: int, options: bytes) -> None:
    client, service, pod = (CLIENT, 40000), (VIP, trial.LOCAL_PORT), (POD, 8080)
    packet = ip4(
        segment(kind, client, service),
        source=CLIENT,
        destination=VIP,
        protocol=kind,
        options=options,
    )
    frame = ethernet(packet, source=trial.ROUTER, destination=trial.UPLINK)
    out = read(node.run(frame).packet)
    assert (out.source, out.source_port) == client
    assert (out.destination, out.destination_port) == pod
    assert out.good
    packet = ip4(
        segment(kind, pod, client), source=POD, destination=CLIENT, protocol=kind, options=options
    )
    frame = ethernet(packet, source=trial.POD_MAC, destination=trial.UPLINK)
    run, verdict = node.judged(frame, "pod_ingress")
    out = read(run.packet)
    assert verdict is Verdict.REPLY
    assert (out.source, out.source_port) == service
    assert (out.destination, out.destination_port) == client
    assert out.good


def test_a_pod_that_comes_by_packets_is_answered_by_the_service(node: Trial) -> None:
    answer = from_pod(trial.REMOTE_POD, 40000)
    _, verdict = node.judged(answer, "pod_ingress")
    assert verdict is Verdict.TO_NODE
    whole = packets.tcp((trial.REMOTE_POD, 40000), (VIP, trial.LOCAL_PORT), SYN)
    node.run(framed(ip4(whole, source=trial.REMOTE_POD, destination=VIP, protocol=packets.TCP)))
    run, verdict = node.judged(answer, "pod_ingress")
    out = read(run.packet)
    assert verdict is Verdict.TO_NODE
    assert (out.source, out.source_port) == (VIP, trial.LOCAL_PORT)
    assert out.destination == trial.REMOTE_POD
    assert out.good


def test_a_datagram_without_checksum_stays_without(node: Trial) -> None:
    frame = bytearray(datagram(trial.LOCAL_PORT))
    frame[40:42] = b"\0\0"
    assert node.run(bytes(frame)).packet[40:42] == b"\0\0"


def test_hand_over_changes_only_the_macs(node: Trial) -> None:
    frame = request(trial.REMOTE_PORT, ttl=1)
    out = node.run(frame).packet
    assert out[12:] == frame[12:]
    assert (out[:6], out[6:12]) == (trial.PEER, trial.UPLINK)


def test_ping_comes_back_with_good_checksums_and_a_fresh_ttl(node: Trial) -> None:
    out = read(node.run(ping(ttl=3)).packet)
    assert (out.source, out.destination, out.ttl) == (VIP, CLIENT, 64)
    assert (out.source_mac, out.destination_mac) == (trial.UPLINK, trial.ROUTER)
    assert out.good


def test_an_id_that_stands_for_another_backend_now_is_not_followed(node: Trial) -> None:
    node.run(request(trial.LOCAL_PORT))
    other = Backend(ip_address(trial.OTHER_POD), 9090, BackendFlag.LOCAL, 1)
    node.maps["backends"].update(struct.pack("<I", trial.LOCAL_ID), other.write())
    _, verdict = node.judged(request(trial.LOCAL_PORT, flags=ACK))
    assert verdict is Verdict.DROP_BACKEND_GONE, "another could only answer with a reset"
    node.run(request(trial.LOCAL_PORT, flags=SYN))
    found = connection(node, 40000, trial.LOCAL_PORT, Direction.FORWARD)
    assert (str(found.address), found.port) == (trial.OTHER_POD, 9090)


@pytest.mark.parametrize("port", [trial.REMOTE_PORT, trial.EMPTY_PORT])
def test_a_draining_backend_takes_what_is_still_handed_over(node: Trial, port: int) -> None:
    leaving = Backend(ip_address(POD), 8080, BackendFlag.LOCAL | BackendFlag.TERMINATING, 1)
    node.maps["backends"].update(struct.pack("<I", 9), leaving.write())
    service = {trial.REMOTE_PORT: 2, trial.EMPTY_PORT: 3}[port]
    node.maps["draining"].update(struct.pack("<I", service), struct.pack("<I", 9))
    _, verdict = node.judged(request(port, mac=trial.PEER))
    assert verdict is Verdict.TO_BACKEND
    _, verdict = node.judged(request(port, source_port=40009))
    assert verdict is not Verdict.TO_BACKEND


def complaint(quoted: bytes, *, mac: bytes = trial.ROUTER) -> bytes:
    """Return "fragmentation needed" about a packet that a service sent."""
    message = icmp(3, 4, b"\0\0" + struct.pack("!H", 1300) + quoted)
    packet = ip4(message, source="192.168.1.1", destination=VIP, protocol=ICMP)
    return ethernet(packet, source=mac, destination=trial.UPLINK)


def sent_by(port: int, source: str = VIP) -> bytes:
    """Return the beginning of a packet from a service to the client."""
    segment = packets.tcp((source, port), (CLIENT, 40000), ACK)
    return ip4(segment, source=source, destination=CLIENT, protocol=packets.TCP)[:28]


def test_an_icmp_error_follows_its_connection_and_quotes_the_backend(node: Trial) -> None:
    node.run(request(trial.LOCAL_PORT))
    run, verdict = node.judged(complaint(sent_by(trial.LOCAL_PORT)))
    out, quoted = read(run.packet), run.packet[42:]
    assert (run.verdict, verdict) == (REDIRECT, Verdict.TO_BACKEND)
    assert out.destination == POD
    assert out.good
    assert packets.checksum(quoted[:20]) == 0
    assert ip_address(quoted[12:16]) == ip_address(POD)
    assert struct.unpack_from("!HH", quoted, 20) == (8080, 40000)


ERRORS = [
    ("backend elsewhere", complaint(sent_by(trial.REMOTE_PORT)), Verdict.HANDED_OVER),
    (
        "handed over, none here",
        complaint(sent_by(trial.REMOTE_PORT), mac=trial.PEER),
        Verdict.DROP_HANDED_NO_LOCAL,
    ),
    ("no service", complaint(sent_by(9)), Verdict.DROP_ICMP_TYPE),
    ("not ours", complaint(sent_by(80, source="198.51.100.1")), Verdict.DROP_ICMP_TYPE),
    ("quote cut in IP", complaint(sent_by(80)[:19]), Verdict.DROP_TRUNCATED_L4),
    ("quote cut in ports", complaint(sent_by(80)[:23]), Verdict.DROP_TRUNCATED_L4),
]


@pytest.mark.parametrize(
    ("frame", "verdict"), [pytest.param(*row[1:], id=row[0]) for row in ERRORS]
)
def test_icmp_errors(node: Trial, frame: bytes, verdict: Verdict) -> None:
    assert node.judged(frame)[1] is verdict


def test_fragments_follow_the_first(node: Trial) -> None:
    whole = packets.udp((CLIENT, 40000), (VIP, trial.LOCAL_PORT), b"x" * 2000)
    first = ip4(whole[:1480], source=CLIENT, destination=VIP, protocol=17, fragment=0x2000)
    later = ip4(whole[1480:], source=CLIENT, destination=VIP, protocol=17, fragment=185)
    one = node.run(framed(first)).packet
    two, verdict = node.judged(framed(later))
    assert verdict is Verdict.TO_BACKEND
    joined = one[34:] + two.packet[34:]
    out = read(framed(ip4(joined, source=CLIENT, destination=POD, protocol=17)))
    assert out.destination_port == 8080
    assert out.good
    assert two.packet[34:] == whole[1480:]


def test_the_state_of_a_connection(node: Trial) -> None:
    port = trial.LOCAL_PORT
    for flags, state in ((SYN, State.NEW), (ACK, State.ESTABLISHED), (FIN | ACK, State.CLOSING)):
        node.run(request(port, flags=flags))
        assert connection(node, 40000, port, Direction.FORWARD).state == state
    forward = connection(node, 40000, port, Direction.FORWARD)
    assert forward.packets == 3
    assert (str(forward.address), forward.port) == (POD, 8080)
    reverse = connection(node, 40000, port, Direction.REVERSE)
    assert (str(reverse.address), reverse.port) == (VIP, port)


def test_a_new_connection_of_the_same_ports_starts_afresh(node: Trial) -> None:
    port = trial.LOCAL_PORT
    for flags in (SYN, FIN | ACK):
        node.run(request(port, flags=flags))
    node.run(from_pod(CLIENT, 40000, flags=FIN | ACK), "pod_ingress")
    assert connection(node, 40000, port, Direction.REVERSE).state == State.CLOSING
    node.run(request(port))
    for direction in Direction:
        assert connection(node, 40000, port, direction).state == State.NEW


def test_an_established_connection_outlives_a_change_of_the_table(node: Trial) -> None:
    node.run(request(trial.MIXED_PORT, mac=trial.PEER))  # handed over: served here
    _, verdict = node.judged(request(trial.MIXED_PORT, flags=ACK))
    assert verdict is Verdict.TO_BACKEND
    _, verdict = node.judged(request(trial.MIXED_PORT, source_port=40001))
    assert verdict is Verdict.HANDED_OVER


def test_a_connection_whose_backend_is_gone_is_reset_and_its_next_one_finds_another(
    node: Trial,
) -> None:
    node.run(request(trial.MIXED_PORT, mac=trial.PEER))
    node.maps["backends"].delete(struct.pack("<I", trial.LOCAL_ID))
    run, verdict = node.judged(request(trial.MIXED_PORT, flags=ACK))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.DROP_BACKEND_GONE)
    assert run.packet[47] & RST
    _, verdict = node.judged(request(trial.MIXED_PORT))
    assert verdict is Verdict.HANDED_OVER


def test_a_datagram_whose_backend_is_gone_goes_to_another(node: Trial) -> None:
    node.run(datagram(trial.MIXED_PORT, mac=trial.PEER))
    node.maps["backends"].delete(struct.pack("<I", trial.LOCAL_ID))
    _, verdict = node.judged(datagram(trial.MIXED_PORT))
    assert verdict is Verdict.HANDED_OVER


@pytest.mark.parametrize("source", [CLIENT, "223.255.255.254", "10.0.0.1"])
def test_a_reset_is_one_that_the_client_takes(node: Trial, source: str) -> None:
    whole = packets.tcp((source, 40000), (VIP, 9), SYN)
    out = node.run(framed(ip4(whole, source=source, destination=VIP, protocol=6))).packet
    seen = read(out)
    assert (seen.source, seen.destination) == (VIP, source)
    assert (seen.source_port, seen.destination_port) == (9, 40000)
    assert seen.good
    assert out[47] == RST | ACK
    assert struct.unpack_from("!I", out, 42)[0] == 2, "sequence number 1 and the SYN"


def test_unreachable_quotes_the_packet(node: Trial) -> None:
    asked = ip4(packets.udp((CLIENT, 40000), (VIP, 9)), source=CLIENT, destination=VIP, protocol=17)
    run, verdict = node.judged(framed(asked))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.DROP_NO_SERVICE)
    assert read(run.packet).good
    assert run.packet[34:36] == bytes((3, 3)), "port unreachable (RFC 792)"
    assert run.packet[42:] == asked[:28]


FRAMES = {
    "tcp": request(trial.LOCAL_PORT),
    "tcp remote": request(trial.REMOTE_PORT),
    "udp": datagram(trial.LOCAL_PORT),
    "ping": ping(),
    "arp": ethernet(
        bytes.fromhex("0001080006040001") + trial.ROUTER + bytes(14),
        source=trial.ROUTER,
        destination=b"\xff" * 6,
        kind=0x0806,
    ),
}


def shortest(frame: bytes) -> int:
    """Return the fewest octets of `frame` that the kernel takes for a trial run.

    Shorter ones are sent over a wire in tests/netns.
    """
    return {b"\x08\x00": 34, b"\x86\xdd": 54}.get(frame[12:14], 15)


@pytest.mark.parametrize("frame", [pytest.param(f, id=name) for name, f in FRAMES.items()])
def test_truncated_anywhere_it_is_counted_once(shared_node: Trial, frame: bytes) -> None:
    for length in range(shortest(frame), len(frame)):
        run, verdict = shared_node.judged(frame[:length])
        assert (run.verdict == DROP) == verdict.is_drop
        if frame[12:14] == b"\x08\x00":
            assert verdict in (Verdict.DROP_TRUNCATED_L3, Verdict.DROP_MALFORMED_IP)


@pytest.mark.parametrize("protocol", [packets.TCP, packets.UDP, packets.ICMP])
def test_an_honest_length_too_short_for_l4(shared_node: Trial, protocol: int) -> None:
    for length in range(8):
        packet = ip4(b"\x08" * length, source=CLIENT, destination=VIP, protocol=protocol)
        frame = ethernet(packet, source=trial.ROUTER, destination=trial.UPLINK)
        run, verdict = shared_node.judged(frame)
        assert (run.verdict, verdict) == (DROP, Verdict.DROP_TRUNCATED_L4)


@pytest.mark.parametrize("program", ["uplink_ingress", "pod_ingress"])
@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    octets=st.binary(min_size=1, max_size=80),
    kind=st.sampled_from([0x0800, 0x0806, 0x86DD]),
    like_ip=st.booleans(),
    destination=st.sampled_from([VIP, POD]),
)
def test_any_octets_are_counted_once(
    shared_node: Trial, program: str, octets: bytes, kind: int, like_ip: bool, destination: str
) -> None:
    if like_ip:
        protocol = octets[0] if octets else 6
        octets = ip4(octets, source=CLIENT, destination=destination, protocol=protocol)
    frame = ethernet(octets, source=trial.ROUTER, destination=trial.UPLINK, kind=kind)
    frame = frame.ljust(shortest(frame), b"\0")
    run, verdict = shared_node.judged(frame, program)
    assert (run.verdict == DROP) == verdict.is_drop
    assert run.verdict in (NEXT, DROP, REDIRECT)
