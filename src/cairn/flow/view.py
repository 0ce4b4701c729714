"""Flows as people and JSON have them: one row for each, with names and words.

    FLOW records, Dictionaries  ->  FlowRow  ->  record.Flow (for replay and suggest)

Cost        20 us a flow: for what is shown, not for what is stored
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cairn.flow import drop_reason, record
from cairn.flow.address import Records, read_octets
from cairn.flow.columns import (
    Decision,
    Detail,
    Dictionaries,
    DnsDetail,
    End,
    FlowFlag,
    FlowKind,
    FlowVerdict,
    HttpDetail,
    TlsDetail,
    interface_key,
)
from cairn.flow.event_type import Direction
from cairn.net import Address, Protocol

_NANOSECONDS = 1_000_000_000
_ICMP = (record.ICMP, record.ICMPV6)


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One flow."""

    time_ns: int
    """Since 1970."""
    kind: FlowKind | int
    """What is told; a number if it is of a later version."""
    verdict: FlowVerdict
    """What became of it."""
    source: End
    """Who sent it."""
    destination: End
    """Whom it is for."""
    source_address: Address
    """Its address."""
    destination_address: Address
    """Its address."""
    translated: Address | None
    """What the destination became."""
    source_port: int
    """0 where there is none."""
    destination_port: int
    """Likewise."""
    translated_port: int
    """Likewise; of REDIRECTED the proxy's."""
    protocol: int
    """IANA protocol number."""
    direction: Direction
    """Seen from the pod."""
    is_reply: bool | None
    """None: not known."""
    source_identity: int
    """0: not known."""
    destination_identity: int
    """0: not known."""
    decision: Decision | None
    """Which rule decided."""
    detail: Detail | None
    """Request or lookup."""
    reason: str
    """Why it was dropped, in words; empty if it was not."""
    node: str
    """Where it was seen."""
    interface: str
    """Likewise; empty if its name is not known."""
    packets: int
    """Of CLOSED: as its opener sent them. Of LOST: how many events."""
    octets: int
    """Likewise."""
    packets_back: int
    """The answers'."""
    octets_back: int
    """The answers'."""
    icmp: tuple[int, int]
    """Type and code."""
    suppressed: int
    """How many like it were not told one by one."""

    @property
    def summary(self) -> str:
        """What it is, in a few words."""
        match self.detail:
            case HttpDetail() as request:
                status = f" {request.status}" if request.status else ""
                return f"{request.protocol} {request.method} {request.url}{status}"
            case DnsDetail() as lookup:
                found = ", ".join(lookup.addresses) or f"rcode {lookup.rcode}"
                return f"DNS {'/'.join(lookup.types)} {lookup.query} {found}"
            case TlsDetail() as connection:
                return f"TLS {connection.server_name}"
        if self.kind == FlowKind.LOST:
            return f"{self.packets} events lost"
        return self.reason or f"{kind_text(self.kind)} {protocol_text(self.protocol)}"


def rows(records: Records, dictionaries: Dictionaries) -> Iterator[FlowRow]:
    """Yield flows with their names."""
    nobody = End()
    names = records.dtype.names or ()
    for values in records.tolist():
        flow = dict(zip(names, values, strict=True))
        flags = flow["flags"]
        verdict = flow["verdict"]
        translated = read_octets(flow["translated"])
        yield FlowRow(
            time_ns=flow["time_ns"],
            kind=_kind(flow["kind"]),
            verdict=FlowVerdict(verdict if verdict in _VERDICTS else 0),
            source=dictionaries.ends.get(flow["source_end"], nobody),
            destination=dictionaries.ends.get(flow["destination_end"], nobody),
            source_address=read_octets(flow["source"]),
            destination_address=read_octets(flow["destination"]),
            translated=None if int(translated) == 0 else translated,
            source_port=flow["source_port"],
            destination_port=flow["destination_port"],
            translated_port=flow["translated_port"],
            protocol=flow["protocol"],
            direction=_direction(flags),
            is_reply=None if flags & FlowFlag.REPLY_UNKNOWN else bool(flags & FlowFlag.REPLY),
            source_identity=flow["source_identity"],
            destination_identity=flow["destination_identity"],
            decision=dictionaries.decisions.get(flow["decision"]),
            detail=dictionaries.details.get(flow["detail"]),
            reason=_reason(flow, dictionaries),
            node=dictionaries.nodes.get(flow["node"], ""),
            interface=dictionaries.interfaces.get(interface_key(flow["node"], flow["ifindex"]), ""),
            packets=flow["packets"],
            octets=flow["octets"],
            packets_back=flow["packets_back"],
            octets_back=flow["octets_back"],
            icmp=(flow["icmp_type"], flow["icmp_code"]),
            suppressed=flow["suppressed"],
        )


