"""A small cluster of namespaces with the real data plane: router, client, nodes, pods.

client --- router === nodes' bridge === node-1 .. node-N, each with pods
"""

import contextlib
import ctypes
import fcntl
import os
import secrets
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from cairn.abi.records import METRIC
from cairn.abi.structs import (
    MAGLEV_SIZE,
    VERDICT_SPACE,
    Backend,
    BackendFlag,
    Config,
    Endpoint,
    Mac,
    Node,
    Point,
    Prefix,
    Service,
    ServiceFlag,
    ServiceKey,
    SlotKey,
    Vip,
    VipFlag,
)
from cairn.abi.verdicts import Verdict
from cairn.libbpf import AttachType, Link, Map, MapShape, MapType, Object, load_object
from cairn.linux import namespace
from cairn.net import Address

OBJECTS = Path(__file__).parents[2] / "src" / "cairn" / "_bpf"
VIP = ip_address("192.0.2.100")
CLIENT = "192.168.50.10"
GATEWAY = "169.254.1.1"
SIZES = {"conntrack": 4096, "fragments": 512, "socket_reverse": 512}
SIOCETHTOOL, ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM = 0x8946, 0x16, 0x17


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 10.0) -> None:
    """Return once `condition` holds; fails after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


def batch(name: str, *commands: str) -> None:
    """Run `ip` commands inside a namespace."""
    subprocess.run(
        ["ip", "-n", name, "-batch", "-"], input="\n".join(commands), text=True, check=True
    )


def set_sysctl(name: str, *settings: tuple[str, str]) -> None:
    """Write network sysctls of a namespace."""

    def write() -> None:
        for key, value in settings:
            Path("/proc/sys/net", key).write_text(value)

    namespace.call_in(name, write)


def tx_checksum_off(name: str, device: str) -> None:
    """Make `device` complete checksums before it sends, so that a wrong one cannot hide.

    The client's and every second pod's are complete from the start; the other pods' are
    partial when they are translated and completed afterwards, on the node's uplink.
    """

    def apply() -> None:
        value = ctypes.create_string_buffer(struct.pack("<II", ETHTOOL_STXCSUM, 0), 8)
        request = struct.pack("16sP", device.encode(), ctypes.addressof(value)).ljust(40, b"\0")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCETHTOOL, request)
            struct.pack_into("<I", value, 0, ETHTOOL_GTXCSUM)
            fcntl.ioctl(control, SIOCETHTOOL, request)
        assert struct.unpack_from("<I", value, 4)[0] == 0, f"{device} still offloads checksums"

    namespace.call_in(name, apply)


def mac_of(number: int) -> bytes:
    """Return a MAC that is unique in the bed."""
    return bytes((0x02, 0xCA, 0x18, 0, number >> 8, number & 0xFF))


def text_mac(mac: bytes) -> str:
    """Return a MAC as `ip` writes it."""
    return mac.hex(":")


@dataclass
class Pod:
    """A pod's namespace and address."""

    name: str
    address: str
    ns: str
    ifindex: int
    number: int
    stop: list[socket.socket] = field(default_factory=list)

    def endpoint(self) -> Endpoint:
        return Endpoint(self.ifindex, mac_of(self.number), mac_of(self.number + 1), 0, 0)

    def listen(self, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Return a socket of the pod that listens on `port`."""
        sock = namespace.call_in(self.ns, socket.socket, socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        if kind == socket.SOCK_STREAM:
            sock.listen(256)
        self.stop.append(sock)
        return sock

    def serve_tcp(self, port: int) -> None:
        """Answer each line with the pod's name, the client's address and the line's length.

        A line "give N" is answered with N octets.
        """
        listener = self.listen(port)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn, peer = listener.accept()
                    threading.Thread(target=talk, args=(conn, peer), daemon=True).start()

        def talk(conn: socket.socket, peer: tuple[str, int]) -> None:
            with conn, contextlib.suppress(OSError), conn.makefile("rwb") as stream:
                for line in stream:
                    if line.startswith(b"give "):
                        stream.write(b"x" * int(line[5:]))
                        stream.flush()
                        continue
                    stream.write(f"{self.name} {peer[0]} {len(line)}\n".encode())
                    stream.flush()

        threading.Thread(target=accept, daemon=True).start()

    def serve_udp(self, port: int) -> None:
        """Answer each datagram likewise, then the datagram itself."""
        sock = self.listen(port, socket.SOCK_DGRAM)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, peer = sock.recvfrom(65536)
                    if peer is None:  # shut down
                        return
                    head = f"{self.name} {peer[0]} {len(data)}\n".encode()
                    sock.sendto(head + data, peer)

        threading.Thread(target=answer, daemon=True).start()


@dataclass
class NodeBed:
    """A node: its namespace, its programs and its pods."""

    index: int
    ns: str
    address: str
    mac: bytes
    objects: dict[str, Object] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    hooked: list[tuple[str, Link]] = field(default_factory=list)
    """The links, with the names of what was put there."""
    pods: list[Pod] = field(default_factory=list)
    inner: dict[int, Map] = field(default_factory=dict)

    @property
    def maps(self) -> dict[str, Map]:
        return self.objects["uplink_ingress"].maps

    def load(self, uplink: int) -> None:
        """Load and attach the uplink's programs; must run inside the node's namespace."""
        config = Config(
            ip_address(self.address), ip_address("::"), uplink, 0, 0, self.mac, 1_000, 20_000, 0
        ).write()
        shared: dict[str, Map] = {}
        for name in ("uplink_ingress", "uplink_egress", "pod_ingress", "pod_egress"):
            loaded = load_object(
                OBJECTS / f"{name}.o",
                sizes=SIZES,
                config={".rodata.config": config},
                reuse=shared,
            )
            self.objects[name] = loaded
            if not shared:
                shared = {key: item for key, item in loaded.maps.items() if "." not in key}
        self.attach("uplink_ingress", AttachType.TCX_INGRESS, uplink)
        self.attach("uplink_egress", AttachType.TCX_EGRESS, uplink)

    def attach(self, name: str, hook: AttachType, ifindex: int) -> None:
        program = self.objects[name].programs[name]
        link = Link.create(program, hook, ifindex)
        self.links.append(link)
        self.hooked.append((name, link))

    def metric(self, point: Point, verdict: Verdict) -> int:
        """Return how many packets were judged so, over all CPUs."""
        key = struct.pack("<I", point * VERDICT_SPACE + verdict)
        raw = self.maps["metrics"].lookup(key)
        assert raw is not None
        return int(np.frombuffer(raw, METRIC)["packets"].sum())

    def close(self) -> None:
        for pod in self.pods:
            for sock in pod.stop:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        for link in self.links:
            link.close()
        for inner in self.inner.values():
            inner.close()
        for loaded in self.objects.values():
            loaded.close()


@dataclass
class Bed:
    """The whole."""

    prefix: str
    switch: str
    router: str
    client: str
    nodes: list[NodeBed]
    namespaces: list[str]

    @property
    def pods(self) -> list[Pod]:
        return [pod for node in self.nodes for pod in node.pods]

    def route_vip(self, *via: NodeBed) -> None:
        """Make the router send the VIP to these nodes, by 5-tuple hash."""
        hops = " ".join(f"nexthop via {node.address}" for node in via)
        batch(self.router, f"route replace {VIP}/32 {hops}")

    def publish(
        self,
        port: int,
        protocol: int,
        pods: list[Pod],
        *,
        target: int | None = None,
        service: int = 1,
        flags: ServiceFlag = ServiceFlag(0),  # noqa: B008
        address: Address = VIP,
        draining: frozenset[str] = frozenset(),
    ) -> None:
        """Write a service to every node's maps, the same table everywhere.

        Pods named in `draining` keep what they have and get nothing new.
        """
        base = service * 100
        ready = [index for index, pod in enumerate(pods) if pod.name not in draining]
        spread = np.random.default_rng(service).permutation(MAGLEV_SIZE) % max(1, len(ready))
        table = (np.array(ready or [0])[spread] + base).astype("<u4").tobytes()
        for node in self.nodes:
            ordered = sorted(ready, key=lambda i: pods[i] not in node.pods)
            for number, pod in enumerate(pods):
                owner = next(n for n in self.nodes if pod in n.pods)
                what = BackendFlag.LOCAL if owner is node else BackendFlag(0)
                what |= BackendFlag.TERMINATING if pod.name in draining else BackendFlag(0)
                value = Backend(ip_address(pod.address), target or port, what, owner.index)
                node.maps["backends"].update(struct.pack("<I", base + number), value.write())
            for slot, number in enumerate(ordered):
                key = SlotKey(service, slot).write()
                node.maps["service_slots"].update(key, struct.pack("<I", base + number))
            with Map.create(MapShape(MapType.ARRAY, 4, MAGLEV_SIZE * 4, 1, 0), "maglev") as inner:
                inner.update(bytes(4), table)
                node.maps["maglev"].update_inner(struct.pack("<I", service), inner)
            here = sum(pods[index] in node.pods for index in ready)
            node.maps["services"].update(
                ServiceKey(address, port, protocol).write(),
                Service(service, flags, len(ready), here, len(ready), 0, 0).write(),
            )
            if address == VIP:
                node.maps["vips"].update(
                    ServiceKey(VIP, 0, 0).write()[:16], Vip(VipFlag.PING).write()
                )

    def connect(self, port: int, *, source: str | None = None) -> socket.socket:
        """Return a TCP connection from the client to the VIP."""
        return namespace.call_in(
            source or self.client, socket.create_connection, (str(VIP), port), 5
        )


def ask(conn: socket.socket, line: bytes = b"hello\n") -> list[str]:
    """Send a line and return the words of the answer."""
    conn.sendall(line)
    answer = b""
    while not answer.endswith(b"\n"):
        piece = conn.recv(4096)
        if not piece:
            raise ConnectionError("closed before the answer")
        answer += piece
    return answer.decode().split()


def add_pod(node: NodeBed, number: int, prefix: str) -> Pod:
    """Wire a pod to `node` and put it in its maps."""
    name = f"pod-{node.index}-{number}"
    ns, device, serial = f"{prefix}-{name}", f"veth{number}", node.index * 256 + number * 2
    address = f"10.244.{node.index}.{number}"
    namespace.create(ns)
    batch(
        node.ns,
        f"link add {device} address {text_mac(mac_of(serial + 1))} type veth peer name eth0 "
        f"address {text_mac(mac_of(serial))} netns {ns}",
        f"link set {device} up",
        f"route add {address}/32 dev {device}",
    )
    batch(
        ns,
        "link set lo up",
        "link set eth0 up",
        f"addr add {address}/32 dev eth0",
        f"route add {GATEWAY} dev eth0 scope link",
        f"route add default via {GATEWAY} dev eth0",
        f"neigh add {GATEWAY} lladdr {text_mac(mac_of(serial + 1))} dev eth0",
    )
    ifindex = namespace.call_in(node.ns, socket.if_nametoindex, device)
    pod = Pod(name, address, ns, ifindex, serial)
    namespace.call_in(node.ns, node.attach, "pod_ingress", AttachType.TCX_INGRESS, ifindex)
    namespace.call_in(node.ns, node.attach, "pod_egress", AttachType.TCX_EGRESS, ifindex)
    node.maps["endpoints"].update(
        ServiceKey(ip_address(address), 0, 0).write()[:16], pod.endpoint().write()
    )
    node.pods.append(pod)
    return pod


def add_node(index: int, prefix: str, switch: str) -> NodeBed:
    """Make a node on the bridge, with its programs attached."""
    node = NodeBed(index, f"{prefix}-n{index}", f"192.168.1.{9 + index}", mac_of(index))
    namespace.create(node.ns)
    batch(
        switch,
        f"link add n{index} type veth peer name eth0 address {text_mac(node.mac)} netns {node.ns}",
        f"link set n{index} master br0 up",
    )
    batch(
        node.ns,
        "link set lo up",
        "link set eth0 up",
        f"addr add {node.address}/24 dev eth0",
        "route add default via 192.168.1.1",
    )
    set_sysctl(node.ns, ("ipv4/ip_forward", "1"))
    namespace.call_in(node.ns, lambda: node.load(socket.if_nametoindex("eth0")))
    return node


def introduce(nodes: list[NodeBed]) -> None:
    """Tell every node of the others: peers, hand-over, pod routes."""
    for node in nodes:
        for other in nodes:
            if other is node:
                continue
            index = struct.pack("<I", other.index)
            value = Node(ip_address(other.address), other.mac, 0)
            prefix = Prefix(96 + 24, ip_address(f"10.244.{other.index}.0"))
            node.maps["nodes"].update(index, value.write())
            node.maps["peers"].update(Mac(other.mac).write(), index)
            node.maps["pod_routes"].update(prefix.write(), index)
            batch(node.ns, f"route add 10.244.{other.index}.0/24 via {other.address}")


def add_router_and_client(bed: Bed, switch: str) -> None:
    """Make the router on the bridge and the client behind it."""
    batch(switch, f"link add rt type veth peer name eth0 netns {bed.router}")
    batch(switch, "link set rt master br0 up")
    batch(bed.router, f"link add eth1 type veth peer name eth0 netns {bed.client}")
    batch(
        bed.router,
        "link set eth0 up",
        "link set eth1 up",
        "addr add 192.168.1.1/24 dev eth0",
        "addr add 192.168.50.1/24 dev eth1",
    )
    set_sysctl(bed.router, ("ipv4/ip_forward", "1"), ("ipv4/fib_multipath_hash_policy", "1"))
    batch(
        bed.client,
        "link set lo up",
        "link set eth0 up",
        f"addr add {CLIENT}/24 dev eth0",
        "route add default via 192.168.50.1",
    )
    tx_checksum_off(bed.client, "eth0")


@contextlib.contextmanager
def bed(nodes: int = 3, pods: int = 1) -> Iterator[Bed]:
    """Make a cluster; everything is gone afterwards."""
    prefix = f"ct-{os.getpid()}-{secrets.token_hex(2)}"
    switch = f"{prefix}-sw"
    made = Bed(prefix, switch, f"{prefix}-rt", f"{prefix}-cl", [], [])
    try:
        for name in (switch, made.router, made.client):
            namespace.create(name)
        batch(switch, "link add br0 type bridge", "link set br0 up")
        add_router_and_client(made, switch)
        for index in range(1, nodes + 1):
            node = add_node(index, prefix, switch)
            made.nodes.append(node)
            for number in range(1, pods + 1):
                pod = add_pod(node, number, prefix)
                if number % 2 == 0:
                    tx_checksum_off(pod.ns, "eth0")
            tx_checksum_off(node.ns, "eth0")
        introduce(made.nodes)
        yield made
    finally:
        for node in made.nodes:
            node.close()
        for name in namespace.names(prefix):
            namespace.delete(name)
