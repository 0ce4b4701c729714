"""The XDP program in the way of real traffic: attached as needed, dropping, handing over."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datapath_bed import CLIENT, OBJECTS, Bed, NodeBed, ask, bed

from cairn.abi.records import METRIC
from cairn.abi.structs import VERDICT_SPACE, Config, ConfigFlag, Point, Revision
from cairn.abi.verdicts import Verdict
from cairn.agent.cluster import Cluster
from cairn.agent.early_drops import EarlyDrops
from cairn.agent.reconciler import Reconciler
from cairn.apply.data_plane import DataPlane
from cairn.apply.revision import RevisionMap
from cairn.apply.uplink import find_uplink
from cairn.apply.xdp import XdpHook
from cairn.drive.kube_client import Client
from cairn.drive.kubeconfig import Access
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.service import Service
from cairn.libbpf import AttachType, Link, load_object
from cairn.linux import mount, namespace
from cairn.net import parse_address

pytestmark = pytest.mark.root

NODE, GOOD, BAD, VIP = "192.168.1.10", "192.168.1.50", "192.168.1.51", "192.168.1.100"
PORT, TARGET = 80, 8080
NATIVE = 4
TCP = 6
IDLE = "not attached (nothing to drop; veth: hand-over at tcx)"
DROPS = "native, drops only (veth: hand-over at tcx)"
PATIENCE_S = 20.0
SO_RCVBUFFORCE = 33


class Node:
    """One node with its programs and the part of an agent that keeps them; a client beside it."""

    def __init__(self, name: str) -> None:
        self.node, self.client = f"{name}-n", f"{name}-c"
        self.pins = Path("/sys/fs/bpf") / name
        self.states: list[str] = []
        self.cluster = Cluster(Client(Access("http://127.0.0.1:1", None)), "node-1")

    def wire(self) -> None:
        """Make the two namespaces with one cable between them."""
        for ns, other, addresses in (
            (self.node, self.client, (NODE,)),
            (self.client, self.node, (GOOD, BAD)),
        ):
            if ns == self.node:
                run(ns, f"link add eth0 type veth peer name eth0 netns {other}")
            run(ns, "link set lo up", "link set eth0 up")
            run(ns, *(f"addr add {address}/24 dev eth0" for address in addresses))
        run(self.client, f"route add {VIP} via {NODE}")

    def load(self) -> None:
        """Load the programs and make what keeps them; inside the node's namespace."""
        uplink = find_uplink(parse_address(NODE))
        self.plane = DataPlane.load(self.pins, uplink)
        self.plane.attach_uplink()
        hook = XdpHook(self.plane, uplink, RevisionMap(self.plane.maps))
        early = EarlyDrops(self.plane.maps, hook)
        early.on_state = self.states.append
        self.reconciler = Reconciler(
            self.cluster, self.plane, uplink, "node-1", on_services=lambda *_: None, early=early
        )

    def counted(self, point: Point, verdict: Verdict) -> int:
        """Return how many packets were judged so."""
        raw = self.plane.maps["metrics"].lookup(struct.pack("<I", point * VERDICT_SPACE + verdict))
        assert raw is not None
        return int(np.frombuffer(raw, METRIC)["packets"].sum())

    def publish(self, **annotations_and_ranges: Any) -> None:
        """Have a Service at the VIP, served by the node itself."""
        ranges = annotations_and_ranges.pop("ranges", [])
        rate = annotations_and_ranges.pop("rate", "")
        service = Service.from_object(
            {
                "metadata": {
                    "namespace": "default",
                    "name": "web",
                    "annotations": {"cairn.io/source-rate": rate} if rate else {},
                },
                "spec": {
                    "type": "LoadBalancer",
                    "ports": [{"port": PORT, "protocol": "TCP"}],
                    "loadBalancerSourceRanges": ranges,
                },
                "status": {"loadBalancer": {"ingress": [{"ip": VIP}]}},
            }
        )
        piece = EndpointSlice.from_object(
            {
                "metadata": {
                    "namespace": "default",
                    "name": "web-1",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": TARGET, "protocol": "TCP"}],
                "endpoints": [
                    {"addresses": [NODE], "nodeName": "node-1", "conditions": {"ready": True}}
                ],
            }
        )
        self.cluster.services[service.key] = service
        self.cluster.slices[service.key] = {Key("default", "web-1"): piece}
        self.cluster.dirty_services.add(service.key)
        self.cluster.changed.set()

    def deny(self, *networks: str) -> None:
        """Have a deny list of these networks."""
        self.cluster.groups[Key("", "bad")] = CidrGroup.from_object(
            {
                "metadata": {"name": "bad", "annotations": {"cairn.io/deny": "true"}},
                "spec": {"externalCIDRs": list(networks)},
            }
        )
        self.cluster.dirty_groups = True
        self.cluster.changed.set()

    def connects(self, source: str, timeout_s: float = 0.5) -> bool:
        """Return whether a client with this address is served at the VIP."""

        def attempt() -> bool:
            try:
                with socket.create_connection((VIP, PORT), timeout_s, (source, 0)) as conn:
                    return conn.recv(16) == b"served"
            except OSError:
                return False

        return namespace.call_in(self.client, attempt)


def run(ns: str, *commands: str) -> None:
    """Run `ip` commands inside a namespace."""
    subprocess.run(
        ["ip", "-n", ns, "-batch", "-"], input="\n".join(commands), text=True, check=True
    )


@contextlib.contextmanager
def serving(ns: str) -> Iterator[None]:
    """Answer every connection to the target port with one word."""
    listener = namespace.call_in(ns, socket.create_server, ("", TARGET), backlog=512)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                with conn, contextlib.suppress(OSError):
                    conn.sendall(b"served")

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node(f"ct-{os.getpid()}-{secrets.token_hex(2)}")
    mount.ensure_bpffs()
    with namespace.temporary(made.node), namespace.temporary(made.client), serving(made.node):
        made.wire()
        try:
            namespace.call_in(made.node, made.load)
            yield made
        finally:
            shutil.rmtree(made.pins, ignore_errors=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.02)


def in_force(node: Node, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario while the reconciler follows, all inside the node's namespace."""

    async def both() -> None:
        await node.reconciler.start()
        task = asyncio.create_task(node.reconciler.run())
        try:
            await scenario()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    namespace.call_in(node.node, lambda: asyncio.run(both()))


async def connects(node: Node, source: str) -> bool:
    """Return whether a client is served, without stopping the reconciler."""
    return await asyncio.to_thread(node.connects, source)


def test_on_a_veth_the_program_is_there_while_something_is_to_be_dropped(node: Node) -> None:
    async def scenario() -> None:
        assert node.states[-1] == IDLE
        node.publish()
        await until(lambda: node.connects(BAD))
        node.deny(f"{BAD}/32", f"{NODE}/8", "nonsense")
        await until(lambda: node.states[-1] == DROPS)
        before = node.counted(Point.UPLINK, Verdict.DROP_DENIED)
        assert not await connects(node, BAD)
        assert await connects(node, GOOD)
        assert node.counted(Point.XDP, Verdict.DROP_DENIED) > 0
        assert node.counted(Point.UPLINK, Verdict.DROP_DENIED) == before
        node.deny()
        await until(lambda: node.states[-1] == IDLE)
        assert await connects(node, BAD)
        assert not list((node.pins / "links").glob("uplink_xdp*"))

    in_force(node, scenario)


def test_source_ranges_are_enforced_in_xdp_and_counted_there(node: Node) -> None:
    async def scenario() -> None:
        node.publish(ranges=[f"{GOOD}/32"])
        await until(lambda: node.states[-1] == DROPS)
        assert await connects(node, GOOD)
        assert not await connects(node, BAD)
        assert node.counted(Point.XDP, Verdict.DROP_SOURCE_RANGE) > 0
        assert node.counted(Point.UPLINK, Verdict.DROP_SOURCE_RANGE) == 0

    in_force(node, scenario)


def test_a_flood_of_one_source_is_limited_while_another_is_served(node: Node) -> None:
    def flood(count: int) -> int:
        """Open so many connections from one source at once; return how many were served."""
        opened = []
        for _ in range(count):
            conn = socket.socket()
            conn.bind((BAD, 0))
            conn.setblocking(False)
            conn.connect_ex((VIP, PORT))
            opened.append(conn)
        time_left = time.monotonic() + 0.7
        served = 0
        while time.monotonic() < time_left and served < count:
            for conn in opened:
                with contextlib.suppress(OSError):
                    served += conn.recv(16) == b"served"
        for conn in opened:
            conn.close()
        return served

    async def scenario() -> None:
        node.publish(rate="10")
        await until(lambda: node.states[-1] == DROPS)
        served = await asyncio.to_thread(namespace.call_in, node.client, flood, 200)
        assert 10 <= served <= 30
        assert node.counted(Point.XDP, Verdict.DROP_SOURCE_RATE) >= 150
        assert node.counted(Point.UPLINK, Verdict.DROP_SOURCE_RATE) == 0
        assert await connects(node, GOOD)
        await until(lambda: node.connects(BAD))

    in_force(node, scenario)


def test_coming_and_going_the_program_loses_no_packet(node: Node) -> None:
    count, port = 20_000, 9000
    receiver = namespace.call_in(node.node, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    receiver.bind(("", port))
    receiver.settimeout(2)
    got: set[int] = set()

    def receive() -> None:
        with contextlib.suppress(TimeoutError):
            while len(got) < count:
                got.add(int.from_bytes(receiver.recv(64), "little"))

    done = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((NODE, port))
            for number in range(count):
                sender.send(number.to_bytes(4, "little"))
                if number % 16 == 0:
                    time.sleep(0.001)
        done.set()

    async def scenario() -> None:
        reader = asyncio.create_task(asyncio.to_thread(receive))
        writer = asyncio.create_task(asyncio.to_thread(namespace.call_in, node.client, send))
        turns = 0
        while not done.is_set():
            turns += 1
            wanted = (DROPS, IDLE)[turns % 2 == 0]
            node.deny(*([BAD] if wanted == DROPS else []))
            await until(lambda wanted=wanted: node.states[-1] == wanted)  # type: ignore[misc]
        await writer
        await reader
        assert turns >= 6

    in_force(node, scenario)
    receiver.close()
    assert len(got) == count


def test_a_new_agent_takes_the_program_over_where_it_is(node: Node) -> None:
    async def scenario() -> None:
        node.publish()
        node.deny(BAD)
        await until(lambda: node.states[-1] == DROPS and node.connects(GOOD))

    in_force(node, scenario)
    pin = node.pins / "links" / "uplink_xdp_native"
    before = Revision.read(node.plane.maps["revision"].lookup(bytes(4)) or b"").number
    with Link.open_pinned(pin) as link:
        old = link.program_id
    namespace.call_in(node.node, node.load)
    in_force(node, scenario)
    with Link.open_pinned(pin) as link:
        assert link.program_id != old
        assert link.target
    assert Revision.read(node.plane.maps["revision"].lookup(bytes(4)) or b"").number > before
    assert not node.connects(BAD)
    assert node.connects(GOOD)


def hand_over_in_xdp(entry: NodeBed) -> None:
    """Put the XDP program with hand-over at a node's uplink; inside its namespace."""
    uplink = socket.if_nametoindex("eth0")
    config = Config(
        parse_address(entry.address), parse_address("::"), uplink, ConfigFlag.XDP_HAND_OVER, 0,
        entry.mac, 1_000, 20_000, 0,
    )  # fmt: skip
    lines = 1024
    loaded = load_object(
        OBJECTS / "uplink_xdp.o",
        sizes={
            **{name: table.shape.max_entries for name, table in entry.maps.items()},
            "flows": lines * (os.cpu_count() or 1),
        },
        config={
            ".rodata.config": config.write(),
            ".rodata.flows": struct.pack("<II", lines, 8),
        },
        reuse={name: table for name, table in entry.maps.items() if "." not in name},
    )
    entry.objects["uplink_xdp"] = loaded
    entry.maps["revision"].update(bytes(4), Revision(1, 0).write())
    entry.links.append(
        Link.create(loaded.programs["uplink_xdp"], AttachType.XDP, uplink, flags=NATIVE)
    )


def pass_in_xdp(entry: NodeBed) -> None:
    """Put a program that passes everything at the switch's end; inside its namespace."""
    loaded = load_object(OBJECTS / "uplink_xdp.o")
    entry.objects["other_end"] = loaded
    port = socket.if_nametoindex(f"n{entry.index}")
    entry.links.append(
        Link.create(loaded.programs["uplink_xdp"], AttachType.XDP, port, flags=NATIVE)
    )


@pytest.fixture
def cluster() -> Iterator[Bed]:
    with bed(nodes=2, pods=1) as made:
        for pod in made.pods:
            pod.serve_tcp(8080)
        yield made


def test_hand_over_in_xdp_serves_clients_whose_checksums_are_whole(cluster: Bed) -> None:
    entry, home = cluster.nodes
    cluster.publish(80, TCP, home.pods, target=8080, service=1)
    cluster.route_vip(entry)
    # What XDP sends back into a veth arrives in time only where the other end has a program, too.
    namespace.call_in(cluster.switch, pass_in_xdp, entry)
    namespace.call_in(entry.ns, hand_over_in_xdp, entry)
    for _ in range(5):
        with cluster.connect(80) as conn:
            for size in (6, 1000, 5000):
                name, peer, length = ask(conn, b"x" * (size - 1) + b"\n")
                assert (name, peer, int(length)) == (home.pods[0].name, CLIENT, size)
    assert entry.metric(Point.XDP, Verdict.HANDED_OVER) >= 40
    assert entry.metric(Point.UPLINK, Verdict.HANDED_OVER) == 0
    assert home.metric(Point.UPLINK, Verdict.TO_BACKEND) >= 40
