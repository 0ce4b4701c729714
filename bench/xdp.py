"""What the XDP form of the load balancer costs, as a multiple of a floor.

    .cache/bpf/bench_xdp.o  ->  rows; run by itself, a table

    python bench/xdp.py [--packets N] [--rounds N]

The floor is the least that a balancer with one hash map could do: it parses Ethernet, IP and
TCP, looks one address up and turns the frame round. Cairn needs no hash map for what it remembers,
so it may be below. Floor, Cairn and an empty program make the same frames: of one flow, of 65,536
that take turns, or of a new one each time. They run in turns on one CPU; a round gives one ratio,
both net of the empty program. The tcx form is measured against the same floor, net of an empty tcx
program.

Units       ns of CPU time per packet, from the thread's clock: the kernel's own counts whole ns
"""

import argparse
import contextlib
import os
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from cairn.abi.address import write_address
from cairn.abi.structs import (
    MAGLEV_SIZE,
    Backend,
    Config,
    ConfigFlag,
    Node,
    Revision,
    Service,
    ServiceKey,
    Vip,
    VipFlag,
)
from cairn.libbpf import BpfError, Map, MapShape, MapType, Object, Program, load_object

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bpf"))

import packets
from row import Row

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / ".cache" / "bpf" / "bench_xdp.o"
TCX = ROOT / "src" / "cairn" / "_bpf" / "uplink_ingress.o"
EMPTY_TCX = ROOT / "src" / "cairn" / "_bpf" / "empty.o"
ROUTER, UPLINK = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2))
CLIENT = {4: "203.0.113.7", 6: "2001:db8:7::7"}
VIP = {4: "192.0.2.100", 6: "2001:db8:100::64"}
NODE = {4: "192.168.1.10", 6: "fd00:1::a"}
REMOTE = {4: "10.244.2.0", 6: "fd00:10:244:2::"}
NODES, BACKENDS = 3, 50
PORT, LOOPBACK = 80, 1
PASS, TX, NEXT, REDIRECT = 2, 3, -1, 7
MANY, EVERY = 65536, 1 << 32
LINES = 131072
CONNECTIONS = 131072
ROOM = 100_000
"""How many connections are begun before the table is emptied."""
PACKETS, ROUNDS = 1_000_000, 9


@dataclass(frozen=True, slots=True)
class Case:
    """What the packets are, and what is aimed at."""

    name: str
    aim: float
    """Greatest multiple of the floor; 0 without an aim."""
    version: int = 4
    protocol: int = packets.TCP
    flags: int = packets.ACK
    flows: int = 1
    known: bool = True
    """Whether the flows have begun before."""
    entries: bool = True
    """Whether new flows get an entry."""
    service: bool = True
    """Whether the destination is a service's."""
    others: int = 0
    """Connections of other flows that the table holds."""
    tcx: bool = False
    """Whether the tcx form is measured."""


SERVICES = 10_000

BASE = (
    Case("established TCP, one flow", 3.0),
    Case("established TCP, 65,536 flows", 4.0, flows=MANY),
    Case("new TCP flow each packet, flood: Maglev alone", 5.0, flags=packets.SYN, flows=EVERY,
         known=False, entries=False),
    Case("new TCP flow each packet, entry made", 20.0, flags=packets.SYN, flows=EVERY, known=False),
    Case("UDP, one flow", 4.0, protocol=packets.UDP),
    Case("UDP, 65,536 flows", 4.0, protocol=packets.UDP, flows=MANY),
    Case("not for a service", 1.2, service=False),
)  # fmt: skip
CASES = (
    *BASE,
    Case(
        "new TCP flow each packet, flood, 65,536 others known",
        0,
        flags=packets.SYN,
        flows=EVERY,
        known=False,
        entries=False,
        others=MANY,
    ),
    *(replace(case, name=f"IPv6: {case.name}", version=6) for case in BASE),
    *(
        replace(case, name=f"the tcx form: {case.name}", aim=0, tcx=True)
        for case in BASE
        if case.flows == 1
    ),
)

SCALED = (BASE[0], BASE[2])


def frame(case: Case) -> bytes:
    """Return the frame of the case's first flow."""
    version = case.version
    source = CLIENT[version], 40000
    target = (VIP if case.service else NODE)[version], PORT
    if case.protocol == packets.TCP:
        payload = packets.tcp(source, target, case.flags)
    else:
        payload = packets.udp(source, target, bytes(12))
    make = packets.ip4 if version == 4 else packets.ip6
    packet = make(payload, source=source[0], destination=target[0], protocol=case.protocol)
    kind = 0x0800 if version == 4 else 0x86DD
    return packets.ethernet(packet, source=ROUTER, destination=UPLINK, kind=kind)


