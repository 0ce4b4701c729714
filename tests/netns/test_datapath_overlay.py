"""Nodes on two subnets: pods, nodes and services through the overlay, and what fits on the way."""

import socket
import struct
from collections.abc import Iterator

import pytest
from datapath_bed import batch, wait_for
from overlay_bed import (
    CLIENTS,
    ECHO,
    VIPS,
    WEB,
    Bed,
    ask,
    bed,
    connect,
    exchange,
    run,
    take,
)

from cairn.abi.structs import Point
from cairn.abi.verdicts import Verdict
from cairn.apply.overlay import DEVICE, PORT
from cairn.linux import namespace
from cairn.net import Protocol

pytestmark = [pytest.mark.root, pytest.mark.bpf]

FAR_WEB, FAR_ECHO, NEAR_WEB, NEAR_ECHO = 80, 53, 81, 54
versions = pytest.mark.parametrize("version", [4, 6])


def publish(made: Bed) -> None:
    """Make services with pods on one subnet alone, so that the other's nodes must hand over."""
    near, far = made.stations[0].pods, made.stations[2].pods
    made.publish(FAR_WEB, far, WEB, Protocol.TCP)
    made.publish(FAR_ECHO, far, ECHO, Protocol.UDP)
    made.publish(NEAR_WEB, near, WEB, Protocol.TCP)
    made.publish(NEAR_ECHO, near, ECHO, Protocol.UDP)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Bed]:
    with bed() as made:
        publish(made)
        yield made


@pytest.fixture(scope="module")
def cluster6() -> Iterator[Bed]:
    """Nodes that speak IPv6 alone: the tunnels run in it."""
    with bed(versions=(6,)) as made:
        publish(made)
        yield made


def check_pods(made: Bed, version: int) -> None:
    for one in made.stations:
        for other in made.stations:
            source, pod = one.pods[0], other.pods[0]
            if one is not other:
                found = ask(source.ns, pod.address(version))
                assert found == [pod.name, source.address(version), "6"]


@versions
def test_pods_reach_pods_on_every_subnet(cluster: Bed, version: int) -> None:
    near, _, far = cluster.stations
    before = near.metric(Point.POD, Verdict.TO_TUNNEL), far.metric(Point.OVERLAY, Verdict.TO_POD)
    check_pods(cluster, version)
    assert near.metric(Point.POD, Verdict.TO_TUNNEL) > before[0]
    assert far.metric(Point.OVERLAY, Verdict.TO_POD) > before[1]


@versions
def test_nodes_reach_pods_and_pods_nodes_with_their_own_addresses(
    cluster: Bed, version: int
) -> None:
    near, _, far = cluster.stations
    for node, pod in ((near, far.pods[0]), (far, near.pods[0])):
        node_address, pod_address = node.address(version), pod.address(version)
        assert ask(node.ns, pod_address) == [pod.name, node_address, "6"]
        assert ask(pod.ns, node_address) == [node.name, pod_address, "6"]
        assert exchange(node.ns, pod_address, b"x" * 4000) == [pod.name, node_address]
        assert exchange(pod.ns, node_address, b"x" * 4000) == [node.name, pod_address]


@versions
def test_a_pod_is_masqueraded_outside_and_nowhere_else(cluster: Bed, version: int) -> None:
    node = cluster.stations[0]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    outside = namespace.call_in(
        cluster.client, socket.create_server, (CLIENTS[version], 7000), family=family
    )
    with outside, connect(node.pods[0].ns, CLIENTS[version], 7000):
        outside.settimeout(5)
        conn, peer = outside.accept()
        conn.close()
        assert peer[0] == node.address(version)


@versions
@pytest.mark.parametrize("entry", [0, 2], ids=["near", "far"])
def test_a_service_is_handed_over_with_the_clients_address(
    cluster: Bed, version: int, entry: int
) -> None:
    first, last = cluster.stations[entry], cluster.stations[2 - entry]
    port = FAR_WEB if entry == 0 else NEAR_WEB
    cluster.route_vip(first)
    replies = first.metric(Point.POD, Verdict.REPLY), last.metric(Point.POD, Verdict.REPLY)
    for length in (6, 1_000_000):
        found = ask(cluster.client, VIPS[version], port, length)
        assert found == [last.pods[0].name, CLIENTS[version], str(length)]
    assert first.metric(Point.POD, Verdict.REPLY) == replies[0], "answers took the long way"
    assert last.metric(Point.POD, Verdict.REPLY) > replies[1]
    assert last.metric(Point.OVERLAY, Verdict.TO_BACKEND) > 0


