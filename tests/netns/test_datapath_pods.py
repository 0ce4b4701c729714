"""Pods among themselves, pods and their node, and what a pod must not do."""

import socket
import subprocess
from collections.abc import Iterator

import pytest
from datapath_bed import VIP, Bed, Pod, ask, batch, bed, wait_for

from cairn.abi.structs import Point, ServiceKey, Vip, VipFlag
from cairn.abi.verdicts import Verdict
from cairn.linux import namespace

TCP = 6

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cluster() -> Iterator[Bed]:
    with bed(nodes=2, pods=2) as made:
        for pod in made.pods:
            pod.serve_tcp(8080)
            pod.serve_udp(5353)
        yield made


def talk(source_ns: str, pod: Pod) -> list[str]:
    """Return the pod's answer to a connection from a namespace."""
    conn = namespace.call_in(source_ns, socket.create_connection, (pod.address, 8080), 5)
    with conn:
        return ask(conn)


def test_pods_of_one_node_reach_each_other(cluster: Bed) -> None:
    node = cluster.nodes[0]
    one, two = node.pods
    before = node.metric(Point.POD, Verdict.TO_POD)
    assert talk(one.ns, two) == [two.name, one.address, "6"]
    assert node.metric(Point.POD, Verdict.TO_POD) > before


def test_pods_of_two_nodes_reach_each_other(cluster: Bed) -> None:
    one, other = cluster.nodes[0].pods[0], cluster.nodes[1].pods[0]
    before = cluster.nodes[0].metric(Point.POD, Verdict.TO_NODE)
    assert talk(one.ns, other) == [other.name, one.address, "6"]
    assert cluster.nodes[0].metric(Point.POD, Verdict.TO_NODE) > before
    assert cluster.nodes[1].metric(Point.UPLINK, Verdict.TO_POD) > 0


def test_the_node_reaches_its_pods_and_they_the_node(cluster: Bed) -> None:
    node = cluster.nodes[0]
    pod = node.pods[0]
    assert talk(node.ns, pod)[0] == pod.name
    listener = namespace.call_in(node.ns, socket.create_server, (node.address, 9000))
    with listener:
        conn = namespace.call_in(pod.ns, socket.create_connection, (node.address, 9000), 5)
        with conn:
            assert conn.getpeername()[0] == node.address


def test_a_node_reaches_pods_of_another(cluster: Bed) -> None:
    pod = cluster.nodes[1].pods[1]
    assert talk(cluster.nodes[0].ns, pod) == [pod.name, cluster.nodes[0].address, "6"]


def test_a_pod_cannot_send_from_an_address_not_its_own(cluster: Bed) -> None:
    node = cluster.nodes[0]
    one, two = node.pods
    before = node.metric(Point.POD, Verdict.DROP_SOURCE_ADDRESS)
    batch(one.ns, "addr add 10.244.1.99/32 dev eth0")
    with namespace.call_in(one.ns, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.244.1.99", 0))
        sock.sendto(b"forged", (two.address, 5353))
    wait_for(lambda: node.metric(Point.POD, Verdict.DROP_SOURCE_ADDRESS) == before + 1, "the drop")


def test_a_pod_pings_a_service_address(cluster: Bed) -> None:
    cluster.publish(89, TCP, cluster.pods, target=8080, service=12)
    pod = cluster.nodes[0].pods[0]
    command = ["ping", "-c", "2", "-i", "0.05", "-W", "2", "-s", "3000", str(VIP)]
    done = namespace.call_in(
        pod.ns, subprocess.run, command, capture_output=True, text=True, check=False
    )
    assert "2 received" in done.stdout, done.stdout
    assert cluster.nodes[0].metric(Point.POD, Verdict.PING_ANSWERED) >= 2


def test_a_backend_in_the_nodes_own_network_answers_for_the_service(cluster: Bed) -> None:
    first, second = cluster.nodes
    host = Pod("host-1", first.address, first.ns, 0, 900)
    host.serve_tcp(8081)
    first.pods.append(host)
    try:
        cluster.publish(90, TCP, [host], target=8081, service=9)
        for entry in (first, second):
            cluster.route_vip(entry)
            with cluster.connect(90) as conn:
                assert ask(conn)[0] == "host-1"
                assert conn.getpeername()[0] == str(VIP)
    finally:
        first.pods.remove(host)
        for sock in host.stop:
            sock.close()


def test_forwarding_goes_on_while_programs_are_exchanged(cluster: Bed) -> None:
    node = cluster.nodes[0]
    cluster.publish(91, TCP, cluster.pods, target=8080, service=10)
    cluster.route_vip(node)
    program = node.objects["uplink_ingress"].programs["uplink_ingress"]
    with cluster.connect(91) as conn:
        for _ in range(50):
            assert node.links[0].update(program)
            assert ask(conn)


def test_arp_is_answered_only_by_the_elected_node(cluster: Bed) -> None:
    cluster.publish(92, TCP, cluster.pods, target=8080, service=11)
    neighbour = ["ip", "-n", cluster.router, "neigh", "show", str(VIP)]
    batch(cluster.router, f"route replace {VIP}/32 dev eth0")
    elected = cluster.nodes[1]
    elected.maps["vips"].update(
        ServiceKey(VIP, 0, 0).write()[:16], Vip(VipFlag.PING | VipFlag.ARP).write()
    )
    with cluster.connect(92) as conn:
        assert ask(conn)
    shown = subprocess.run(neighbour, capture_output=True, text=True, check=True).stdout
    assert elected.mac.hex(":") in shown
    assert cluster.nodes[0].metric(Point.UPLINK, Verdict.ARP_ANSWERED) == 0
    assert elected.metric(Point.UPLINK, Verdict.ARP_ANSWERED) > 0