class Bed:
    """Maps filled once, and the programs loaded for each case."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        first = self._load(1, entries=True, reuse={})
        self.maps = {name: item for name, item in first.maps.items() if "." not in name}
        self._loaded: dict[tuple[int, bool], Object] = {}
        fill(self.maps)

    def program(self, name: str, case: Case) -> Program:
        """Return a program that makes the case's flows."""
        key = (case.flows, case.entries)
        if key not in self._loaded:
            self._loaded[key] = self._load(case.flows, entries=case.entries, reuse=self.maps)
        return self._loaded[key].programs[name]

    def _config(self, *, entries: bool) -> bytes:
        return Config(
            ip_address(NODE[4]), ip_address(NODE[6]), LOOPBACK, ConfigFlag.XDP_HAND_OVER,
            0 if entries else 1, UPLINK, 1_000, 20_000, 0,
        ).write()  # fmt: skip

    def _load(self, flows: int, *, entries: bool, reuse: dict[str, Map]) -> Object:
        sections = {
            ".rodata.config": self._config(entries=entries),
            ".rodata.bench": struct.pack("<I", flows - 1),
            ".rodata.flows": struct.pack("<II", LINES, 8),
        }
        cpus = os.cpu_count() or 1
        sizes = {"conntrack": CONNECTIONS, "flows": LINES * cpus}
        return self._stack.enter_context(
            load_object(BENCH, sizes=sizes, config=sections, reuse=reuse)
        )

    def tcx(self) -> tuple[Program, Program]:
        """Return an empty tcx program and the tcx form."""
        config = self._config(entries=True)
        with_maps = load_object(TCX, config={".rodata.config": config}, reuse=self.maps)
        form = self._stack.enter_context(with_maps).programs["uplink_ingress"]
        empty = self._stack.enter_context(load_object(EMPTY_TCX)).programs["empty"]
        return empty, form

    def forget(self) -> None:
        """Empty the table of connections."""
        table = self.maps["conntrack"]
        keys = [key for key, _ in table.items()]
        table.delete_batch(b"".join(keys))


def fill(maps: dict[str, Map]) -> None:
    """Write one service per family, with backends on three other nodes."""
    number = struct.Struct("<I").pack
    write_nodes(maps)
    for version in (4, 6):
        ids = [version * 1000 + n for n in range(BACKENDS)]
        for n, backend in enumerate(ids):
            address = ip_address(REMOTE[version]) + n + 1
            value = Backend(address, 8080, 0, n % NODES + 1)
            maps["backends"].update(number(backend), value.write())
        publish(maps, VIP[version], version, ids)
    maps["revision"].update(number(0), Revision(1, 0).write())


def write_nodes(maps: dict[str, Map], mac: bytes = b"") -> None:
    """Write the other nodes, each with its own Ethernet address or all with `mac`."""
    for node in range(1, NODES + 1):
        value = Node(ip_address(NODE[4]) + node, mac or bytes((2, 0, 0, 0, 1, node)), 0)
        maps["nodes"].update(struct.pack("<I", node), value.write())


def publish(maps: dict[str, Map], address: str, service: int, ids: list[int]) -> None:
    """Write one service, TCP and UDP, whose table holds `ids` in random order."""
    raw = struct.pack("<I", service)
    where = ip_address(address)
    value = Service(service, 0, len(ids), 0, len(ids), 0, 0).write()
    for protocol in (packets.TCP, packets.UDP):
        maps["services"].update(ServiceKey(where, PORT, protocol).write(), value)
    for name in ("vips", "floor_vips"):
        maps[name].update(write_address(where), Vip(VipFlag.PING).write())
    table = np.random.default_rng(service).choice(ids, MAGLEV_SIZE).astype("<u4")
    with Map.create(MapShape(MapType.ARRAY, 4, MAGLEV_SIZE * 4, 1, 0), "maglev") as inner:
        inner.update(bytes(4), table.tobytes())
        maps["maglev"].update_inner(raw, inner)


def add_services(maps: dict[str, Map], count: int) -> None:
    """Write as many other services with an address each."""
    for n in range(count - 1):
        address = ip_address("198.18.0.0") + n
        key = ServiceKey(address, PORT, packets.TCP).write()
        maps["services"].update(key, Service(1, 0, 1, 1, 1, 0, 0).write())
        for name in ("vips", "floor_vips"):
            maps[name].update(write_address(address), Vip(VipFlag.PING).write())


Run = Callable[[int], float]


def timed(program: Program, packet: bytes, *, tcx: bool = False) -> Run:
    """Return what runs the program so many times and returns ns per packet."""

    def run(count: int) -> float:
        before = time.thread_time_ns()
        if tcx:
            program.run_packet(packet, ifindex=LOOPBACK, repeat=count)
        else:
            program.run_frame(packet, repeat=count)
        return (time.thread_time_ns() - before) / count

    return run