@versions
@pytest.mark.parametrize("length", [0, 1400, 1473, 4000, 20_000])
@pytest.mark.parametrize("port", [FAR_ECHO, NEAR_ECHO], ids=["handed over", "here"])
def test_datagrams_of_any_length_come_back(
    cluster: Bed, version: int, length: int, port: int
) -> None:
    cluster.route_vip(cluster.stations[0])
    data = bytes(index % 251 for index in range(length))
    assert exchange(cluster.client, VIPS[version], data, port)[1] == CLIENTS[version]


def told_mtu(made: Bed, version: int) -> int:
    """Return the path's MTU to the service's address as the client has learnt it; 0 if not."""
    route = run(made.client, "ip", f"-{version}", "route", "get", VIPS[version])
    return int(route.split(" mtu ")[1].split()[0]) if " mtu " in route else 0


def forget_paths(made: Bed, *more: str) -> None:
    for ns in (made.client, *more):
        for family in ("-4", "-6"):
            run(ns, "ip", family, "route", "flush", "cache")


@versions
def test_a_packet_too_large_for_the_overlay_is_refused_in_words(cluster: Bed, version: int) -> None:
    entry = cluster.stations[0]
    cluster.route_vip(entry)
    forget_paths(cluster)
    before = entry.metric(Point.UPLINK, Verdict.DROP_TOO_BIG)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with namespace.call_in(cluster.client, socket.socket, family, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x" * 1440, (VIPS[version], FAR_ECHO))
        wait_for(lambda: told_mtu(cluster, version) == 1450, "the client to learn")
    assert entry.metric(Point.UPLINK, Verdict.DROP_TOO_BIG) == before + 1
    assert exchange(cluster.client, VIPS[version], b"x" * 1440, FAR_ECHO)[1] == CLIENTS[version]
    assert entry.metric(Point.UPLINK, Verdict.DROP_TOO_BIG) == before + 1


def narrow(made: Bed, mtu: int) -> None:
    batch(made.router, f"link set lan mtu {mtu}")


@versions
@pytest.mark.parametrize("port", [FAR_WEB, NEAR_WEB], ids=["handed over", "here"])
def test_a_narrow_path_to_the_client_is_learnt_by_the_pod(
    cluster: Bed, version: int, port: int
) -> None:
    cluster.route_vip(cluster.stations[0])
    pod = cluster.stations[2 if port == FAR_WEB else 0].pods[0]
    forget_paths(cluster, pod.ns)
    narrow(cluster, 1300)
    try:
        with connect(cluster.client, VIPS[version], port) as conn:
            take(conn, 500_000)
        learnt = run(pod.ns, "ip", f"-{version}", "route", "get", CLIENTS[version])
        assert " mtu 1300" in learnt
    finally:
        narrow(cluster, 1500)
        forget_paths(cluster, pod.ns)


@versions
def test_a_trace_to_a_service_ends(cluster: Bed, version: int) -> None:
    cluster.route_vip(cluster.stations[0])
    found = run(cluster.client, "tracepath", f"-{version}", "-n", "-m", "5", VIPS[version])
    assert "reached" in found.splitlines()[-2], found


@versions
def test_a_trace_from_a_pod_shows_node_and_router(cluster: Bed, version: int) -> None:
    pod = cluster.stations[0].pods[0]
    found = run(pod.ns, "tracepath", f"-{version}", "-n", "-m", "5", CLIENTS[version])
    assert "reached" in found, found
    hop = {4: "192.168.1.1", 6: "fd00:1::1"}[version]
    assert hop in found, found


@versions
def test_hand_over_is_no_hop(cluster: Bed, version: int) -> None:
    cluster.route_vip(cluster.stations[0])
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with namespace.call_in(cluster.client, socket.socket, family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 2)
        sock.sendto(b"last breath", (VIPS[version], FAR_ECHO))
        assert b"last breath" in sock.recv(2048)


@pytest.mark.parametrize("option", [socket.IPV6_DSTOPTS, socket.IPV6_HOPOPTS])
def test_extension_headers_go_along(cluster: Bed, option: int) -> None:
    cluster.route_vip(cluster.stations[0])
    padding = bytes((0, 0, 1, 4, 0, 0, 0, 0))  # PadN of six octets
    with namespace.call_in(
        cluster.client, socket.socket, socket.AF_INET6, socket.SOCK_DGRAM
    ) as sock:
        sock.settimeout(5)
        sock.connect((VIPS[6], FAR_ECHO))
        for data in (b"short", b"x" * 4000):
            sock.sendmsg([data], [(socket.IPPROTO_IPV6, option, padding)])
            assert sock.recv(65536).endswith(data)


def test_who_is_no_node_cannot_speak_through_the_overlay(cluster: Bed) -> None:
    node = cluster.stations[0]
    pod = node.pods[0].address(4)
    inner = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes(4), socket.inet_aton(pod)
    )
    frame = bytes(12) + b"\x08\x00" + inner + struct.pack("!HHHH", 1, ECHO, 8, 0)
    before = node.metric(Point.OVERLAY, Verdict.DROP_TUNNEL)
    with namespace.call_in(
        cluster.client, socket.socket, socket.AF_INET, socket.SOCK_DGRAM
    ) as sock:
        sock.sendto(bytes((8, 0, 0, 0, 0, 0, 1, 0)) + frame, (node.address(4), PORT))
    wait_for(
        lambda: node.metric(Point.OVERLAY, Verdict.DROP_TUNNEL) == before + 1, "the packet's end"
    )


