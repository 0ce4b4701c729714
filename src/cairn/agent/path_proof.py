"""Proves that a packet to a service address gets into a backend on this node.

    Frontend, its backends here  ->  a packet run through `uplink_ingress`  ->  "" | what is wrong

The very program that stands at the uplink judges the packet, against the very maps (it is run by
BPF_PROG_TEST_RUN, which carries no redirect out). It must come out with a backend's address.
The packet seems to have been handed over by another node, so that no backend elsewhere will do.

Policy is not asked: whom a pod lets in has nothing to do with whether it can be reached. But a pod
that is closed, since its policy is not in the maps, is not reached.

Invariants  No client is touched: its source port is 0, which none has, and the entries that it made
            in `conntrack` and `affinity` are removed. It stays in the counters as one packet.
Cost        one frontend: 0.04 ms on a busy machine
Standards   RFC 5737, RFC 3849 (addresses for documentation); linux/net/bpf/test_run.c
"""

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv4Address, IPv6Address

from cairn.abi import structs
from cairn.abi.address import write_address
from cairn.abi.structs import MARK_PROOF, Direction
from cairn.apply.data_plane import DataPlane
from cairn.apply.uplink import Uplink
from cairn.desired.load_balancer import Backend, Frontend
from cairn.libbpf import BpfError, Map
from cairn.net import Address, L4Address, Protocol, parse_address, parse_mac
from cairn.wire import Writer

Prove = Callable[[L4Address, Frontend, Collection[Backend]], str]
"""Returns "" if a packet to a frontend reaches one of its backends here, else what is wrong."""

PROGRAM = "uplink_ingress"
REDIRECTED, LEFT_TO_STACK = 7, -1
ETHERNET_BYTES = 14
SOURCES: dict[int, Address] = {4: parse_address("192.0.2.1"), 6: parse_address("2001:db8::1")}
_TYPES = {4: 0x0800, 6: 0x86DD}
_SYN = 0x5002
"""Data offset and flags of a TCP header without options that opens a connection."""


class PathProof:
    """Runs packets through the programs of this node."""

    def __init__(self, data_plane: DataPlane, uplink: Uplink) -> None:
        self._maps = data_plane.maps
        self._data_plane = data_plane
        self._uplink = uplink

    def prove(self, where: L4Address, frontend: Frontend, here: Collection[Backend]) -> str:
        """Return "" if a packet to `where` reaches one of the backends `here`, else the reason."""
        source = _source(where.address.version, frontend)
        if source is None:
            return ""  # nobody of this family is served
        targets = {(b.address.address, b.address.port) for b in here}
        try:
            return self._prove(where, source, targets)
        except BpfError as error:
            return str(error)

    def _prove(self, where: L4Address, source: Address, targets: set[tuple[Address, int]]) -> str:
        packet = spell_packet(source, where, self._uplink.mac)
        program = self._data_plane.program(PROGRAM)
        run = program.run_packet(packet, ifindex=self._uplink.ifindex, mark=MARK_PROOF)
        self._clean(source, where, targets)
        reached = _destination(run.packet, where.address.version)
        if reached in targets and run.verdict in (REDIRECTED, LEFT_TO_STACK):
            return ""
        return self._why(where, targets) or (
            f"the program {PROGRAM} does not send a packet into a backend of this node "
            f"(verdict {run.verdict}): see `cairn agent`'s log for drops of {SOURCES[4]}"
        )

    def _clean(self, source: Address, where: L4Address, targets: set[tuple[Address, int]]) -> None:
        """Remove what the packet left behind."""
        asked = (where.address, where.port)
        keys = [_key((source, 0), asked, where.protocol, Direction.FORWARD)]
        keys += [_key(t, (source, 0), where.protocol, Direction.REVERSE) for t in targets]
        for key in keys:
            self._maps["conntrack"].delete(key)
        service = _read_service(self._maps["services"], where)
        if service is not None and service.affinity_s and source in SOURCES.values():
            self._maps["affinity"].delete(structs.AffinityKey(source, service.id, 0).write())

    def _why(self, where: L4Address, targets: set[tuple[Address, int]]) -> str:
        """Return which entry on the way is missing; "" if all are there."""
        if self._maps["vips"].lookup(write_address(where.address)) is None:
            return f"{where.address} is not in the map vips"
        service = _read_service(self._maps["services"], where)
        if service is None:
            return f"{where} is not in the map services"
        if not service.local_slots:
            return f"the map services has no backend on this node for {where}"
        for address, _ in targets:
            is_pod = self._maps["endpoints"].lookup(write_address(address)) is not None
            if not is_pod and address not in self._uplink.addresses:
                return f"{address} is no pod that is wired to this node, nor the node itself"
        return ""


