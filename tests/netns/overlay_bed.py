"""A dual stack cluster on two subnets, put together by the agent's own parts.

                     +--- near: n1, n2   192.168.1.0/24  fd00:1::/64
client --- router ---+
                     +--- far:  n3       192.168.2.0/24  fd00:2::/64
"""

import contextlib
import secrets
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import numpy as np
from datapath_bed import batch, set_sysctl, tx_checksum_off

from cairn.abi.address import write_address
from cairn.abi.records import METRIC
from cairn.abi.structs import VERDICT_SPACE, Point, Vip, VipFlag
from cairn.abi.verdicts import Verdict
from cairn.agent.reach import Reach
from cairn.apply import pod_link
from cairn.apply.data_plane import DataPlane
from cairn.apply.load_balancer import LoadBalancer
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.apply.uplink import Uplink, find_uplink, prepare_node
from cairn.desired.endpoint import PodEndpoint
from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.desired.policy import SubjectPolicy
from cairn.kube.node import NodeFacts
from cairn.linux import namespace
from cairn.net import Address, L4Address, Protocol, parse_network

VIPS = {4: "192.0.2.100", 6: "2001:db8:100::100"}
CLIENTS = {4: "192.168.50.10", 6: "fd00:50::10"}
WEB, ECHO = 8080, 5353
TIMEOUT_S = 3.0
FREE = 256
"""The identity of all pods: no policy is about them."""


@dataclass
class Pod:
    """A pod that serves TCP and UDP over both IP versions."""

    endpoint: PodEndpoint
    ns: str
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.endpoint.pod

    def address(self, version: int) -> str:
        return next(str(a) for a in self.endpoint.addresses if a.version == version)


def serve(name: str, ns: str, sockets: list[socket.socket]) -> None:
    """Answer in a namespace: over TCP name, peer and length of a line, or as many octets as a

    line "give N" asks for; over UDP the same line, and the datagram after it.
    """

    def open_sockets() -> tuple[socket.socket, socket.socket]:
        listener = socket.create_server(
            ("::", WEB), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
        )
        datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind(("::", ECHO))
        return listener, datagrams

    listener, datagrams = namespace.call_in(ns, open_sockets)
    sockets += [listener, datagrams]

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, peer = listener.accept()
                threading.Thread(target=talk, args=(conn, peer[0]), daemon=True).start()

    def talk(conn: socket.socket, peer: str) -> None:
        with conn, contextlib.suppress(OSError), conn.makefile("rwb") as stream:
            for line in stream:
                if line.startswith(b"give "):
                    stream.write(b"x" * int(line[5:]))
                else:
                    stream.write(f"{name} {plain(peer)} {len(line)}\n".encode())
                stream.flush()

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = datagrams.recvfrom(65536)
                if not peer:  # shut down
                    return
                datagrams.sendto(f"{name} {plain(peer[0])}\n".encode() + data, peer)

    threading.Thread(target=accept, daemon=True).start()
    threading.Thread(target=answer, daemon=True).start()


def plain(address: str) -> str:
    """Return an address without the prefix that maps IPv4 into IPv6."""
    return address.removeprefix("::ffff:")


@dataclass
class Station:
    """A node: its namespace and the parts of its agent."""

    name: str
    ns: str
    addresses: dict[int, str]
    facts: NodeFacts
    uplink: Uplink
    plane: DataPlane
    reach: Reach
    balancer: LoadBalancer
    pods: list[Pod] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    def address(self, version: int) -> str:
        return self.addresses[version]

    def apply(self, facts: list[NodeFacts]) -> list[str]:
        return namespace.call_in(self.ns, self.reach.apply, facts)

    def metric(self, point: Point, verdict: Verdict) -> int:
        """Return how many packets were judged so, over all CPUs."""
        raw = self.plane.maps["metrics"].lookup(struct.pack("<I", point * VERDICT_SPACE + verdict))
        assert raw is not None
        return int(np.frombuffer(raw, METRIC)["packets"].sum())

    def mtu(self, device: str) -> int:
        done = run(self.ns, "ip", "-o", "link", "show", device)
        return int(done.split(" mtu ")[1].split()[0]) if " mtu " in done else 0


