"""Requests and lookups that proxies judged, as flow columns.

    Line of the access log, Lookup of the DNS proxy  ->  FLOW records, details

Invariants  A line whose addresses or time cannot be read makes no flow, and is counted.
Units       times since 1970; latencies in nanoseconds
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np

from cairn.dns.answer import HEADER_OCTETS, aliases_of, read_answer
from cairn.dns.lookup import Lookup, Outcome
from cairn.dns.number import Type
from cairn.dns.query import wire_text
from cairn.flow.address import Records, read_octets, write_octets
from cairn.flow.columns import (
    FLOW,
    Detail,
    DnsDetail,
    FlowFlag,
    FlowKind,
    FlowVerdict,
    HttpDetail,
    TlsDetail,
)
from cairn.flow.renumbering import Numberings
from cairn.net import Address, Protocol, parse_address
from cairn.observe.access_log import Line
from cairn.wire import Malformed

DENIED = 64
"""abi.verdicts.Verdict.DROP_POLICY_DENIED."""


class Made(NamedTuple):
    """Flows that are to be named (FlowRecords.finish)."""

    records: Records
    bad: int
    """How many lines made none."""
    learnt: tuple[tuple[str, tuple[Address, ...]], ...] = ()
    """Names, and the addresses that answers gave them."""


class _Row(NamedTuple):
    time_ns: int
    source: tuple[Address, int]
    destination: tuple[Address, int]
    kind: FlowKind
    protocol: int
    verdict: FlowVerdict
    flags: int
    detail: Detail
    sent: int = 0
    received: int = 0


def of_requests(lines: Iterable[Line], numberings: Numberings) -> Made:
    """Return the flows of requests and TLS connections."""
    rows, bad = [], 0
    for line in lines:
        try:
            rows.append(_request(line))
        except ValueError:
            bad += 1
    return Made(_records(rows, numberings), bad)


def of_lookups(lookups: Iterable[Lookup], numberings: Numberings) -> Made:
    """Return the flows of lookups."""
    rows, learnt, bad = [], [], 0
    for lookup in lookups:
        try:
            detail = _dns_detail(lookup)
            rows.append(_lookup(lookup, detail))
        except (ValueError, IndexError):
            bad += 1
            continue
        if lookup.outcome == Outcome.ANSWERED and detail.addresses:
            addresses = tuple(parse_address(text) for text in detail.addresses)
            learnt.append((detail.query.rstrip("."), addresses))
    return Made(_records(rows, numberings), bad, tuple(learnt))


def _request(line: Line) -> _Row:
    detail: Detail
    if line.method:
        kind = FlowKind.HTTP
        scheme = "https" if line.server_name else "http"
        latency_ns = line.duration_ms * 1_000_000
        url = f"{scheme}://{line.host}{line.path}"
        detail = HttpDetail(line.method, url, line.protocol, line.status, latency_ns)
    else:
        kind = FlowKind.TLS
        detail = TlsDetail(line.server_name)
    return _Row(
        time_ns=int(datetime.fromisoformat(line.time).timestamp() * 1_000_000) * 1000,
        source=_place(line.source),
        destination=_place(line.destination),
        kind=kind,
        protocol=Protocol.TCP,
        verdict=FlowVerdict.DROPPED if line.denied else FlowVerdict.FORWARDED,
        flags=FlowFlag.TO_POD if line.direction == "ingress" else FlowFlag.FROM_POD,
        detail=detail,
        sent=line.received_bytes,
        received=line.sent_bytes,
    )


def _place(text: str) -> tuple[Address, int]:
    host, _, port = text.rpartition(":")
    return parse_address(host.strip("[]")), int(port)


def _lookup(lookup: Lookup, detail: DnsDetail) -> _Row:
    refused = lookup.outcome == Outcome.REFUSED
    return _Row(
        time_ns=lookup.time_ns,
        source=(parse_address(lookup.client), lookup.client_port),
        destination=(parse_address(lookup.server), lookup.server_port),
        kind=FlowKind.DNS,
        protocol=Protocol.TCP if lookup.tcp else Protocol.UDP,
        verdict=FlowVerdict.DROPPED if refused else FlowVerdict.FORWARDED,
        flags=FlowFlag.FROM_POD,
        detail=detail,
    )


def _dns_detail(lookup: Lookup) -> DnsDetail:
    """Return what a message says; its question stands in it, whatever the outcome."""
    octets = lookup.message
    at = HEADER_OCTETS
    while octets[at]:
        at += octets[at] + 1
    question = octets[HEADER_OCTETS : at + 5].lower()
    if len(question) < at + 5 - HEADER_OCTETS:
        raise ValueError("the question is cut off")
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ttl_s = 0
    try:
        answer = read_answer(octets, question)
        addresses = tuple(str(read_octets(address)) for address in answer.addresses)
        ttl_s = answer.ttl_s
        names = tuple(f"{wire_text(name)}." for name in aliases_of(octets, question))
    except Malformed:
        pass  # cut off on the way to us: what is known of it is told
    return DnsDetail(
        query=f"{wire_text(question[:-4])}.",
        types=(_type_name(question[-4] << 8 | question[-3]),),
        rcode=octets[3] & 0x0F,
        addresses=addresses,
        cnames=names,
        ttl_s=ttl_s,
        latency_ns=lookup.latency_us * 1000,
    )


def _type_name(number: int) -> str:
    try:
        return Type(number).name
    except ValueError:
        return f"TYPE{number}"


def _records(rows: list[_Row], numberings: Numberings) -> Records:
    records: Records = np.zeros(len(rows), FLOW)
    for record, row in zip(records, rows, strict=True):
        record["time_ns"] = row.time_ns
        record["source"] = write_octets(row.source[0])
        record["destination"] = write_octets(row.destination[0])
        record["source_port"], record["destination_port"] = row.source[1], row.destination[1]
        record["kind"], record["protocol"], record["verdict"] = row.kind, row.protocol, row.verdict
        record["flags"] = row.flags
        record["reason"] = DENIED if row.verdict == FlowVerdict.DROPPED else 0
        record["octets"], record["octets_back"] = row.sent, row.received
        record["detail"] = numberings.detail(row.detail)
    return records