def test_the_overlay_is_there_only_while_it_is_needed(cluster: Bed) -> None:
    near, other, _ = cluster.stations
    pod = near.pods[0]
    assert (near.mtu(DEVICE), near.mtu(pod.endpoint.host_ifname)) == (1450, 1450)
    with connect(pod.ns, other.pods[0].address(4)) as conn:
        for facts, device, mtu in (
            ([near.facts, other.facts], 0, 1500),
            (cluster.facts, 1450, 1450),
        ):
            assert near.apply(facts) == []
            assert near.mtu(DEVICE) == device
            assert near.mtu(pod.endpoint.host_ifname) == mtu
            inside = run(pod.ns, "ip", "-o", "link", "show", "eth0")
            assert f" mtu {mtu} " in inside
            take(conn, 300_000)
    check_pods(cluster, 4)


@versions
def test_a_lower_mtu_of_the_uplink_is_followed(cluster: Bed, version: int) -> None:
    near, _, far = cluster.stations
    pod, distant = near.pods[0], far.pods[0]
    with connect(pod.ns, distant.address(version)) as conn:
        take(conn, 100_000)
        batch(near.ns, "link set eth0 mtu 1400")
        try:
            assert near.apply(cluster.facts) == []
            assert (near.mtu(DEVICE), near.mtu(pod.endpoint.host_ifname)) == (1350, 1350)
            conn.sendall(b"x" * 300_000 + b"\n")
            assert conn.recv(100).split()[2] == b"300001"
        finally:
            batch(near.ns, "link set eth0 mtu 1500")
            assert near.apply(cluster.facts) == []
    assert near.mtu(DEVICE) == 1450


def test_applying_again_changes_nothing(cluster: Bed) -> None:
    near = cluster.stations[0]
    shown = ("ip", "-d", "link", "show", DEVICE), ("ip", "route"), ("ip", "-6", "route")
    before = [run(near.ns, *command) for command in shown]
    assert near.apply(cluster.facts) == []
    assert [run(near.ns, *command) for command in shown] == before


def test_tunnels_run_in_ip6_where_nodes_speak_nothing_else(cluster6: Bed) -> None:
    near = cluster6.stations[0]
    assert near.mtu(DEVICE) == 1430
    check_pods(cluster6, 6)
    cluster6.route_vip(near)
    found = ask(cluster6.client, VIPS[6], FAR_WEB, 1_000_000)
    assert found[1:] == [CLIENTS[6], "1000000"]


def test_where_nobody_can_cut_the_sender_of_fragments_is_told(cluster6: Bed) -> None:
    cluster6.route_vip(cluster6.stations[0])
    forget_paths(cluster6)
    with namespace.call_in(
        cluster6.client, socket.socket, socket.AF_INET6, socket.SOCK_DGRAM
    ) as sock:
        sock.sendto(b"x" * 4000, (VIPS[6], FAR_ECHO))
        wait_for(lambda: told_mtu(cluster6, 6) == 1430, "the client to learn")
    assert exchange(cluster6.client, VIPS[6], b"x" * 4000, FAR_ECHO)[1] == CLIENTS[6]
