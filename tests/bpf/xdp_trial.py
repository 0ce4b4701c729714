"""The XDP program on the maps of a Trial: what it does with a frame, and what it remembers.

beside(node)  ->  XdpTrial
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import packets
import trial

from cairn.abi.address import write_address
from cairn.abi.structs import (
    Config,
    ConfigFlag,
    Point,
    Prefix,
    Revision,
    RevisionFlag,
    Service,
    ServiceFlag,
    ServiceKey,
    SourceRange,
)
from cairn.abi.verdicts import Verdict
from cairn.libbpf import Map, Object, TrialRun, load_object

ABORTED, DROP, PASS, TX = 0, 1, 2, 3
LINES = 1024
MOMENT_LOG = 8
NOTHING = RevisionFlag(0)
ANY = (1).to_bytes(4, "little")


@dataclass
class XdpTrial:
    """The XDP program beside the tcx programs."""

    node: trial.Trial
    loaded: Object

    @property
    def maps(self) -> dict[str, Map]:
        """The maps that it shares with the others."""
        return self.node.maps

    def run(self, frame: bytes, repeat: int = 1) -> TrialRun:
        """Run the program once."""
        return self.loaded.programs["uplink_xdp"].run_frame(frame, repeat=repeat)

    def judged(self, frame: bytes) -> tuple[TrialRun, Verdict | None]:
        """Return the run and the verdict it was counted under: None if it was not counted."""
        before = self.node.counted()
        run = self.run(frame)
        after = self.node.counted()
        new = [key for key in after if after[key] != before.get(key, 0)]
        assert [point for point, _ in new] in ([], [Point.XDP])
        return run, new[0][1] if new else None

    def change(self, flags: RevisionFlag = NOTHING) -> None:
        """Say that the maps have changed."""
        held = self.maps["revision"].lookup(bytes(4))
        assert held is not None
        self.maps["revision"].update(
            bytes(4), Revision(Revision.read(held).number + 1, flags).write()
        )

    def deny(self, address: str, bits: int) -> None:
        """Put a network on the deny list."""
        parsed = ip_address(address)
        mapped = 96 if parsed.version == 4 else 0
        self.maps["denied"].update(Prefix(mapped + bits, parsed).write(), ANY)
        self.change(RevisionFlag.DENIED)

    def publish(self, vip: str, port: int, service: Service) -> None:
        """Write a service anew, TCP and UDP."""
        for protocol in (packets.TCP, packets.UDP):
            key = ServiceKey(ip_address(vip), port, protocol).write()
            self.maps["services"].update(key, service.write())
        self.change()

    def limit(self, vip: str, port: int, number: int, rate: int) -> None:
        """Limit how many connections a second one source opens to a service of one backend."""
        self.publish(vip, port, Service(number, 0, 1, 0, 1, 0, rate))

    def allow_only(self, vip: str, port: int, number: int, network: str, bits: int) -> None:
        """Let only a network reach a service of one backend."""
        address = ip_address(network)
        mapped = 96 if address.version == 4 else 0
        self.maps["source_ranges"].update(
            SourceRange(32 + mapped + bits, number, address).write(), ANY
        )
        self.publish(vip, port, Service(number, ServiceFlag.SOURCE_RANGES, 1, 0, 1, 0, 0))

    def connections(self) -> int:
        """Return how many entries conntrack holds."""
        return sum(1 for _ in self.maps["conntrack"].items())


@contextlib.contextmanager
def beside(
    node: trial.Trial,
    *,
    hand_over: bool = True,
    entries_per_s: int = 0,
    events: bool = False,
    trace: bool = False,
) -> Iterator[XdpTrial]:
    """Load the XDP program on the node's maps."""
    flags = ConfigFlag.XDP_HAND_OVER if hand_over else ConfigFlag(0)
    if events:
        flags |= ConfigFlag.EVENTS
    if trace:
        flags |= ConfigFlag.TRACE
    config = Config(
        ip_address(trial.NODE), ip_address(trial.NODE6), trial.LOOPBACK, flags,
        entries_per_s, trial.UPLINK, 1_000, 20_000, 0,
    )  # fmt: skip
    sections = {
        ".rodata.config": config.write(),
        ".rodata.flows": struct.pack("<II", LINES if hand_over else 0, MOMENT_LOG),
    }
    sizes = {**trial.SIZES, "flows": LINES * (os.cpu_count() or 1) if hand_over else 1}
    path = trial.OBJECTS / "uplink_xdp.o"
    # As a network card sends a flow to one CPU: what is remembered of it is there.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with load_object(path, sizes=sizes, config=sections, reuse=node.maps) as loaded:
            made = XdpTrial(node, loaded)
            made.change()
            yield made
    finally:
        os.sched_setaffinity(0, before)


def frame(
    port: int,
    *,
    version: int = 4,
    protocol: int = packets.TCP,
    flags: int = packets.SYN,
    source: str = "",
    source_port: int = 40000,
    to: str = "",
    mac: bytes = trial.ROUTER,
    own_mac: bytes = trial.UPLINK,
) -> bytes:
    """Return a client's frame to a service, of either family."""
    client = source or (trial.CLIENT if version == 4 else trial.CLIENT6)
    target = to or (trial.VIP if version == 4 else trial.VIP6)
    if protocol == packets.TCP:
        payload = packets.tcp((client, source_port), (target, port), flags)
    else:
        payload = packets.udp((client, source_port), (target, port))
    make = packets.ip4 if version == 4 else packets.ip6
    packet = make(payload, source=client, destination=target, protocol=protocol)
    kind = packets.IP4 if version == 4 else packets.IP6
    return packets.ethernet(packet, source=mac, destination=own_mac, kind=kind)


def spelled(address: str) -> bytes:
    """Return an address as keys hold it."""
    parsed: IPv4Address | IPv6Address = ip_address(address)
    return write_address(parsed)