def spell_packet(source: Address, where: L4Address, uplink_mac: str) -> bytes:
    """Return a frame that opens a connection from port 0; checksums are not looked at, and 0.

    It comes from the node's own Ethernet address, which counts as a peer's (apply.peers).
    """
    protocol, version = where.protocol, where.address.version
    segment = Writer().u16(0).u16(where.port)
    match protocol:
        case Protocol.TCP:
            segment.u32(1).u32(0).u16(_SYN).u16(1024).u16(0).u16(0)
        case Protocol.UDP:
            segment.u16(8).u16(0)
        case Protocol.SCTP:
            segment.u32(0).u32(0)
    frame = Writer().put(parse_mac(uplink_mac)).put(parse_mac(uplink_mac)).u16(_TYPES[version])
    if version == 4:
        frame.u16(0x4500).u16(20 + len(segment)).u32(0).u8(64).u8(protocol).u16(0)
    else:
        frame.u32(0x60000000).u16(len(segment)).u8(protocol).u8(64)
    return frame.put(source.packed).put(where.address.packed).put(segment.done()).done()


def _destination(frame: bytes, version: int) -> tuple[Address, int]:
    """Return where a frame of `spell_packet` goes, after the program."""
    if version == 4:
        at = ETHERNET_BYTES + 16
        return IPv4Address(frame[at : at + 4]), int.from_bytes(frame[at + 6 : at + 8], "big")
    at = ETHERNET_BYTES + 24
    return IPv6Address(frame[at : at + 16]), int.from_bytes(frame[at + 18 : at + 20], "big")


def _source(version: int, frontend: Frontend) -> Address | None:
    """Return a client whom the frontend serves; None if there is none of this family."""
    ranges = [network for network in frontend.source_ranges if network.version == version]
    usual = SOURCES[version]
    if not frontend.source_ranges or any(usual in network for network in ranges):
        return usual
    return ranges[0].network_address if ranges else None


def _key(
    source: tuple[Address, int],
    destination: tuple[Address, int],
    protocol: Protocol,
    direction: Direction,
) -> bytes:
    """Return a key of `conntrack`."""
    (here, port), (there, other) = source, destination
    return structs.Tuple(here, there, port, other, protocol, direction).write()


def _read_service(services: Map, where: L4Address) -> structs.Service | None:
    key = structs.ServiceKey(where.address, where.port, where.protocol).write()
    found = services.lookup(key)
    return structs.Service.read(found) if found else None


class ProvenPaths:
    """What was proven already, and what could not be."""

    def __init__(self, prove: Prove) -> None:
        self._prove = prove
        self._proven: dict[L4Address, tuple[Frontend, frozenset[Backend]]] = {}

    def prove(self, where: L4Address, frontend: Frontend, here: frozenset[Backend]) -> str:
        """Return "" if a packet reaches one of the backends `here`; it is tried once for them."""
        known = self._proven.get(where)
        if known is not None and known[1] == here and _same_way(known[0], frontend):
            return ""
        wrong = self._prove(where, frontend, here)
        if wrong:
            self._proven.pop(where, None)
        else:
            self._proven[where] = (frontend, here)
        return wrong

    def forget(self, places: Iterable[L4Address]) -> None:
        """Forget addresses that no Service has any more."""
        for where in places:
            self._proven.pop(where, None)


def _same_way(one: Frontend, other: Frontend) -> bool:
    """Return whether two frontends treat a packet alike, but for backends on other nodes."""
    return (one.service, one.local, one.source_ranges) == (
        other.service,
        other.local,
        other.source_ranges,
    )
