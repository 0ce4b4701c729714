"""Packets that a trace saw, as they are told to whoever asked.

    FLOW records, Dictionaries  ->  TracedPacket  <->  a line of JSON

Cost        30 us a packet: for what is shown
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from cairn.abi.event import Point
from cairn.abi.verdicts import FIRST_DROP, TEXTS, Verdict
from cairn.flow.address import Records
from cairn.flow.columns import Decision, Dictionaries, End, FlowFlag, FlowKind
from cairn.flow.view import FlowRow, rows


class TracedPacket(msgspec.Struct, frozen=True, omit_defaults=True):
    """One packet at one place."""

    time_ns: int
    """Since 1970, as the node's clock says."""
    node: str
    point: str
    """Where it was judged: uplink, pod, host, overlay, xdp, socket, kernel."""
    verdict: str
    """What became of it: TO_BACKEND, HANDED_OVER, DROP_POLICY_DENIED, ..."""
    source: str
    destination: str
    protocol: int
    dropped: bool = False
    why: str = ""
    """What the verdict means, in words; of a drop with the policy, or the kernel's reason."""
    interface: str = ""
    source_port: int = 0
    destination_port: int = 0
    source_name: str = ""
    """Pod, Service or node: NAMESPACE/NAME."""
    destination_name: str = ""
    translated: str = ""
    """What the destination became; with `answer` the source."""
    translated_port: int = 0
    answer: bool = False
    tcp_flags: int = 0
    icmp: tuple[int, int] = (0, 0)
    """Type and code."""
    length: int = 0
    not_told: int = 0
    """Packets before this one that were not told, for there were too many."""


class TraceEnd(msgspec.Struct, frozen=True):
    """What a node says last."""

    told: int = 0
    not_told: int = 0
    """Packets for which the budget of events was spent, or that came faster than they were read."""
    lost: int = 0
    """Events of any kind that found the ring full meanwhile."""


class TraceLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a node's answer: exactly one of these, or nothing, which says that it goes on."""

    started: bool = False
    error: str = ""
    packet: TracedPacket | None = None
    end: TraceEnd | None = None


def is_packet(records: Records) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which flows tell of one packet that a trace may ask for.

    A connection that was translated at connect() never has a packet to the Service's address.
    """
    kind = records["kind"]
    at_socket = (kind == FlowKind.TRANSLATED) & (records["point"] == Point.SOCKET)
    mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        (kind == FlowKind.PACKET) | (kind == FlowKind.KERNEL_DROP) | at_socket
    )
    return mask


def traced_packets(records: Records, dictionaries: Dictionaries) -> Iterator[TracedPacket]:
    """Yield flows as packets."""
    for row, record in zip(rows(records, dictionaries), records, strict=True):
        yield _packet(row, record)


def _packet(row: FlowRow, record: np.void) -> TracedPacket:
    number = int(record["reason"])
    known = number in tuple(Verdict)
    return TracedPacket(
        time_ns=row.time_ns,
        node=row.node,
        point=_point(int(record["point"])),
        verdict=Verdict(number).name if known else str(number),
        source=str(row.source_address),
        destination=str(row.destination_address),
        protocol=row.protocol,
        dropped=number >= FIRST_DROP,
        why=_why(row, number),
        interface=row.interface,
        source_port=row.source_port,
        destination_port=row.destination_port,
        source_name=_name(row.source),
        destination_name=_name(row.destination),
        translated="" if row.translated is None else str(row.translated),
        translated_port=row.translated_port,
        answer=bool(int(record["flags"]) & FlowFlag.REPLY),
        tcp_flags=int(record["tcp_flags"]),
        icmp=row.icmp,
        length=int(record["length"]),
        not_told=row.suppressed,
    )


def _point(number: int) -> str:
    return Point(number).name.lower() if number in tuple(Point) else f"point {number}"


def _why(row: FlowRow, number: int) -> str:
    if row.kind == FlowKind.KERNEL_DROP:
        return row.reason
    text = TEXTS[Verdict(number)] if number in tuple(Verdict) else ""
    return f"{text}: {_policy(row.decision)}" if row.decision is not None else text


def _policy(decision: Decision) -> str:
    where = f"{decision.namespace}/" if decision.namespace else ""
    rule = f" {decision.rule}" if decision.rule else ""
    return f"{decision.kind} {where}{decision.name}{rule}"


def _name(end: End) -> str:
    name = end.pod or end.service
    return f"{end.namespace}/{name}" if name else end.node