@dataclass
class Bed:
    """The whole."""

    prefix: str
    router: str
    client: str
    switch: str
    stations: list[Station] = field(default_factory=list)

    @property
    def facts(self) -> list[NodeFacts]:
        return [station.facts for station in self.stations]

    def route_vip(self, station: Station) -> None:
        """Make the router send the VIPs to one node."""
        for version, vip in VIPS.items():
            words = f"-{version} route replace {vip} via {station.address(version)}"
            assert not run(self.router, "ip", *words.split())

    def publish(self, port: int, pods: list[Pod], target: int, protocol: Protocol) -> None:
        """Give every node a service at both VIPs."""
        for version, vip in VIPS.items():
            owners = {pod.name: s.name for s in self.stations for pod in s.pods}
            backends = tuple(
                Backend(
                    L4Address(ip_address(pod.address(version)), protocol, target), owners[pod.name]
                )
                for pod in pods
            )
            where = L4Address(ip_address(vip), protocol, port)
            for station in self.stations:
                frontend = Frontend("default/test", Kind.LOAD_BALANCER, backends)
                assert station.balancer.apply({where: frontend}) == []
                station.plane.maps["vips"].update(
                    write_address(ip_address(vip)), Vip(VipFlag.PING).write()
                )


def run(ns: str, *command: str) -> str:
    """Run a command in a namespace; return what it prints."""
    done = namespace.call_in(
        ns, subprocess.run, command, capture_output=True, text=True, check=False
    )
    return str(done.stdout + done.stderr)


def connect(ns: str, address: str, port: int = WEB) -> socket.socket:
    """Return a TCP connection from a namespace."""
    return namespace.call_in(ns, socket.create_connection, (address, port), TIMEOUT_S)


def ask(ns: str, address: str, port: int = WEB, length: int = 6) -> list[str]:
    """Send a line of that length over TCP; return the words of the answer."""
    with connect(ns, address, port) as conn, conn.makefile("rwb") as stream:
        stream.write(b"x" * (length - 1) + b"\n")
        stream.flush()
        return stream.readline().decode().split()


def take(conn: socket.socket, octets: int) -> None:
    """Have the other side send so much, and read it."""
    conn.sendall(f"give {octets}\n".encode())
    while octets:
        piece = conn.recv(min(octets, 1 << 16))
        assert piece, f"closed {octets} octets before the end"
        octets -= len(piece)


def exchange(ns: str, address: str, data: bytes, port: int = ECHO) -> list[str]:
    """Send a datagram, and check that it comes back; return who answered, and to whom."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.call_in(ns, socket.socket, family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.sendto(data, (address, port))
        answer, _ = sock.recvfrom(65536)
    head, body = answer.split(b"\n", 1)
    assert body == data
    return head.decode().split()


def add_station(
    made: Bed, number: int, far: bool, versions: tuple[int, ...], pins: Path
) -> Station:
    """Make a node and the parts of its agent."""
    name, subnet = f"n{number}", 2 if far else 1
    ns, mac = f"{made.prefix}-{name}", f"02:ca:18:00:00:{number:02x}"
    addresses = {4: f"192.168.{subnet}.{9 + number}", 6: f"fd00:{subnet}::{9 + number}"}
    namespace.create(ns)
    set_sysctl(ns, ("ipv6/conf/default/accept_dad", "0"))
    batch(
        made.switch,
        f"link add {name} type veth peer name eth0 address {mac} netns {ns}",
        f"link set {name} master br{subnet} up",
    )
    batch(
        ns,
        "link set lo up",
        "link set eth0 up",
        f"addr add {addresses[4]}/24 dev eth0",
        f"addr add {addresses[6]}/64 dev eth0 nodad",
        f"route add default via 192.168.{subnet}.1",
        f"route add default via fd00:{subnet}::1",
    )
    tx_checksum_off(ns, "eth0")
    ips = tuple(ip_address(addresses[version]) for version in versions)
    networks = (parse_network(f"10.244.{number}.0/24"), parse_network(f"fd00:244:{number}::/64"))
    uplink = namespace.call_in(ns, find_uplink, *ips)
    namespace.call_in(ns, prepare_node, uplink)
    plane = namespace.call_in(ns, DataPlane.load, pins / name, uplink)
    station = Station(
        name,
        ns,
        addresses,
        NodeFacts(name, ips, networks, mac),
        uplink,
        plane,
        Reach(plane, uplink, name, set_mtu=lambda mtu: set_mtu(station, mtu)),
        None,  # type: ignore[arg-type]
    )
    station.balancer = LoadBalancer(plane.maps, name, station.reach.peers)
    namespace.call_in(ns, plane.attach_uplink)
    made.stations.append(station)
    return station


def set_mtu(station: Station, mtu_bytes: int) -> list[str]:
    for pod in station.pods:
        pod_link.set_mtu(pod.endpoint, mtu_bytes)
    return []


def add_pod(made: Bed, station: Station, name: str, number: int, home: str = "default") -> Pod:
    """Wire a pod of that name and namespace with address NUMBER of its node's networks."""
    ns = f"{made.prefix}-{home[:1]}{name}"
    namespace.create(ns)
    addresses: tuple[Address, ...] = tuple(
        network[number] for network in station.facts.pod_networks
    )
    endpoint = PodEndpoint(
        container_id=f"{home}-{name}",
        ifname="eth0",
        netns=str(namespace.netns_path(ns)),
        namespace=home,
        pod=name,
        uid="",
        addresses=addresses,
        host_ifname=pod_link.host_name_of(f"{home}-{name}", "eth0"),
        host_mac=pod_link.random_mac(),
        mac=pod_link.random_mac(),
        host_ifindex=0,
    )
    wired = namespace.call_in(
        station.ns,
        pod_link.connect,
        endpoint,
        mtu_bytes=1500,
        before_up=station.plane.attach_pod,
    )
    policies = PolicyMaps(station.plane.maps, RuleNumbers({}), lambda _redirect, _rule: 0)
    free = PolicyChange({FREE: SubjectPolicy(FREE)}, {}, dict.fromkeys(addresses, FREE))
    assert policies.apply(free) == []
    pod = Pod(wired, ns)
    station.pods.append(pod)
    return pod


