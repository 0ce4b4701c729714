"""A node and a pod in namespaces, and a foreign pair with the same addresses, watched for drops.

kernel_drop_bed()  ->  KernelDropBed: run, send, told
"""

import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import packets
import trial

from cairn.abi.event import VERDICT_SPACE, Event, EventKind, Netns, Point
from cairn.abi.records import EVENT, METRIC
from cairn.abi.structs import Config, ConfigFlag, Endpoint, Vip, VipFlag
from cairn.abi.verdicts import Verdict
from cairn.libbpf import Map, Program, attach_tracepoint, load_object
from cairn.libbpf.kernel_types import kernel_enum
from cairn.libbpf.ring import Ring
from cairn.linux import namespace
from cairn.net import parse_address
from cairn.observe import kernel_reason

NODE, POD, NODE6, POD6 = "10.244.1.1", "10.244.1.5", "fd00:10::1", "fd00:10::5"
VIP, STRANGER, ELSEWHERE = "192.0.2.100", "198.51.100.7", "10.244.1.77"
IDENTITY = 4711
WAIT_S = 5.0


@dataclass
class KernelDropBed:
    """Two nodes of one kernel, of which one is ours."""

    node: str
    pod: str
    foreign_node: str
    foreign_pod: str
    maps: dict[str, Map]
    program: Program
    names: dict[int, str]
    ring: Ring
    stack: ExitStack

    def run(self, where: str, command: str) -> None:
        """Run a command in a namespace."""
        words = ["ip", "netns", "exec", where, "sh", "-c", command]
        subprocess.run(words, check=True, capture_output=True)

    def send(
        self, where: str, to: str, port: int, *, times: int = 1, source: str = "", sport: int = 4000
    ) -> None:
        """Send datagrams from a namespace."""
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        with namespace.call_in(where, socket.socket, family, socket.SOCK_DGRAM) as sock:
            if source:
                sock.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
            sock.bind((source, sport))
            for _ in range(times):
                # What is dropped on the way out, or answered by ICMP, is an error here.
                with contextlib.suppress(OSError):
                    sock.sendto(b"x", (to, port))

    def send_raw(self, where: str, packet: bytes, to: str) -> None:
        """Send an IPv4 packet as it stands."""
        with namespace.call_in(
            where, socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
        ) as sock:
            sock.sendto(packet, (to, 0))

    def told(self, count: int = 1, reason: str = "") -> list[Event]:
        """Wait for so many events (of a reason), and return all that came."""
        until = time.monotonic() + WAIT_S
        found: list[Event] = []
        while time.monotonic() < until:
            found += [Event.read(record.tobytes()) for record in self.ring.drain()]
            wanted = [e for e in found if not reason or self.reason(e) == reason]
            if len(wanted) >= count:
                break
            time.sleep(0.01)
        return found

    def reason(self, event: Event) -> str:
        """Return the kernel's name of why."""
        return self.names[event.kernel_reason] if event.kind == EventKind.KERNEL_DROP else ""

    def reasons(self, count: int = 1) -> list[str]:
        """Return why packets were dropped."""
        return [self.reason(event) for event in self.told(count)]

    def marked(self) -> list[Event]:
        """Return the events so far: those before a drop that is surely told."""
        self.send(self.node, POD, 9, sport=9999)
        found = self.told(1, "NO_SOCKET")
        assert found[-1].source_port == 9999, found
        return found[:-1]

    def counted(self) -> int:
        """Return how many packets the program counted."""
        index = Point.KERNEL * VERDICT_SPACE + Verdict.DROP_KERNEL
        raw = self.maps["metrics"].lookup(index.to_bytes(4, "little"))
        assert raw is not None
        return int(np.frombuffer(raw, METRIC)["packets"].sum())


def _pair(stack: ExitStack, name: str) -> tuple[str, str]:
    """Return a node and its pod, joined by a link."""
    node, pod = f"{name}-node", f"{name}-pod"
    for one in (node, pod):
        stack.enter_context(namespace.temporary(one))
    script = f"""
    ip -n {node} link add host type veth peer name eth0 netns {pod}
    ip -n {node} addr add {NODE}/24 dev host
    ip -n {node} -6 addr add {NODE6}/64 dev host nodad
    ip -n {pod} addr add {POD}/24 dev eth0
    ip -n {pod} -6 addr add {POD6}/64 dev eth0 nodad
    for n in {node}; do ip -n $n link set lo up; ip -n $n link set host up; done
    ip -n {pod} link set lo up; ip -n {pod} link set eth0 up
    ip -n {pod} route add default via {NODE}
    """
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    return node, pod


@contextmanager
def kernel_drop_bed(*, drop_events: int = 1000, interval_ns: int = 0) -> Iterator[KernelDropBed]:
    """Yield the bed, with the program at its tracepoint."""
    with ExitStack() as stack:
        name = f"ct-{os.getpid()}-{secrets.token_hex(2)}"
        ours, foreign = _pair(stack, f"{name}-a"), _pair(stack, f"{name}-b")
        names = kernel_reason.short_names(kernel_enum(kernel_reason.ENUM))
        config = Config(
            parse_address(NODE), parse_address("::"), 1, ConfigFlag(0), 0, trial.UPLINK,
            drop_events, drop_events, interval_ns,
        ).write()  # fmt: skip
        sections = {".rodata.config": config, ".rodata.kernel": kernel_reason.telling(names)}
        loaded = stack.enter_context(
            load_object(trial.OBJECTS / "kernel_drop.o", sizes=trial.SIZES, config=sections)
        )
        maps = loaded.maps
        for address in (POD, POD6):
            entry = Endpoint(1, trial.POD_MAC, trial.UPLINK, 0, IDENTITY)
            maps["endpoints"].update(trial.key_of(address), entry.write())
        maps["vips"].update(trial.key_of(VIP), Vip(VipFlag.PING).write())
        maps["vips"].update(trial.key_of(NODE), Vip(VipFlag.SHARED | VipFlag.NODE).write())
        for netns, whose in zip(ours, (Netns.NODE, Netns.POD), strict=True):
            key = namespace.inode(netns).to_bytes(4, "little")
            maps["watched_netns"].update(key, whose.to_bytes(4, "little"))
        program = loaded.programs["kernel_drop"]
        stack.enter_context(attach_tracepoint(program))
        yield KernelDropBed(
            *ours, *foreign, maps, program, names, Ring(maps["events"], EVENT), stack
        )


def bad_checksum(source: str, destination: str, port: int) -> bytes:
    """Return a datagram whose checksum is wrong."""
    segment = bytearray(packets.udp((source, 4000), (destination, port), b"data"))
    segment[6] ^= 0x55
    return packets.ip4(bytes(segment), source=source, destination=destination, protocol=packets.UDP)
