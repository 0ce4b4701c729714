"""A node's maps filled for trial runs: one service with backends here, there, or nowhere.

load()  ->  Trial: run a packet, read what was counted
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import numpy as np
import packets

from cairn.abi.address import write_address
from cairn.abi.records import METRIC
from cairn.abi.structs import (
    MAGLEV_SIZE,
    POINTS,
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
    ServiceKey,
    SlotKey,
    Vip,
    VipFlag,
)
from cairn.abi.verdicts import Verdict
from cairn.libbpf import Map, MapShape, MapType, Object, TrialRun, load_object

OBJECTS = Path(__file__).parents[2] / "src" / "cairn" / "_bpf"
ROUTER, UPLINK, PEER, POD_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3, 4))
NODE, PEER_ADDRESS = "192.168.1.10", "192.168.1.11"
CLIENT, VIP, QUIET_VIP = "203.0.113.7", "192.0.2.100", "192.0.2.101"
POD, OTHER_POD, REMOTE_POD = "10.244.1.5", "10.244.1.6", "10.244.2.5"
LOCAL_PORT, REMOTE_PORT, EMPTY_PORT, MIXED_PORT, BROKEN_PORT = 80, 81, 82, 83, 84
LOCAL_ID, REMOTE_ID, STRAY_ID = 1, 2, 3
LOOPBACK = 1
SIZES = {"conntrack": 1024, "fragments": 256, "socket_reverse": 256}
NEXT, DROP, REDIRECT = -1, 2, 7


@dataclass
class Trial:
    """Loaded programs that share one set of maps."""

    objects: dict[str, Object]
    maps: dict[str, Map]

    def run(self, frame: bytes, program: str = "uplink_ingress", repeat: int = 1) -> TrialRun:
        loaded = self.objects[program].programs[program]
        return loaded.run_packet(frame, ifindex=LOOPBACK, repeat=repeat)

    def counted(self) -> dict[tuple[Point, Verdict], int]:
        """Return the counters that are not 0."""
        found = {}
        for index in range(POINTS * VERDICT_SPACE):
            raw = self.maps["metrics"].lookup(struct.pack("<I", index))
            assert raw is not None
            packets_seen = int(np.frombuffer(raw, METRIC)["packets"].sum())
            if packets_seen:
                found[Point(index // VERDICT_SPACE), Verdict(index % VERDICT_SPACE)] = packets_seen
        return found

    def judged(self, frame: bytes, program: str = "uplink_ingress") -> tuple[TrialRun, Verdict]:
        """Return the run and the one verdict it was counted under."""
        before = self.counted()
        run = self.run(frame, program)
        after = self.counted()
        new = [key for key in after if after[key] != before.get(key, 0)]
        assert len(new) == 1, f"counted under {new}"
        assert after[new[0]] == before.get(new[0], 0) + 1
        return run, new[0][1]


def request(
    port: int,
    *,
    flags: int = packets.SYN,
    source_port: int = 40000,
    mac: bytes = ROUTER,
    to: str = VIP,
    ttl: int = 64,
    fragment: int = 0,
    identity: int = 7,
) -> bytes:
    """Return a client's TCP segment to a service address."""
    segment = packets.tcp((CLIENT, source_port), (to, port), flags)
    packet = packets.ip4(
        segment,
        source=CLIENT,
        destination=to,
        protocol=packets.TCP,
        ttl=ttl,
        fragment=fragment,
        identity=identity,
    )
    return packets.ethernet(packet, source=mac, destination=UPLINK)


def datagram(port: int, *, mac: bytes = ROUTER, to: str = VIP, payload: bytes = b"data") -> bytes:
    """Return a client's UDP datagram to a service address."""
    segment = packets.udp((CLIENT, 40000), (to, port), payload)
    packet = packets.ip4(segment, source=CLIENT, destination=to, protocol=packets.UDP)
    return packets.ethernet(packet, source=mac, destination=UPLINK)