def add_router(made: Bed) -> None:
    """Make the router, the bridges of the two subnets, and the client."""
    set_sysctl(made.router, ("ipv6/conf/default/accept_dad", "0"))
    set_sysctl(made.client, ("ipv6/conf/default/accept_dad", "0"))
    for subnet in (1, 2):
        batch(
            made.switch,
            f"link add br{subnet} type bridge",
            f"link add r{subnet} type veth peer name eth{subnet} netns {made.router}",
            f"link set r{subnet} master br{subnet} up",
            f"link set br{subnet} up",
        )
    batch(made.router, f"link add lan type veth peer name eth0 netns {made.client}")
    for device, number in (("eth1", 1), ("eth2", 2), ("lan", 50)):
        batch(
            made.router,
            f"link set {device} up",
            f"addr add 192.168.{number}.1/24 dev {device}",
            f"addr add fd00:{number}::1/64 dev {device} nodad",
        )
    set_sysctl(made.router, ("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"))
    batch(
        made.client,
        "link set lo up",
        "link set eth0 up",
        f"addr add {CLIENTS[4]}/24 dev eth0",
        f"addr add {CLIENTS[6]}/64 dev eth0 nodad",
        "route add default via 192.168.50.1",
        "route add default via fd00:50::1",
    )
    tx_checksum_off(made.client, "eth0")


@contextlib.contextmanager
def bed(versions: tuple[int, ...] = (4, 6)) -> Iterator[Bed]:
    """Make the cluster; nodes say their addresses of these IP versions. All is gone afterwards."""
    prefix = f"ct{secrets.token_hex(3)}"
    made = Bed(prefix, f"{prefix}-rt", f"{prefix}-cl", f"{prefix}-sw")
    pins = Path("/sys/fs/bpf") / prefix
    try:
        for name in (made.switch, made.router, made.client):
            namespace.create(name)
        add_router(made)
        for number, far in ((1, False), (2, False), (3, True)):
            station = add_station(made, number, far, versions, pins)
            pod = add_pod(made, station, f"pod-{number}", 5)
            serve(pod.name, pod.ns, pod.sockets)
            serve(station.name, station.ns, station.sockets)
        for station in made.stations:
            assert station.apply(made.facts) == []
        yield made
    finally:
        for station in made.stations:
            for sock in (*station.sockets, *(s for pod in station.pods for s in pod.sockets)):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        for name in namespace.names(prefix):
            namespace.delete(name)
        shutil.rmtree(pins, ignore_errors=True)
