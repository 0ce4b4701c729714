"""Every field of a flow filter against a plain loop over rows."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from mixed_flows import DICTIONARIES, HEADER, random_flows

from cairn.abi.verdicts import Verdict
from cairn.flow import drop_reason, identifier
from cairn.flow.address import Records
from cairn.flow.columns import (
    FLOW,
    DnsDetail,
    FlowKind,
    FlowVerdict,
    HttpDetail,
)
from cairn.flow.event_type import Direction, EventType
from cairn.flow.filter import (
    BadFilter,
    EventTypeIs,
    FlowFilter,
    InterfaceIs,
    compile_filters,
)
from cairn.flow.view import FlowRow, rows
from cairn.net import parse_network

RECORDS = random_flows()
ROWS = list(rows(RECORDS, DICTIONARIES))
UUIDS = [
    identifier.spell(int(high), int(low))
    for high, low in zip(*identifier.identifiers(RECORDS, DICTIONARIES.nodes), strict=True)
]
ORDER = {id(row): number for number, row in enumerate(ROWS)}
Oracle = Callable[[FlowRow], bool]


def raw(row: FlowRow, column: str) -> int:
    return int(RECORDS[column][ORDER[id(row)]])


def http(row: FlowRow) -> HttpDetail | None:
    return row.detail if isinstance(row.detail, HttpDetail) else None


def inside(text: str, row: FlowRow) -> bool:
    network = parse_network(text)
    return row.source_address.version == network.version and row.source_address in network


CASES: tuple[tuple[FlowFilter, Oracle], ...] = (
    (FlowFilter(uuid=(UUIDS[5],)), lambda r: UUIDS[ORDER[id(r)]] == UUIDS[5]),
    (FlowFilter(source_ip=("10.0.0.1",)), lambda r: str(r.source_address) == "10.0.0.1"),
    (FlowFilter(source_ip=("10.0.0.0/16",)), lambda r: inside("10.0.0.0/16", r)),
    (FlowFilter(source_ip=("::/0",)), lambda r: r.source_address.version == 6),
    (FlowFilter(source_ip_xlated=("10.0.0.1",)), lambda r: False),
    (
        FlowFilter(destination_ip=("fd00::/16", "10.0.1.1")),
        lambda r: str(r.destination_address) in ("fd00::1", "10.0.1.1"),
    ),
    (FlowFilter(source_pod=("shop/web",)), lambda r: r.source.pod == "web-1"),
    (FlowFilter(source_pod=("web",)), lambda r: r.source.pod == "web-9"),
    (FlowFilter(source_pod=("/web",)), lambda r: r.source.pod.startswith("web")),
    (FlowFilter(destination_pod=("shop/",)), lambda r: r.destination.namespace == "shop"),
    (FlowFilter(source_fqdn=("*.example.org",)), lambda r: bool(r.source.names)),
    (FlowFilter(destination_fqdn=("www.*",)), lambda r: bool(r.destination.names)),
    (FlowFilter(source_label=("app in (web, x), !tier",)), lambda r: r.source.pod == "web-9"),
    (FlowFilter(source_label=("k8s:app!=db",)), lambda r: "k8s:app=db" not in r.source.labels),
    (FlowFilter(destination_label=("reserved:world",)), lambda r: bool(r.destination.names)),
    (FlowFilter(source_service=("shop/we",)), lambda r: r.source.service == "web"),
    (FlowFilter(destination_service=("we",)), lambda r: False),
    (FlowFilter(source_workload=(("web", ""),)), lambda r: r.source.workload == "web"),
    (
        FlowFilter(destination_workload=(("", "StatefulSet"),)),
        lambda r: r.destination.workload_kind == "StatefulSet",
    ),
    (FlowFilter(source_cluster_name=("default",)), lambda r: bool(r.source.pod or r.source.node)),
    (FlowFilter(destination_cluster_name=("else",)), lambda r: False),
    (FlowFilter(traffic_direction=(1,)), lambda r: r.direction == Direction.INGRESS),
    (FlowFilter(verdict=(2, 4)), lambda r: r.verdict in (2, 4)),
    (
        FlowFilter(drop_reason_desc=(133, 181)),
        lambda r: r.verdict == FlowVerdict.DROPPED and raw(r, "reason") in (49, 64, 65),
    ),
    (FlowFilter(interface=(InterfaceIs(3, "eth0"),)), lambda r: r.interface == "eth0"),
    (FlowFilter(interface=(InterfaceIs(4),)), lambda r: raw(r, "ifindex") == 4),
    (FlowFilter(event_type=(EventTypeIs(129),)), lambda r: FlowKind.HTTP <= r.kind <= FlowKind.TLS),
    (
        FlowFilter(event_type=(EventTypeIs(EventType.TRACE, True, 1),)),
        lambda r: r.kind == FlowKind.REDIRECTED,
    ),
    (
        FlowFilter(event_type=(EventTypeIs(EventType.POLICY_VERDICT),)),
        lambda r: (
            r.kind == FlowKind.AUDITED or (r.kind == FlowKind.NEW and raw(r, "decision") != 0)
        ),
    ),
    (FlowFilter(http_status_code=("5+",)), lambda r: (h := http(r)) is not None and h.status > 499),
    (FlowFilter(protocol=("icmp", "DNS")), lambda r: r.protocol in (1, 58) or r.kind == 10),
    (FlowFilter(protocol=("kafka",)), lambda r: False),
    (FlowFilter(source_port=("53",)), lambda r: r.source_port == 53 and r.protocol in (6, 17, 132)),
    (
        FlowFilter(destination_port=("80", "443")),
        lambda r: r.destination_port in (80, 443) and r.protocol in (6, 17, 132),
    ),
    (FlowFilter(reply=(True,)), lambda r: r.is_reply is True),
    (
        FlowFilter(reply=(False,)),
        lambda r: r.is_reply is False or (r.is_reply is None and r.verdict == 2),
    ),
    (FlowFilter(dns_query=("^www.*org",)), lambda r: isinstance(r.detail, DnsDetail)),
    (FlowFilter(source_identity=(1, 2)), lambda r: r.source_identity in (1, 2)),
    (FlowFilter(destination_identity=(0,)), lambda r: r.destination_identity == 0),
    (FlowFilter(http_method=("get",)), lambda r: (h := http(r)) is not None and h.method == "GET"),
    (FlowFilter(http_path=("^/a b$",)), lambda r: (h := http(r)) is not None and h.status == 200),
    (FlowFilter(http_url=("login",)), lambda r: (h := http(r)) is not None and h.status == 503),
    (FlowFilter(http_header=(HEADER,)), lambda r: (h := http(r)) is not None and h.status == 200),
    (FlowFilter(trace_id=("a" * 32,)), lambda r: (h := http(r)) is not None and h.status == 200),
    (
        FlowFilter(tcp_flags=(2 | 16, 4)),
        lambda r: (
            r.protocol == 6
            and r.kind < FlowKind.HTTP
            and (raw(r, "tcp_flags") & 18 == 18 or raw(r, "tcp_flags") & 4 == 4)
        ),
    ),
    (FlowFilter(node_name=("default/node-*",)), lambda r: bool(r.node)),
    (FlowFilter(node_name=("*-2",)), lambda r: r.node == "node-2"),
    (FlowFilter(node_labels=("zone=a",)), lambda r: r.node == "node-1"),
    (FlowFilter(ip_version=(2,)), lambda r: r.destination_address.version == 6),
    (FlowFilter(ip_trace_id=(3,)), lambda r: False),
    (FlowFilter(encrypted=(False,)), lambda r: True),
)


@pytest.mark.parametrize(("flow_filter", "oracle"), CASES)
def test_a_field_selects_what_a_loop_does(flow_filter: FlowFilter, oracle: Oracle) -> None:
    wanted = [oracle(row) for row in ROWS]
    assert compile_filters([flow_filter], [], DICTIONARIES)(RECORDS).tolist() == wanted
    refused = compile_filters([], [flow_filter], DICTIONARIES)(RECORDS).tolist()
    assert refused == [not one for one in wanted]


def test_every_field_has_a_case() -> None:
    asked = {f.name for case, _ in CASES for f in fields(case) if getattr(case, f.name)}
    assert asked | {"cel_expression"} == {f.name for f in fields(FlowFilter)}


def test_fields_and_filters_combine() -> None:
    allow = [
        FlowFilter(source_pod=("shop/",), verdict=(2,), reply=(True,)),
        FlowFilter(verdict=(4,)),
    ]
    deny = [FlowFilter(destination_port=("53",), protocol=("tcp",))]
    wanted = [
        ((r.source.namespace == "shop" and r.verdict == 2 and r.is_reply is True) or r.verdict == 4)
        and not (r.destination_port == 53 and r.protocol == 6)
        for r in ROWS
    ]
    assert any(wanted)
    assert compile_filters(allow, deny, DICTIONARIES)(RECORDS).tolist() == wanted


@pytest.mark.parametrize(
    "flow_filter",
    [
        FlowFilter(source_ip=("10.0.0",)),
        FlowFilter(destination_port=("99999",)),
        FlowFilter(http_url=("(a",)),
        FlowFilter(dns_query=("(?=a)",)),
        FlowFilter(http_status_code=("6+",)),
        FlowFilter(http_method=("GET",), event_type=(EventTypeIs(1),)),
        FlowFilter(protocol=("quic",)),
        FlowFilter(source_label=("a in b",)),
        FlowFilter(node_name=("a/b/c",)),
        FlowFilter(source_pod=("",)),
        FlowFilter(uuid=("x",)),
        FlowFilter(cel_expression=("true",)),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(flow_filter: FlowFilter) -> None:
    with pytest.raises(BadFilter) as found:
        compile_filters([flow_filter], [], DICTIONARIES)
    assert "\n" not in str(found.value)


def test_what_was_lost_passes_every_filter() -> None:
    records: Records = np.zeros(1, FLOW)
    records["kind"] = FlowKind.LOST
    flow_filter = FlowFilter(source_pod=("shop/",))
    assert compile_filters([flow_filter], [flow_filter], DICTIONARIES)(records).all()


def test_every_drop_has_a_reason() -> None:
    drops = {int(verdict): verdict.text for verdict in Verdict if verdict.is_drop}
    assert drops == drop_reason.TEXTS
    assert {number for _, number, _ in drop_reason.ROWS} <= drop_reason.HUBBLE_NAMES.keys()