def from_pod(
    destination: str, port: int, *, source: str = POD, source_port: int = 8080, flags: int = 0x10
) -> bytes:
    """Return a TCP segment that a pod sends."""
    segment = packets.tcp((source, source_port), (destination, port), flags)
    packet = packets.ip4(segment, source=source, destination=destination, protocol=packets.TCP)
    return packets.ethernet(packet, source=POD_MAC, destination=UPLINK)


def _number(value: int) -> bytes:
    return struct.pack("<I", value)


def _key(address: str) -> bytes:
    return write_address(ip_address(address))


def _publish(maps: dict[str, Map], port: int, service: int, backends: list[int], here: int) -> None:
    for protocol in (packets.TCP, packets.UDP):
        key = ServiceKey(IPv4Address(VIP), port, protocol).write()
        maps["services"].update(
            key, Service(service, 0, len(backends), here, len(backends), 0, 0).write()
        )
    for slot, backend in enumerate(backends):
        maps["service_slots"].update(SlotKey(service, slot).write(), _number(backend))
    if not backends:
        return
    # The last backend has the whole table, so tests know whom Maglev chooses.
    table = np.full(MAGLEV_SIZE, backends[-1], "<u4").tobytes()
    with Map.create(MapShape(MapType.ARRAY, 4, MAGLEV_SIZE * 4, 1, 0), "maglev") as inner:
        inner.update(bytes(4), table)
        maps["maglev"].update_inner(_number(service), inner)


def fill(maps: dict[str, Map]) -> None:
    """Write a node with a pod, a peer, and services of every kind."""
    maps["vips"].update(_key(VIP), Vip(VipFlag.PING).write())
    maps["vips"].update(_key(QUIET_VIP), Vip(VipFlag(0)).write())
    for address in (POD, OTHER_POD):
        ifindex = LOOPBACK if address == POD else LOOPBACK + 1
        maps["endpoints"].update(_key(address), Endpoint(ifindex, POD_MAC, UPLINK, 0).write())
    maps["nodes"].update(_number(2), Node(ip_address(PEER_ADDRESS), PEER, 0).write())
    maps["peers"].update(Mac(PEER).write(), _number(2))
    maps["pod_routes"].update(Prefix(120, ip_address("10.244.2.0")).write(), _number(2))
    local = Backend(ip_address(POD), 8080, BackendFlag.LOCAL, 1)
    maps["backends"].update(_number(LOCAL_ID), local.write())
    maps["backends"].update(_number(REMOTE_ID), Backend(ip_address(REMOTE_POD), 8080, 0, 2).write())
    maps["backends"].update(_number(STRAY_ID), Backend(ip_address("10.9.9.9"), 8080, 0, 9).write())
    _publish(maps, LOCAL_PORT, 1, [LOCAL_ID], 1)
    _publish(maps, REMOTE_PORT, 2, [REMOTE_ID], 0)
    _publish(maps, EMPTY_PORT, 3, [], 0)
    _publish(maps, MIXED_PORT, 4, [LOCAL_ID, REMOTE_ID], 1)
    _publish(maps, BROKEN_PORT, 5, [STRAY_ID], 0)


@contextlib.contextmanager
def loaded() -> Iterator[Trial]:
    """Load every packet program on one set of maps."""
    config = Config(
        ip_address(NODE), ip_address("::"), LOOPBACK, 0, 0, 1500, 0, 0, UPLINK, 0
    ).write()
    shared: dict[str, Map] = {}
    with contextlib.ExitStack() as stack:
        objects = {}
        for name in ("uplink_ingress", "uplink_egress", "pod_ingress"):
            one = load_object(
                OBJECTS / f"{name}.o",
                sizes=SIZES,
                config={".rodata.config": config},
                reuse=shared,
            )
            objects[name] = stack.enter_context(one)
            if not shared:
                shared = {key: item for key, item in one.maps.items() if "." not in key}
        fill(shared)
        yield Trial(objects, shared)
