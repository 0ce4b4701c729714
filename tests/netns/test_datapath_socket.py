"""Sockets in a control group reach services directly, and see the service's address."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from datapath_bed import OBJECTS, Bed, bed

from cairn.abi.structs import ServiceFlag
from cairn.libbpf import AttachType, Link, load_object
from cairn.linux import cgroup, namespace

TCP, UDP = 6, 17
CLUSTER_IP = ip_address("10.96.0.50")
HOOKS = {
    f"socket_{call}{family}": AttachType[f"CGROUP_{call.upper()}{family}"]
    for call in ("connect", "sendmsg", "recvmsg", "getpeername")
    for family in (4, 6)
}
CLIENT = """
import json, os, socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
kind, family, host, port, times = sys.argv[2:]
family = socket.AF_INET6 if family == "6" else socket.AF_INET
found = []
try:
    shared = socket.socket(family, socket.SOCK_DGRAM)
    for _ in range(int(times)):
        if kind == "tcp":
            s = socket.socket(family)
            s.settimeout(3)
            s.connect((host, int(port)))
            s.sendall(b"hello\\n")
            found.append([s.recv(200).decode().split()[0], s.getpeername()[0], s.getpeername()[1]])
            s.close()
        else:
            s = shared if kind == "unconnected" else socket.socket(family, socket.SOCK_DGRAM)
            s.settimeout(3)
            if kind == "connected":
                s.connect((host, int(port)))
                s.send(b"hello")
            else:
                s.sendto(b"hello", (host, int(port)))
            data, peer = s.recvfrom(200)
            found.append([data.decode().split()[0], peer[0], peer[1]])
    print(json.dumps(found))
except OSError as error:
    print(json.dumps(type(error).__name__))
"""

pytestmark = pytest.mark.root


@dataclass
class Sockets:
    """A cluster and a control group whose sockets are translated."""

    cluster: Bed
    group: Path

    def run(self, ns: str, kind: str, host: str, port: int, times: int = 1, family: int = 4) -> Any:
        arguments = [str(self.group), kind, str(family), host, str(port), str(times)]
        done = namespace.call_in(
            ns,
            subprocess.run,
            [sys.executable, "-c", CLIENT, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def sockets() -> Iterator[Sockets]:
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(bed(nodes=2, pods=2))
        group = cgroup.create(cgroup.unified_root() / f"ct-{os.getpid()}-{secrets.token_hex(2)}")
        stack.callback(cgroup.remove, group)
        reuse = {k: v for k, v in cluster.nodes[0].maps.items() if "." not in k}
        loaded = stack.enter_context(load_object(OBJECTS / "socket.o", reuse=reuse))
        fd = os.open(group, os.O_RDONLY)
        stack.callback(os.close, fd)
        for name, hook in HOOKS.items():
            stack.enter_context(Link.create(loaded.programs[name], hook, fd))
        for pod in cluster.pods:
            pod.serve_tcp(8080)
            pod.serve_udp(5353)
        publish = cluster.publish
        publish(80, TCP, cluster.pods, target=8080, service=1, address=CLUSTER_IP)
        publish(53, UDP, cluster.pods, target=5353, service=2, address=CLUSTER_IP)
        publish(81, TCP, [], service=3, address=CLUSTER_IP)
        local = ServiceFlag.SOCKET_LOCAL
        publish(82, TCP, cluster.pods, target=8080, service=4, address=CLUSTER_IP, flags=local)
        affinity = ServiceFlag.AFFINITY
        publish(83, TCP, cluster.pods, target=8080, service=5, address=CLUSTER_IP, flags=affinity)
        yield Sockets(cluster, group)


@pytest.mark.parametrize("place", ["pod", "node"])
def test_connections_spread_and_see_the_service(sockets: Sockets, place: str) -> None:
    node = sockets.cluster.nodes[0]
    ns = node.ns if place == "node" else node.pods[0].ns
    found = sockets.run(ns, "tcp", str(CLUSTER_IP), 80, times=60)
    assert {name for name, *_ in found} == {pod.name for pod in sockets.cluster.pods}
    assert {(host, port) for _, host, port in found} == {(str(CLUSTER_IP), 80)}


def test_mapped_addresses_of_ipv6_sockets(sockets: Sockets) -> None:
    ns = sockets.cluster.nodes[0].ns
    found = sockets.run(ns, "tcp", f"::ffff:{CLUSTER_IP}", 80, family=6)
    assert found[0][1:] == [f"::ffff:{CLUSTER_IP}", 80]


@pytest.mark.parametrize("kind", ["connected", "unconnected", "fresh"])
def test_datagrams_come_from_the_service(sockets: Sockets, kind: str) -> None:
    ns = sockets.cluster.nodes[0].pods[0].ns
    found = sockets.run(ns, kind, str(CLUSTER_IP), 53, times=20)
    assert {(host, port) for _, host, port in found} == {(str(CLUSTER_IP), 53)}
    names = {name for name, *_ in found}
    assert len(names) == 1 if kind == "unconnected" else len(names) > 1


def test_without_backends_the_connection_is_refused(sockets: Sockets) -> None:
    ns = sockets.cluster.nodes[0].ns
    assert sockets.run(ns, "tcp", str(CLUSTER_IP), 81) == "ConnectionRefusedError"


def test_internal_traffic_policy_local(sockets: Sockets) -> None:
    node = sockets.cluster.nodes[0]
    found = sockets.run(node.ns, "tcp", str(CLUSTER_IP), 82, times=30)
    assert {name for name, *_ in found} == {pod.name for pod in node.pods}


def test_affinity_of_a_namespace(sockets: Sockets) -> None:
    node = sockets.cluster.nodes[0]
    found = sockets.run(node.pods[0].ns, "tcp", str(CLUSTER_IP), 83, times=20)
    assert len({name for name, *_ in found}) == 1


def test_addresses_that_are_no_service_are_left_alone(sockets: Sockets) -> None:
    pod = sockets.cluster.nodes[1].pods[0]
    found = sockets.run(sockets.cluster.nodes[0].ns, "tcp", pod.address, 8080)
    assert found == [[pod.name, pod.address, 8080]]
