"""The path of a service address: real sockets, real programs, namespaces."""

import socket
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from datapath_bed import CLIENT, VIP, Bed, ask, batch, bed, wait_for

from cairn.abi.records import EVENT
from cairn.abi.structs import Point, ServiceFlag
from cairn.abi.verdicts import Verdict
from cairn.libbpf.ring import Ring
from cairn.linux import namespace

TCP, UDP = 6, 17

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cluster() -> Iterator[Bed]:
    with bed(nodes=3, pods=2) as made:
        for pod in made.pods:
            pod.serve_tcp(8080)
            pod.serve_udp(5353)
        made.publish(80, TCP, made.pods, target=8080, service=1)
        made.publish(53, UDP, made.pods, target=5353, service=2)
        yield made


def udp_socket(cluster: Bed) -> socket.socket:
    sock = namespace.call_in(cluster.client, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    return sock


def test_tcp_reaches_every_backend_with_the_clients_address(cluster: Bed) -> None:
    cluster.route_vip(*cluster.nodes)
    seen = set()
    for _ in range(80):
        with cluster.connect(80) as conn:
            name, peer, _ = ask(conn)
            seen.add(name)
            assert peer == CLIENT
    assert seen == {pod.name for pod in cluster.pods}


def test_udp_reaches_every_backend_with_the_clients_address(cluster: Bed) -> None:
    cluster.route_vip(*cluster.nodes)
    seen = set()
    for _ in range(80):
        with udp_socket(cluster) as sock:
            sock.sendto(b"question", (str(VIP), 53))
            answer, peer = sock.recvfrom(2048)
            assert peer == (str(VIP), 53)
            name, client, _ = answer.split(b"\n")[0].decode().split()
            assert client == CLIENT
            seen.add(name)
    assert seen == {pod.name for pod in cluster.pods}


def test_hand_over_answers_directly(cluster: Bed) -> None:
    entry, second, third = cluster.nodes
    cluster.publish(81, TCP, second.pods + third.pods, target=8080, service=3)
    cluster.route_vip(entry)
    handed = entry.metric(Point.UPLINK, Verdict.HANDED_OVER)
    replies = entry.metric(Point.POD, Verdict.REPLY)
    served = sum(n.metric(Point.UPLINK, Verdict.TO_BACKEND) for n in (second, third))
    for _ in range(10):
        with cluster.connect(81) as conn:
            assert ask(conn)[1] == CLIENT
    assert entry.metric(Point.UPLINK, Verdict.HANDED_OVER) >= handed + 30
    assert sum(n.metric(Point.UPLINK, Verdict.TO_BACKEND) for n in (second, third)) >= served + 30
    assert entry.metric(Point.POD, Verdict.REPLY) == replies


def test_connections_survive_when_the_router_rehashes(cluster: Bed) -> None:
    def connected() -> socket.socket:
        return socket.create_connection((str(VIP), 80), 5)

    cluster.route_vip(cluster.nodes[0])
    held = namespace.call_in(cluster.client, lambda: [connected() for _ in range(1000)])
    before = [ask(conn)[0] for conn in held]
    for nodes in (cluster.nodes[1:2], cluster.nodes[2:], cluster.nodes):
        cluster.route_vip(*nodes)
        assert [ask(conn)[0] for conn in held] == before
    for conn in held:
        conn.close()


def test_a_draining_backend_keeps_its_connections_and_gets_no_new_ones(cluster: Bed) -> None:
    pods = [cluster.nodes[0].pods[0], cluster.nodes[1].pods[0]]
    cluster.publish(86, TCP, pods, target=8080, service=8)
    cluster.route_vip(cluster.nodes[2])  # which hands over to both
    held = [cluster.connect(86) for _ in range(20)]
    before = [ask(conn)[0] for conn in held]
    assert set(before) == {pod.name for pod in pods}
    leaving = pods[1].name
    cluster.publish(86, TCP, pods, target=8080, service=8, draining=frozenset({leaving}))
    for _ in range(20):
        with cluster.connect(86) as conn:
            assert ask(conn)[0] == pods[0].name
    assert [ask(conn)[0] for conn in held] == before
    for conn in held:
        conn.close()


@pytest.mark.parametrize("length", [100_000, 30_000_000])
def test_bulk_arrives_whole(cluster: Bed, length: int) -> None:
    cluster.route_vip(cluster.nodes[0])
    for _ in range(4):
        with cluster.connect(80) as conn:
            answer = ask(conn, b"x" * (length - 1) + b"\n")
            assert int(answer[2]) == length


@pytest.mark.parametrize("length", [0, 1, 1472, 1473, 4000, 20_000])
def test_datagrams_of_any_length_come_back(cluster: Bed, length: int) -> None:
    cluster.route_vip(*cluster.nodes)
    data = bytes(index % 251 for index in range(length))
    for _ in range(6):
        with udp_socket(cluster) as sock:
            sock.sendto(data, (str(VIP), 53))
            answer, _ = sock.recvfrom(65536)
            head, body = answer.split(b"\n", 1)
            assert int(head.split()[2]) == length
            assert body == data


@pytest.mark.parametrize("size", [0, 56, 1472, 4000])
def test_ping_is_answered_by_the_node(cluster: Bed, size: int) -> None:
    cluster.route_vip(cluster.nodes[1])
    before = cluster.nodes[1].metric(Point.UPLINK, Verdict.PING_ANSWERED)
    command = ["ping", "-c", "3", "-i", "0.05", "-W", "2", "-s", str(size), str(VIP)]
    done = namespace.call_in(
        cluster.client, subprocess.run, command, capture_output=True, text=True, check=False
    )
    assert "3 received" in done.stdout, done.stdout
    assert cluster.nodes[1].metric(Point.UPLINK, Verdict.PING_ANSWERED) >= before + 3


def test_a_port_without_a_service_is_dropped_with_a_reason(cluster: Bed) -> None:
    node = cluster.nodes[2]
    cluster.route_vip(node)
    ring = Ring(node.maps["events"], EVENT)
    ring.drain()
    before = node.metric(Point.UPLINK, Verdict.DROP_NO_SERVICE)
    with udp_socket(cluster) as sock:
        sock.sendto(b"anyone?", (str(VIP), 9))
        source_port = sock.getsockname()[1]
    found: list[np.void] = []

    def arrived() -> bool:
        found.extend(ring.drain())
        return bool(found)

    wait_for(arrived, "an event")
    assert node.metric(Point.UPLINK, Verdict.DROP_NO_SERVICE) == before + 1
    event = found[0]
    assert event["verdict"] == Verdict.DROP_NO_SERVICE
    assert (event["source_port"], event["destination_port"]) == (source_port, 9)
    assert bytes(event["destination"])[12:] == VIP.packed


def test_without_backends_packets_are_dropped_with_a_reason(cluster: Bed) -> None:
    node = cluster.nodes[0]
    cluster.route_vip(node)
    cluster.publish(82, UDP, [], service=4)
    before = node.metric(Point.UPLINK, Verdict.DROP_NO_BACKEND)
    with udp_socket(cluster) as sock:
        sock.sendto(b"anyone?", (str(VIP), 82))
    wait_for(lambda: node.metric(Point.UPLINK, Verdict.DROP_NO_BACKEND) == before + 1, "the drop")


def test_traffic_policy_local_stays_on_the_node(cluster: Bed) -> None:
    cluster.publish(83, TCP, cluster.pods, target=8080, service=5, flags=ServiceFlag.LOCAL)
    cluster.route_vip(cluster.nodes[1])
    names = set()
    for _ in range(30):
        with cluster.connect(83) as conn:
            names.add(ask(conn)[0])
    assert names == {pod.name for pod in cluster.nodes[1].pods}


def test_affinity_keeps_a_client_at_one_backend(cluster: Bed) -> None:
    cluster.publish(84, TCP, cluster.pods, target=8080, service=6, flags=ServiceFlag.AFFINITY)
    cluster.route_vip(*cluster.nodes)
    names = set()
    for _ in range(20):
        with cluster.connect(84) as conn:
            names.add(ask(conn)[0])
    assert len(names) == 1


def test_a_narrow_path_is_learnt_wherever_the_complaint_arrives(cluster: Bed) -> None:
    first, second, third = cluster.nodes
    cluster.publish(85, TCP, first.pods + second.pods, target=8080, service=7)
    cluster.route_vip(first)
    held = [cluster.connect(85) for _ in range(8)]
    cluster.route_vip(third)  # so that complaints come to a node that has no backend
    batch(cluster.router, "link set eth1 mtu 1280")
    try:
        for conn in held:
            conn.settimeout(10)
            conn.sendall(b"give 300000\n")
            got = 0
            while got < 300_000:
                got += len(conn.recv(65536))
            conn.close()
    finally:
        batch(cluster.router, "link set eth1 mtu 1500")


def test_headers_cut_short_are_dropped_with_a_reason(cluster: Bed) -> None:
    node = cluster.nodes[0]
    whole = bytes.fromhex("45000028000700004006") + bytes(6) + VIP.packed
    before = node.metric(Point.UPLINK, Verdict.DROP_TRUNCATED_L3)
    # Straight into the node's wire: the bridge itself refuses such frames.
    with namespace.call_in(cluster.switch, socket.socket, socket.AF_PACKET, socket.SOCK_RAW) as raw:
        namespace.call_in(cluster.switch, raw.bind, ("n1", 0))
        for length in range(1, len(whole)):
            raw.send(node.mac + bytes.fromhex("020000000001") + b"\x08\x00" + whole[:length])
    wait_for(
        lambda: node.metric(Point.UPLINK, Verdict.DROP_TRUNCATED_L3) == before + len(whole) - 1,
        "every frame to be counted",
    )