@dataclass(frozen=True, slots=True)
class Measured:
    """One case: medians over the rounds."""

    case: Case
    floor_ns: float
    """What it is measured against."""
    cairn_ns: float
    ratios: tuple[float, ...]
    """One for each round."""


def warm(bed: Bed, case: Case) -> None:
    """Make the table hold what the case says."""
    bed.forget()
    if case.others:
        other = replace(case, flows=case.others, flags=packets.ACK, others=0, entries=True)
        bed.program("bench_cairn", other).run_frame(frame(other), repeat=2 * case.others)
    if case.known and case.service:
        bed.program("bench_cairn", case).run_frame(frame(case), repeat=3 * case.flows)


def check(program: Program, case: Case) -> None:
    """End the benchmark if the program does not do with the packet what is to be measured."""
    if case.tcx:
        found, good = program.run_packet(frame(case), ifindex=LOOPBACK).verdict, (REDIRECT, NEXT)
    else:
        found, good = program.run_frame(frame(case)).verdict, (TX, PASS)
    if found != good[not case.service]:
        raise RuntimeError(f"{case.name}: the program returned {found}, not {good}")


def measure(bed: Bed, case: Case, count: int, rounds: int) -> Measured:
    """Run floor and Cairn in turns, each net of its empty program."""
    packet = frame(case)
    programs = [bed.program(f"bench_{name}", case) for name in ("empty", "floor", "cairn")]
    empty, floor, cairn = (timed(program, packet) for program in programs)
    nothing = empty
    # A repeated run meets the frame as it was sent on: it must still be for this node.
    write_nodes(bed.maps, UPLINK if case.tcx else b"")
    if case.tcx:
        programs[2:] = bed.tcx()
        nothing, cairn = (timed(program, packet, tcx=True) for program in programs[2:])
    begins = case.entries and not case.known
    warm(bed, case)
    check(programs[-1], case)
    floors, cairns, ratios = [], [], []
    for _ in range(rounds):
        if begins:
            bed.forget()
        turns = min(count, ROOM) if begins else count
        least = floor(turns) - empty(turns)
        ours = cairn(turns) - nothing(turns)
        floors.append(least)
        cairns.append(ours)
        ratios.append(ours / least)
    return Measured(case, statistics.median(floors), statistics.median(cairns), tuple(ratios))


def scale(small: Bed, large: Bed, case: Case, count: int, rounds: int) -> Measured:
    """Run Cairn with one Service and with many, in turns, each net of its empty program."""
    packet = frame(case)
    pairs = []
    for bed in (small, large):
        warm(bed, case)
        programs = [bed.program(f"bench_{name}", case) for name in ("empty", "cairn")]
        check(programs[1], case)
        pairs.append([timed(program, packet) for program in programs])
    times = [[cairn(count) - empty(count) for empty, cairn in pairs] for _ in range(rounds)]
    one, many = (statistics.median(column) for column in zip(*times, strict=True))
    named = replace(case, name=f"{case.name}, {SERVICES:,} Services against 1", aim=1.1)
    return Measured(named, one, many, tuple(after / before for before, after in times))


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Stay on one CPU: what the program remembers belongs to it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measured(count: int, rounds: int) -> list[Measured]:
    """Measure every case."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned())
        bed = Bed(stack)
        found = [measure(bed, case, count, rounds) for case in CASES]
        large = Bed(stack)
        add_services(large.maps, SERVICES)
        write_nodes(bed.maps)
        return found + [scale(bed, large, case, count, rounds) for case in SCALED]


def run() -> list[Row]:
    """Measure all cases."""
    try:
        found = measured(PACKETS, ROUNDS)
    except BpfError as error:
        raise RuntimeError(str(error)) from error
    return [row(one) for one in found]


def row(one: Measured) -> Row:
    """Return one case as a row."""
    ratio = statistics.median(one.ratios)
    return Row(
        one.case.name,
        one.cairn_ns,
        "ns/packet",
        f"{1000 / max(0.1, one.cairn_ns):.1f} million packets/s a core",
        baseline=one.floor_ns,
        ratio=ratio,
        spread=(min(one.ratios), max(one.ratios)),
        aim=f"<= {one.case.aim:g} x" if one.case.aim else "",
        met=ratio <= one.case.aim if one.case.aim else None,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packets", type=int, default=PACKETS, help="per round and case")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    for one in measured(options.packets, options.rounds):
        median, least = statistics.median(one.ratios), min(one.ratios)
        print(
            f"{one.case.name:65} floor {one.floor_ns:6.1f} ns  cairn {one.cairn_ns:6.1f} ns  "
            f"x {median:5.2f} (least {least:5.2f})  aim {one.case.aim}"
        )
