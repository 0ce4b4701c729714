"""A node's maps filled for trial runs: one service with backends here, there, or nowhere.

load()  ->  Trial: run a packet, read what was counted
"""

import contextlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
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
    ConfigFlag,
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
NODE, PEER_ADDRESS, NODE6 = "192.168.1.10", "192.168.1.11", "fd00:1::a"
CLIENT, VIP, QUIET_VIP = "203.0.113.7", "192.0.2.100", "192.0.2.101"
POD, OTHER_POD, REMOTE_POD = "10.244.1.5", "10.244.1.6", "10.244.2.5"
ARP_VIP, ARP_VIP6 = "192.168.1.110", "fd00:1::6e"
CLIENT6, VIP6 = "2001:db8:7::7", "2001:db8:100::64"
POD6, OTHER_POD6, REMOTE_POD6 = "fd00:10:244:1::5", "fd00:10:244:1::6", "fd00:10:244:2::5"
FREE, FREE6 = "198.51.100.9", "fd00:200::9"
LOCAL_PORT, REMOTE_PORT, EMPTY_PORT, MIXED_PORT, BROKEN_PORT = 80, 81, 82, 83, 84
NODE_PORT = 30080
LOCAL_ID, REMOTE_ID, STRAY_ID = 1, 2, 3
LOCAL_ID6, REMOTE_ID6 = 11, 12
LOOPBACK = 1
PROGRAMS = (
    "uplink_ingress",
    "uplink_egress",
    "pod_ingress",
    "pod_egress",
    "overlay_ingress",
    "overlay_egress",
)
SIZES = {"conntrack": 1024, "fragments": 256, "socket_reverse": 256}
NEXT, DROP, REDIRECT = -1, 2, 7


@dataclass
class Trial:
    """Loaded programs that share one set of maps."""

    objects: dict[str, Object]
    maps: dict[str, Map]

    def run(
        self,
        frame: bytes,
        program: str = "uplink_ingress",
        repeat: int = 1,
        *,
        came_by: int = 0,
        mark: int = 0,
    ) -> TrialRun:
        """Run a program; `came_by` is the interface where a packet on its way out came in."""
        loaded = self.objects[program].programs[program]
        return loaded.run_packet(
            frame, ifindex=LOOPBACK, ingress_ifindex=came_by, mark=mark, repeat=repeat
        )

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


def sent_by_pod(packet: bytes, *, mac: bytes = POD_MAC) -> bytes:
    """Return the frame in which a pod sends a packet."""
    kind = packets.IP6 if packet[0] >> 4 == 6 else packets.IP4
    return packets.ethernet(packet, source=mac, destination=UPLINK, kind=kind)


def from_pod(
    destination: str, port: int, *, source: str = POD, source_port: int = 8080, flags: int = 0x10
) -> bytes:
    """Return a TCP segment that a pod sends."""
    segment = packets.tcp((source, source_port), (destination, port), flags)
    return sent_by_pod(
        packets.ip4(segment, source=source, destination=destination, protocol=packets.TCP)
    )


def _number(value: int) -> bytes:
    return struct.pack("<I", value)


def key_of(address: str) -> bytes:
    """Return an address as the maps' keys have it."""
    return write_address(ip_address(address))


def _publish(
    maps: dict[str, Map], vip: str, port: int, service: int, backends: list[int], here: int
) -> None:
    for protocol in (packets.TCP, packets.UDP):
        key = ServiceKey(ip_address(vip), port, protocol).write()
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
    for address in (VIP, VIP6):
        maps["vips"].update(key_of(address), Vip(VipFlag.PING).write())
    for address in (ARP_VIP, ARP_VIP6):
        maps["vips"].update(key_of(address), Vip(VipFlag.PING | VipFlag.ARP).write())
    maps["vips"].update(key_of(QUIET_VIP), Vip(VipFlag(0)).write())
    maps["vips"].update(key_of(NODE), Vip(VipFlag.SHARED | VipFlag.NODE).write())
    for address in (POD, OTHER_POD, POD6, OTHER_POD6):
        ifindex = LOOPBACK if address in (POD, POD6) else LOOPBACK + 1
        maps["endpoints"].update(key_of(address), Endpoint(ifindex, POD_MAC, UPLINK, 0, 0).write())
    maps["nodes"].update(_number(2), Node(ip_address(PEER_ADDRESS), PEER, 0).write())
    maps["peers"].update(Mac(PEER).write(), _number(2))
    for bits, network in ((120, "10.244.2.0"), (64, "fd00:10:244:2::")):
        maps["pod_routes"].update(Prefix(bits, ip_address(network)).write(), _number(2))
    for bits, network in ((120, "198.51.100.0"), (64, "fd00:200::")):
        maps["pools"].update(Prefix(bits, ip_address(network)).write(), _number(1))
    for number, address, flags, home in (
        (LOCAL_ID, POD, BackendFlag.LOCAL, 1),
        (REMOTE_ID, REMOTE_POD, BackendFlag(0), 2),
        (STRAY_ID, "10.9.9.9", BackendFlag(0), 9),
        (LOCAL_ID6, POD6, BackendFlag.LOCAL, 1),
        (REMOTE_ID6, REMOTE_POD6, BackendFlag(0), 2),
    ):
        backend = Backend(ip_address(address), 8080, flags, home)
        maps["backends"].update(_number(number), backend.write())
    _publish(maps, VIP, LOCAL_PORT, 1, [LOCAL_ID], 1)
    _publish(maps, VIP, REMOTE_PORT, 2, [REMOTE_ID], 0)
    _publish(maps, VIP, EMPTY_PORT, 3, [], 0)
    _publish(maps, VIP, MIXED_PORT, 4, [LOCAL_ID, REMOTE_ID], 1)
    _publish(maps, VIP, BROKEN_PORT, 5, [STRAY_ID], 0)
    _publish(maps, VIP6, LOCAL_PORT, 11, [LOCAL_ID6], 1)
    _publish(maps, VIP6, REMOTE_PORT, 12, [REMOTE_ID6], 0)
    _publish(maps, VIP6, EMPTY_PORT, 13, [], 0)
    _publish(maps, "0.0.0.0", NODE_PORT, 1, [LOCAL_ID], 1)


@contextlib.contextmanager
def loaded(
    flags: ConfigFlag = ConfigFlag(0),  # noqa: B008
    *,
    drop_events: int = 0,
    connection_events: int = 0,
    interval_ns: int = 0,
    sizes: Mapping[str, int] = SIZES,
) -> Iterator[Trial]:
    """Load every packet program on one set of maps."""
    config = Config(
        ip_address(NODE), ip_address(NODE6), LOOPBACK, flags, 0, UPLINK, drop_events,
        connection_events, interval_ns,
    ).write()  # fmt: skip
    shared: dict[str, Map] = {}
    with contextlib.ExitStack() as stack:
        objects = {}
        for name in PROGRAMS:
            one = load_object(
                OBJECTS / f"{name}.o",
                sizes=sizes,
                config={".rodata.config": config},
                reuse=shared,
            )
            objects[name] = stack.enter_context(one)
            if not shared:
                shared = {key: item for key, item in one.maps.items() if "." not in key}
        fill(shared)
        yield Trial(objects, shared)
