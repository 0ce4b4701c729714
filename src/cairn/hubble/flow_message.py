"""Flows as Hubble's messages.

    FlowRow, its record  ->  flow.Flow

In parts, which are one message when their octets are joined: `source` and `destination` are the
same for all flows of an address, `common` for many flows (what was decided, where); the setters
below it are for what each has of its own.

Invariants  What is not known is absent; nothing is made up.
Standards   Cilium api/v1/flow/flow.proto
Not here    rows by the thousand (flow_writer.py)
"""

from typing import Any

from cairn import __version__
from cairn.flow.columns import (
    Decision,
    DnsDetail,
    End,
    FlowKind,
    FlowVerdict,
    HttpDetail,
    TlsDetail,
)
from cairn.flow.event_type import Direction, EventType
from cairn.flow.filter_columns import IGMP, SCTP, TCP, UDP, VRRP
from cairn.flow.filter_details import trace_id
from cairn.flow.record import ICMP, ICMPV6
from cairn.flow.view import FlowRow, protocol_text
from cairn.hubble.proto import message
from cairn.net import Address

CLUSTER = "default"
NANOSECONDS = 1_000_000_000
Message = Any
Flow: Any = message("flow.Flow")
Endpoint: Any = message("flow.Endpoint")
Policy: Any = message("flow.Policy")
TO_ENDPOINT = 101
"""flow.TraceObservationPoint; the other points have Cilium's own numbers."""
L3_L4, L7, SOCK = 1, 2, 3
"""flow.FlowType."""
REQUEST, RESPONSE = 1, 2
"""flow.L7FlowType."""
NEW, REPLY = 1, 3
"""flow.TraceReason."""
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_TYPES = {EventType.L7: L7, EventType.TRACE_SOCK: SOCK}


def endpoint(end: End, identity: int) -> Message:
    """Return who is at one end."""
    made = Endpoint(identity=identity, namespace=end.namespace, labels=end.labels, pod_name=end.pod)
    if end.workload:
        made.workloads.add(name=end.workload, kind=end.workload_kind)
    if end.pod or end.node:
        made.cluster_name = CLUSTER
    return made


def policy(decision: Decision) -> Message:
    """Return the policy that decided."""
    return Policy(
        name=decision.name,
        namespace=decision.namespace,
        labels=decision.labels,
        kind=decision.kind,
    )


def source(address: Address, end: End, identity: int) -> Message:
    """Return what a flow says of who sent it."""
    flow = Flow(source=endpoint(end, identity), source_names=end.names)
    flow.IP.source = str(address)
    if end.service:
        flow.source_service.name, flow.source_service.namespace = end.service, end.namespace
    return flow


def destination(address: Address, end: End, identity: int) -> Message:
    """Return what a flow says of whom it is for."""
    flow = Flow(destination=endpoint(end, identity), destination_names=end.names)
    flow.IP.destination, flow.IP.ipVersion = str(address), 1 if address.version == 4 else 2
    if end.service:
        service = flow.destination_service
        service.name, service.namespace = end.service, end.namespace
    return flow


def common(row: FlowRow, *, event_type: int, sub_type: int, hubble_reason: int) -> Message:
    """Return what many flows share; `row` is any of them."""
    flow = Flow(
        verdict=int(row.verdict),
        node_name=row.node,
        Type=_TYPES.get(EventType(event_type), L3_L4),
        traffic_direction=int(row.direction),
    )
    flow.emitter.name, flow.emitter.version = "Cairn", __version__
    flow.event_type.type, flow.event_type.sub_type = event_type, sub_type
    _set_decision(flow, row)
    if row.verdict == FlowVerdict.DROPPED:
        flow.drop_reason = flow.drop_reason_desc = hubble_reason
    if row.is_reply is not None:
        flow.is_reply.value = flow.reply = row.is_reply
    if event_type == EventType.TRACE:
        flow.trace_observation_point = sub_type or TO_ENDPOINT
        flow.trace_reason = REPLY if row.is_reply else NEW if row.kind == FlowKind.NEW else 0
    elif event_type == EventType.TRACE_SOCK:
        flow.sock_xlate_point = sub_type
    if row.kind == FlowKind.REDIRECTED:
        flow.proxy_port = row.translated_port
    return flow


