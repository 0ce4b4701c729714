"""Connections at the edges: a full table, a backend that is gone, a client that idled, SCTP."""

import itertools
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import packets
import pytest
import trial
from packets import ACK, RST, SCTP, SYN, TCP, UDP, ethernet, ip4, ip6
from trial import CLIENT, CLIENT6, DROP, POD, POD6, REDIRECT, VIP, VIP6, Trial

from cairn.abi.structs import (
    Affinity,
    AffinityKey,
    Service,
    ServiceFlag,
    ServiceKey,
)
from cairn.abi.verdicts import Verdict

pytestmark = pytest.mark.bpf

CRC = 0xDEADBEEF
"""Stands for an SCTP packet's CRC32c: it covers neither addresses nor anything that may change."""
NS_PER_S = 1_000_000_000


@pytest.fixture
def node() -> Iterator[Trial]:
    with trial.loaded() as made:
        yield made


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def sent(
    protocol: int,
    version: int,
    port: int,
    *,
    flags: int = SYN,
    mac: bytes = trial.ROUTER,
    source_port: int = 40000,
) -> bytes:
    """Return a client's packet to a service address of either family."""
    client, vip = ((CLIENT, VIP), (CLIENT6, VIP6))[version == 6]
    ends = (client, source_port), (vip, port)
    segment = {
        TCP: lambda: packets.tcp(*ends, flags),
        UDP: lambda: packets.udp(*ends),
        SCTP: lambda: struct.pack("!HHII", source_port, port, 1, CRC) + b"\x01\0\0\x14" + bytes(16),
    }[protocol]()
    if version == 4:
        whole = ip4(segment, source=client, destination=vip, protocol=protocol)
        return ethernet(whole, source=mac, destination=trial.UPLINK)
    whole = ip6(segment, source=client, destination=vip, protocol=protocol)
    return ethernet(whole, source=mac, destination=trial.UPLINK, kind=packets.IP6)


def serve_sctp(node: Trial, version: int, port: int) -> None:
    service = 1 if version == 4 else 11
    key = ServiceKey(ip_address(VIP if version == 4 else VIP6), port, SCTP)
    node.maps["services"].update(key.write(), Service(service, 0, 1, 1, 1, 0, 0).write())


@pytest.mark.parametrize("version", [4, 6])
def test_sctp_of_equal_ports_goes_in_and_out_with_its_checksum_as_it_was(
    node: Trial, version: int
) -> None:
    serve_sctp(node, version, 8080)
    asked = sent(SCTP, version, 8080)
    run, verdict = node.judged(asked)
    at = 34 if version == 4 else 54
    assert verdict is Verdict.TO_BACKEND
    assert run.packet[at:] == asked[at:], "ports, tag and CRC32c"
    client, pod, vip = ((CLIENT, POD, VIP), (CLIENT6, POD6, VIP6))[version == 6]
    made = packets.ip4 if version == 4 else packets.ip6
    answer = struct.pack("!HHII", 8080, 40000, 1, CRC) + b"\x02\0\0\x14" + bytes(16)
    whole = made(answer, source=pod, destination=client, protocol=SCTP)
    run, verdict = node.judged(trial.sent_by_pod(whole), "pod_ingress")
    assert verdict is Verdict.REPLY
    assert run.packet[at:] == answer
    source = run.packet[26:30] if version == 4 else run.packet[22:38]
    assert ip_address(source) == ip_address(vip)


@pytest.mark.parametrize("version", [4, 6])
def test_sctp_to_another_target_port_is_dropped_for_that_reason(node: Trial, version: int) -> None:
    serve_sctp(node, version, 90)
    run, verdict = node.judged(sent(SCTP, version, 90))
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_SCTP_PORT)


def fill_connections(node: Trial) -> None:
    for port in itertools.count(20000):
        _, verdict = node.judged(sent(TCP, 4, trial.LOCAL_PORT, source_port=port))
        if verdict is Verdict.DROP_CONNTRACK_FULL:
            return
        assert port < 20000 + trial.SIZES["conntrack"], "the table never fills"


def test_a_full_table_takes_no_new_connection_and_keeps_what_it_has(node: Trial) -> None:
    node.run(sent(TCP, 4, trial.LOCAL_PORT))
    fill_connections(node)
    run, verdict = node.judged(sent(TCP, 6, trial.LOCAL_PORT))
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_CONNTRACK_FULL)
    _, verdict = node.judged(sent(TCP, 4, trial.LOCAL_PORT, flags=ACK))
    assert verdict is Verdict.TO_BACKEND, "established before"
    answer = trial.from_pod(CLIENT, 40000)
    assert node.judged(answer, "pod_ingress")[1] is Verdict.REPLY
    for version in (4, 6):
        _, verdict = node.judged(sent(TCP, version, trial.REMOTE_PORT))
        assert verdict is Verdict.HANDED_OVER, "Maglev alone decides"