def recorded(row: FlowRow) -> record.Flow:
    """Return a flow as replay and suggest take it."""
    detail = row.detail
    port = row.destination_port
    if row.protocol in _ICMP:
        port = (row.icmp[0] << 8) + row.icmp[1]
    return record.Flow(
        time=datetime.fromtimestamp(row.time_ns / _NANOSECONDS, UTC),
        verdict=row.verdict.name,
        source=_recorded_end(row.source, row.source_identity),
        destination=_recorded_end(row.destination, row.destination_identity),
        source_address=row.source_address,
        destination_address=row.destination_address,
        protocol=row.protocol,
        port=port,
        source_port=row.source_port,
        is_reply=bool(row.is_reply),
        names=row.destination.names,
        http=(detail.method, detail.url) if isinstance(detail, HttpDetail) else None,
        dns_query=detail.query.rstrip(".").lower() if isinstance(detail, DnsDetail) else "",
    )


def kind_text(kind: FlowKind | int) -> str:
    """Return what a kind of flow is called."""
    return kind.name.lower().replace("_", " ") if isinstance(kind, FlowKind) else f"kind {kind}"


def protocol_text(number: int) -> str:
    """Return what a protocol is called."""
    if number in _ICMP:
        return "ICMPv4" if number == record.ICMP else "ICMPv6"
    return next((p.name for p in Protocol if p == number), f"protocol {number}")


_VERDICTS = frozenset(int(verdict) for verdict in FlowVerdict)
_KINDS = {int(kind): kind for kind in FlowKind}


def _kind(number: int) -> FlowKind | int:
    return _KINDS.get(number, number)


def _direction(flags: int) -> Direction:
    if flags & FlowFlag.TO_POD:
        return Direction.INGRESS
    return Direction.EGRESS if flags & FlowFlag.FROM_POD else Direction.UNKNOWN


def _reason(flow: dict[str, Any], dictionaries: Dictionaries) -> str:
    if flow["verdict"] != FlowVerdict.DROPPED:
        return ""
    if flow["kind"] == FlowKind.KERNEL_DROP:
        return kernel_text(flow["node"], flow["kernel_reason"], dictionaries)
    number = flow["reason"]
    return drop_reason.TEXTS.get(number, f"reason {number}, which this version does not know")


def kernel_text(node: int, number: int, dictionaries: Dictionaries) -> str:
    """Return why the kernel of a node (its key) dropped a packet, with the kernel's own word."""
    name = dictionaries.kernel_reasons.get(interface_key(node, number))
    return f"kernel: {name or f'reason {number}'}"


def _recorded_end(end: End, identity: int) -> record.FlowEnd:
    labels = (label.partition("=")[::2] for label in end.labels)
    return record.FlowEnd(
        namespace=end.namespace,
        pod=end.pod,
        labels={key.removeprefix("k8s:"): value for key, value in labels},
        identity=identity,
        workload=f"{end.workload_kind}/{end.workload}" if end.workload else "",
    )