def _set_decision(flow: Message, row: FlowRow) -> None:
    if row.decision is None:
        return
    denied = row.verdict in (FlowVerdict.DROPPED, FlowVerdict.AUDIT)
    direction = "egress" if row.decision.egress else "ingress"
    getattr(flow, f"{direction}_{'denied' if denied else 'allowed'}_by").append(
        policy(row.decision)
    )


def set_layer4(flow: Message, protocol: int, ports: tuple[int, int], more: tuple[int, int]) -> None:
    """Set layer 4; `more`: TCP's flags and 0, or ICMP's type and code."""
    if protocol == TCP:
        made = flow.l4.TCP
        made.source_port, made.destination_port = ports
        if more[0]:
            for name in _flag_names(more[0]):
                setattr(made.flags, name, True)
    elif protocol in (UDP, SCTP):
        made = flow.l4.UDP if protocol == UDP else flow.l4.SCTP
        made.SetInParent()
        made.source_port, made.destination_port = ports
    elif protocol in (ICMP, ICMPV6):
        made = flow.l4.ICMPv4 if protocol == ICMP else flow.l4.ICMPv6
        made.SetInParent()
        made.type, made.code = more
    elif protocol in (VRRP, IGMP):
        (flow.l4.VRRP if protocol == VRRP else flow.l4.IGMP).SetInParent()


def _flag_names(flags: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(_FLAGS) if flags & 1 << bit)


def set_layer7(flow: Message, row: FlowRow) -> None:
    """Set what was asked for.

    One flow tells request and answer: it is a RESPONSE if there was one, and its source is who
    asked all the same.
    """
    match row.detail:
        case HttpDetail() as request:
            answered = request.status and row.verdict != FlowVerdict.DROPPED
            flow.l7.type = RESPONSE if answered else REQUEST
            flow.l7.latency_ns = request.latency_ns
            http = flow.l7.http
            http.code, http.method, http.url = request.status, request.method, request.url
            http.protocol = request.protocol
            for key, value in request.headers:
                http.headers.add(key=key, value=value)
            if traced := trace_id(request):
                flow.trace_context.parent.trace_id = traced
        case DnsDetail() as lookup:
            answered = lookup.latency_ns and row.verdict != FlowVerdict.DROPPED
            flow.l7.type = RESPONSE if answered else REQUEST
            flow.l7.latency_ns = lookup.latency_ns
            dns = flow.l7.dns
            dns.query, dns.rcode, dns.ttl = lookup.query, lookup.rcode, lookup.ttl_s
            dns.observation_source = lookup.source
            dns.ips.extend(lookup.addresses)
            dns.cnames.extend(lookup.cnames)
            dns.qtypes.extend(lookup.types)
            dns.rrtypes.extend(_record_types(lookup))
        case TlsDetail():
            flow.l7.type = REQUEST


def _record_types(lookup: DnsDetail) -> list[str]:
    """Return the types of the answer's records, as far as they are told."""
    families = {"AAAA" if ":" in address else "A" for address in lookup.addresses}
    return (["CNAME"] if lookup.cnames else []) + sorted(families)


def summary(row: FlowRow) -> str:
    """Return a line for people, for clients that print it."""
    if row.kind == FlowKind.CLOSED:
        return (
            f"closed {protocol_text(row.protocol)}: {row.packets} packets, {row.octets} octets; "
            f"back {row.packets_back}, {row.octets_back}"
        )
    return row.summary


def set_suppressed(flow: Message, direction: int, suppressed: int) -> None:
    """Tell how many flows this one stands for."""
    match direction:
        case Direction.INGRESS:
            flow.aggregate.ingress_flow_count = suppressed + 1
        case Direction.EGRESS:
            flow.aggregate.egress_flow_count = suppressed + 1
        case _:
            flow.aggregate.unknown_direction_flow_count = suppressed + 1