def mixed(node: Trial, version: int) -> tuple[int, int]:
    """Return port and own backend of a service that Maglev sends elsewhere."""
    if version == 4:
        return trial.MIXED_PORT, trial.LOCAL_ID
    for protocol in (TCP, UDP):
        key = ServiceKey(ip_address(VIP6), trial.REMOTE_PORT, protocol)
        node.maps["services"].update(key.write(), Service(12, 0, 2, 1, 2, 0, 0).write())
    node.maps["service_slots"].update(number(12) + number(0), number(trial.LOCAL_ID6))
    return trial.REMOTE_PORT, trial.LOCAL_ID6


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mac", [trial.ROUTER, trial.PEER], ids=["router", "handed over"])
def test_a_segment_for_a_backend_that_is_gone_is_reset(
    node: Trial, version: int, mac: bytes
) -> None:
    port, own = mixed(node, version)
    assert node.judged(sent(TCP, version, port, mac=trial.PEER))[1] is Verdict.TO_BACKEND
    node.maps["backends"].delete(number(own))
    run, verdict = node.judged(sent(TCP, version, port, flags=ACK, mac=mac))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.DROP_BACKEND_GONE)
    assert run.packet[47 if version == 4 else 67] & RST
    assert packets.read(run.packet).good


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_for_a_backend_that_is_gone_finds_another(node: Trial, version: int) -> None:
    port, own = mixed(node, version)
    assert node.judged(sent(UDP, version, port, mac=trial.PEER))[1] is Verdict.TO_BACKEND
    node.maps["backends"].delete(number(own))
    assert node.judged(sent(UDP, version, port))[1] is Verdict.HANDED_OVER


@pytest.mark.parametrize(("idle_s", "stays"), [(0, True), (3600, False)])
def test_a_client_keeps_its_backend_until_it_idled_too_long(
    node: Trial, idle_s: int, stays: bool
) -> None:
    """The affinity's time is set back in the map, as if the client had been idle."""
    affine = Service(4, ServiceFlag.AFFINITY, 2, 1, 2, 600, 0).write()
    key = ServiceKey(ip_address(VIP), trial.MIXED_PORT, TCP).write()
    node.maps["services"].update(key, affine)
    node.run(sent(TCP, 4, trial.MIXED_PORT, mac=trial.PEER))
    client = AffinityKey(ip_address(CLIENT), 4, 0).write()
    octets = node.maps["affinity"].lookup(client)
    assert octets is not None
    kept = Affinity.read(octets)
    assert kept.backend == trial.LOCAL_ID
    # Unsigned, as the kernel counts: younger than an hour is no time before its start.
    seen = (kept.seen_ns - idle_s * NS_PER_S) % (1 << 64)
    node.maps["affinity"].update(client, Affinity(kept.backend, seen).write())
    _, verdict = node.judged(sent(TCP, 4, trial.MIXED_PORT, source_port=40001))
    assert verdict is (Verdict.TO_BACKEND if stays else Verdict.HANDED_OVER)


def test_a_ping_to_a_free_address_is_told_that_nobody_is_there(node: Trial) -> None:
    whole = ip4(packets.icmp(8), source=CLIENT, destination=trial.FREE, protocol=packets.ICMP)
    run, verdict = node.judged(ethernet(whole, source=trial.ROUTER, destination=trial.UPLINK))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.DROP_NO_ADDRESS)
    assert run.packet[34:36] == bytes((3, 1)), "host unreachable (RFC 792)"
    assert packets.read(run.packet).good


@pytest.mark.parametrize("program", ["uplink_ingress", "pod_ingress"])
def test_ipv4_inside_ipv6_addresses_passes_for_nothing(node: Trial, program: str) -> None:
    client, vip = f"::ffff:{POD}", f"::ffff:{VIP}"
    segment = packets.tcp((client, 40000), (vip, trial.LOCAL_PORT), SYN)
    frame = trial.sent_by_pod(ip6(segment, source=client, destination=vip, protocol=TCP))
    run, verdict = node.judged(frame, program)
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_MALFORMED_IP)


@pytest.mark.parametrize("source", ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255"])
def test_a_source_that_no_host_has_is_answered_nothing(node: Trial, source: str) -> None:
    for payload, protocol in (
        (packets.icmp(8), packets.ICMP),
        (packets.tcp((source, 1), (VIP, 9), SYN), TCP),
        (packets.udp((source, 1), (VIP, trial.LOCAL_PORT)), UDP),
    ):
        whole = ip4(payload, source=source, destination=VIP, protocol=protocol)
        run, verdict = node.judged(ethernet(whole, source=trial.ROUTER, destination=trial.UPLINK))
        assert (run.verdict, verdict) == (DROP, Verdict.DROP_NO_HOST)


def test_what_was_sent_to_all_of_the_link_is_no_node_s_to_serve(node: Trial) -> None:
    frame = sent(TCP, 4, trial.LOCAL_PORT)
    run, verdict = node.judged(b"\xff" * 6 + frame[6:])
    assert (run.verdict, verdict) == (DROP, Verdict.DROP_GROUP_FRAME)
