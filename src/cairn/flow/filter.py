"""Hubble's flow filters as masks over columns.

    FlowFilter (allow, deny)  ->  Mask  ->  mask(records): array of bool

A flow passes if any filter of `allow` holds, or there is none, and no filter of `deny` does. A
filter holds if each of its fields does, a field if any of its alternatives does.

Invariants  Flows of kind LOST always pass: what was lost may be what is asked for.
            Text is judged once for each entry of a dictionary, expressions in linear time.
            A mask stays good while the dictionaries grow.
Cost        1,000,000 flows in 15 to 45 ms (bench/flow_query.py)
Standards   Cilium api/v1/flow/flow.proto, message FlowFilter: fields by its names, enums by its
            numbers; where Hubble's filters do something that is not plain we do likewise
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from cairn.flow.address import Records
from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import Dictionaries, FlowKind
from cairn.flow.filter_term import Term
from cairn.flow.filter_terms import terms_of
from cairn.flow.key_test import Bools

__all__ = ["BadFilter", "EventTypeIs", "FlowFilter", "InterfaceIs", "Mask", "compile_filters"]

FEW = 4
"""Once fewer than one flow in so many is left, the terms that follow look at those alone."""


@dataclass(frozen=True, slots=True)
class EventTypeIs:
    """Flow's event type; see event_type.py."""

    type: int = 0
    """0: any."""
    match_sub_type: bool = False
    """Whether `sub_type` counts."""
    sub_type: int = 0
    """As event_types returns it."""


@dataclass(frozen=True, slots=True)
class InterfaceIs:
    """Network interface; what is 0 or empty is any."""

    index: int = 0
    """Its number on the node."""
    name: str = ""
    """Its name."""


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """One filter; each field holds alternatives, and none means any."""

    uuid: tuple[str, ...] = ()
    """As `identifier.spell` writes them."""
    source_ip: tuple[str, ...] = ()
    """Addresses and networks."""
    source_ip_xlated: tuple[str, ...] = ()
    """Likewise; no flow of ours has a translated source, so none matches."""
    source_pod: tuple[str, ...] = ()
    """`ns/prefix`, `ns/`, `/prefix`; `prefix` alone is in namespace default."""
    source_fqdn: tuple[str, ...] = ()
    """Names, with `*`."""
    source_label: tuple[str, ...] = ()
    """Label selectors."""
    source_service: tuple[str, ...] = ()
    """As source_pod."""
    source_workload: tuple[tuple[str, str], ...] = ()
    """Name and kind; empty: any."""
    source_cluster_name: tuple[str, ...] = ()
    """Of pods and nodes."""
    destination_ip: tuple[str, ...] = ()
    """Addresses and networks."""
    destination_pod: tuple[str, ...] = ()
    """As source_pod."""
    destination_fqdn: tuple[str, ...] = ()
    """Names, with `*`."""
    destination_label: tuple[str, ...] = ()
    """Label selectors."""
    destination_service: tuple[str, ...] = ()
    """As source_pod."""
    destination_workload: tuple[tuple[str, str], ...] = ()
    """Name and kind; empty: any."""
    destination_cluster_name: tuple[str, ...] = ()
    """Of pods and nodes."""
    traffic_direction: tuple[int, ...] = ()
    """event_type.Direction."""
    verdict: tuple[int, ...] = ()
    """FlowVerdict."""
    drop_reason_desc: tuple[int, ...] = ()
    """Hubble's DropReason, of dropped flows."""
    interface: tuple[InterfaceIs, ...] = ()
    """Where it was seen."""
    event_type: tuple[EventTypeIs, ...] = ()
    """Cilium's monitor events."""
    http_status_code: tuple[str, ...] = ()
    """`404`, `5+`, `40+`."""
    protocol: tuple[str, ...] = ()
    """tcp, udp, sctp, icmp, icmpv4, icmpv6, vrrp, igmp, dns, http, tls, kafka."""
    source_port: tuple[str, ...] = ()
    """Of TCP, UDP, SCTP."""
    destination_port: tuple[str, ...] = ()
    """Of TCP, UDP, SCTP."""
    reply: tuple[bool, ...] = ()
    """Unknown matches neither, but of dropped flows it counts as false."""
    dns_query: tuple[str, ...] = ()
    """Regular expressions, found anywhere in the name."""
    source_identity: tuple[int, ...] = ()
    """Numbers."""
    destination_identity: tuple[int, ...] = ()
    """Numbers."""
    http_method: tuple[str, ...] = ()
    """In either case."""
    http_path: tuple[str, ...] = ()
    """Regular expressions."""
    http_url: tuple[str, ...] = ()
    """Regular expressions."""
    http_header: tuple[tuple[str, str], ...] = ()
    """Name and value, exactly."""
    tcp_flags: tuple[int, ...] = ()
    """Flags that must all be set: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128,
    NS 256."""
    node_name: tuple[str, ...] = ()
    """`node`, `cluster/`, `cluster/node`, with `*`."""
    node_labels: tuple[str, ...] = ()
    """Label selectors."""
    ip_version: tuple[int, ...] = ()
    """1: IPv4, 2: IPv6."""
    trace_id: tuple[str, ...] = ()
    """W3C trace id of a request."""
    ip_trace_id: tuple[int, ...] = ()
    """No flow of ours has one: it counts as 0."""
    encrypted: tuple[bool, ...] = ()
    """No flow of ours is."""
    cel_expression: tuple[str, ...] = ()
    """Refused: not supported."""


class Mask:
    """Compiled filters."""

    def __init__(self, allow: Sequence[Sequence[Term]], deny: Sequence[Sequence[Term]]) -> None:
        self._allow, self._deny = allow, deny

    def __call__(self, records: Records) -> Bools:
        """Return for each flow whether it passes."""
        passed = np.full(len(records), not self._allow)
        for terms in self._allow:
            passed |= _all_hold(terms, records)
        for terms in self._deny:
            passed &= ~_all_hold(terms, records)
        passed |= records["kind"] == FlowKind.LOST
        return passed


def compile_filters(
    allow: Sequence[FlowFilter],
    deny: Sequence[FlowFilter],
    dictionaries: Dictionaries,
    cluster: str = "default",
) -> Mask:
    """Return the mask of some filters; raises BadFilter for what is not understood.

    cluster: name of the cluster, which pods and nodes are in.
    """
    return Mask(
        [_terms(flow_filter, dictionaries, cluster) for flow_filter in allow],
        [_terms(flow_filter, dictionaries, cluster) for flow_filter in deny],
    )


def _terms(flow_filter: FlowFilter, dictionaries: Dictionaries, cluster: str) -> list[Term]:
    asked = {
        field.name: value
        for field in fields(flow_filter)
        if (value := getattr(flow_filter, field.name))
    }
    return terms_of(asked, dictionaries, cluster)


def _all_hold(terms: Sequence[Term], records: Records) -> Bools:
    """Return where all terms hold; each next one looks at fewer flows, once they are few."""
    held = np.ones(len(records), np.bool_)
    where = None
    chosen = records
    for term in terms:
        holds = term(chosen)
        if where is None:
            held &= holds
        else:
            where = where[holds]
            held[:] = False
            held[where] = True
        left = int(holds.sum())
        if not left:
            return np.zeros(len(records), np.bool_)
        if left * FEW < len(chosen):
            where = np.flatnonzero(held)
            chosen = records[where]
        elif where is not None:
            chosen = records[where]
    return held
