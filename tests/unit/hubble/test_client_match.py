"""Filters over flows of a file: every field, and against those that a server has."""

from typing import Any

import pytest
from google.protobuf import json_format
from recorded_flows import dictionaries
from recorded_flows import flows as recorded
from recorded_hubble import flow

from cairn.flow.bad_filter import BadFilter
from cairn.flow.filter import compile_filters
from cairn.hubble.client_filter import Chosen, read_filters
from cairn.hubble.client_match import FIELDS, SIDED, matcher
from cairn.hubble.field_mask import FieldMask
from cairn.hubble.flow_filter import read_filter
from cairn.hubble.flow_writer import FlowWriter
from cairn.hubble.proto import message

Row = tuple[str, str, dict[str, Any]]
HTTP = {"l7": {"type": "RESPONSE", "http": {"code": 503, "method": "GET", "protocol": "HTTP/1.1",
               "url": "http://db/a/b?c", "headers": [{"key": "x", "value": "1"}]}}}  # fmt: skip
DNS = {"l7": {"type": "RESPONSE", "dns": {"query": "api.example.org."}}}
DROP = {"verdict": "DROPPED", "drop_reason_desc": "POLICY_DENIED"}
SERVICE = {"source_service": {"name": "web", "namespace": "x"},
           "destination_service": {"name": "db", "namespace": "x"}}  # fmt: skip
NAMES = {"source_names": ["a.example.org"], "destination_names": ["B.example.org."]}
# What holds, what does not, and what the flow has besides that of recorded_hubble.
ROWS: list[Row] = [
    ('{"source_pod": ["production/web"]}', '{"source_pod": ["web", "x/", "/data"]}', {}),
    ('{"destination_pod": ["/data"]}', '{"destination_pod": ["production/web"]}', {}),
    ('{"source_ip": ["10.42.0.0/16"]}', '{"source_ip": ["10.42.1.6", "fd00::/8"]}', {}),
    ('{"destination_ip": ["10.42.2.7"]}', '{"destination_ip": ["10.42.1.5"]}', {}),
    ('{"source_fqdn": ["*.example.org"]}', '{"source_fqdn": ["example.org"]}', NAMES),
    ('{"destination_fqdn": ["b.example.org"]}', '{"destination_fqdn": ["a.*"]}', NAMES),
    ('{"source_label": ["tier in (web)"]}', '{"source_label": ["tier=database"]}', {}),
    ('{"destination_label": ["k8s:tier"]}', '{"destination_label": ["!tier"]}', {}),
    ('{"source_service": ["x/web"]}', '{"source_service": ["x/db", "y/"]}', SERVICE),
    ('{"destination_service": ["/d"]}', '{"destination_service": ["db"]}', SERVICE),
    ('{"source_workload": [{"name": "web-app"}]}', '{"source_workload": [{"kind": "Job"}]}', {}),
    ('{"destination_workload": [{"kind": "Deployment", "name": "database"}]}',
     '{"destination_workload": [{"name": "web-app"}]}', {}),
    ('{"source_cluster_name": ["default"]}', '{"source_cluster_name": ["far"]}', {}),
    ('{"destination_cluster_name": ["default"]}', '{"destination_cluster_name": [""]}', {}),
    ('{"source_identity": [1, 40001]}', '{"source_identity": [40002]}', {}),
    ('{"destination_identity": [40002]}', '{"destination_identity": [0]}', {}),
    ('{"source_port": ["40000"]}', '{"source_port": ["5432"]}', {}),
    ('{"destination_port": ["80", "5432"]}', '{"destination_port": ["0"]}', {}),
    ('{"uuid": ["u-1"]}', '{"uuid": ["u-2"]}', {"uuid": "u-1"}),
    ('{"source_ip_xlated": ["10.9.0.0/16"]}', '{"source_ip_xlated": ["10.8.0.0/16"]}',
     {"IP": {"source_xlated": "10.9.1.1"}}),
    ('{"traffic_direction": ["EGRESS"]}', '{"traffic_direction": ["INGRESS"]}', {}),
    ('{"verdict": ["FORWARDED", "DROPPED"]}', '{"verdict": ["DROPPED"]}', {}),
    ('{"drop_reason_desc": ["POLICY_DENIED"]}', '{"drop_reason_desc": ["POLICY_DENY"]}', DROP),
    ('{"interface": [{"name": "eth0"}, {"index": 9}]}', '{"interface": [{"index": 9}]}',
     {"interface": {"index": 2, "name": "eth0"}}),
    ('{"event_type": [{"type": 4, "match_sub_type": true, "sub_type": 5}]}',
     '{"event_type": [{"type": 1}, {"type": 4, "match_sub_type": true}]}', {}),
    ('{"http_status_code": ["5+"]}', '{"http_status_code": ["50+", "404"]}',
     {"l7": HTTP["l7"] | {"http": HTTP["l7"]["http"] | {"code": 521}}}),  # type: ignore[operator]
    ('{"http_method": ["get"]}', '{"http_method": ["post"]}', HTTP),
    ('{"http_path": ["^/a/b$"]}', '{"http_path": ["c"]}', HTTP),
    ('{"http_url": ["db/a/b.c"]}', '{"http_url": ["^/a"]}', HTTP),
    ('{"http_header": [{"key": "x", "value": "1"}]}', '{"http_header": [{"key": "x"}]}', HTTP),
    ('{"protocol": ["tcp"]}', '{"protocol": ["udp", "icmp", "http"]}', {}),
    ('{"protocol": ["http"]}', '{"protocol": ["dns"]}', HTTP),
    ('{"reply": [false]}', '{"reply": [true]}', {}),
    ('{"dns_query": ["example"]}', '{"dns_query": ["^example"]}', DNS),
    ('{"tcp_flags": [{"SYN": true}]}', '{"tcp_flags": [{"SYN": true, "ACK": true}]}', {}),
    ('{"node_name": ["node-*"]}', '{"node_name": ["far/", "node"]}', {}),
    ('{"node_labels": ["zone=a"]}', '{"node_labels": ["!zone"]}', {"node_labels": ["k8s:zone=a"]}),
    ('{"ip_version": ["IPv4"]}', '{"ip_version": ["IPv6"]}', {}),
    ('{"trace_id": ["4bf9"]}', '{"trace_id": [""]}',
     {"trace_context": {"parent": {"trace_id": "4bf9"}}}),
    ('{"ip_trace_id": [7]}', '{"ip_trace_id": [8]}', {"ip_trace_id": {"trace_id": 7}}),
    ('{"encrypted": [false]}', '{"encrypted": [true]}', {}),
]  # fmt: skip


def made(fields: dict[str, Any]) -> Any:
    one = flow()
    one.MergeFrom(json_format.ParseDict(fields, message("flow.Flow")()))
    return one


@pytest.mark.parametrize(("holds", "fails", "more"), ROWS, ids=[row[0] for row in ROWS])
def test_each_field(holds: str, fails: str, more: dict[str, Any]) -> None:
    one = made(more)
    assert matcher(Chosen(tuple(read_filters([holds]))))(one)
    assert not matcher(Chosen(tuple(read_filters([fails]))))(one)
    assert not matcher(Chosen((), tuple(read_filters([holds]))))(one)
    assert matcher(Chosen((), tuple(read_filters([fails]))))(one)


def test_every_field_is_tested() -> None:
    tested = {
        next(iter(one[0].ListFields()))[0].name for one in [read_filters([r[0]]) for r in ROWS]
    }
    known = set(FIELDS) | {f"{end}_{name}" for name in SIDED for end in ("source", "destination")}
    assert tested == known
    fields = {field.name for field in message("flow.FlowFilter").DESCRIPTOR.fields}
    assert fields - known == {"experimental"}


def test_all_fields_hold_any_filter_does_and_denied_is_denied() -> None:
    both = '{"source_pod": ["production/"], "verdict": ["DROPPED"]}'
    other = '{"destination_port": ["5432"]}'
    assert not matcher(Chosen(tuple(read_filters([both]))))(flow())
    assert matcher(Chosen(tuple(read_filters([both, other]))))(flow())
    assert not matcher(Chosen(tuple(read_filters([other])), tuple(read_filters([other]))))(flow())
    assert matcher(Chosen())(flow())


def test_whether_a_dropped_flow_answers_is_not_known_and_counts_as_no() -> None:
    unknown, dropped = flow(), flow(verdict="DROPPED")
    unknown.ClearField("is_reply")
    dropped.ClearField("is_reply")
    no = matcher(Chosen(tuple(read_filters(['{"reply": [false]}']))))
    assert not no(unknown)
    assert no(dropped)


@pytest.mark.parametrize(
    "text",
    [
        '{"protocol": ["quic"]}',
        '{"http_path": ["("]}',
        '{"source_label": ["a=("]}',
        '{"source_ip": ["10.0.0.0/99"]}',
        '{"http_status_code": ["9"]}',
        '{"experimental": {"cel_expression": ["true"]}}',
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BadFilter):
        matcher(Chosen(tuple(read_filters([text]))))


COMPARED = [
    '{"source_pod": ["production/web"]}',
    '{"destination_pod": ["/data", "default/"]}',
    '{"source_label": ["app in (web, cache)"]}',
    '{"destination_label": ["!app"]}',
    '{"source_workload": [{"name": "database", "kind": "Deployment"}]}',
    '{"destination_fqdn": ["example.org"]}',
    '{"source_ip": ["10.0.0.0/28", "10.42.0.0/28"]}',
    '{"source_cluster_name": ["default"]}',
    '{"destination_port": ["80"]}',
    '{"source_port": ["30001", "30003"]}',
    '{"destination_identity": [0, 2]}',
    '{"verdict": ["DROPPED"]}',
    '{"drop_reason_desc": ["POLICY_DENIED"]}',
    '{"event_type": [{"type": 1}, {"type": 129}]}',
    '{"event_type": [{"type": 4, "match_sub_type": true, "sub_type": 0}]}',
    '{"event_type": [{"type": 1, "match_sub_type": true, "sub_type": 133}]}',
    '{"protocol": ["http", "dns"]}',
    '{"protocol": ["udp"]}',
    '{"http_status_code": ["2+"]}',
    '{"http_path": ["^/items$"]}',
    '{"dns_query": ["example"]}',
    '{"reply": [false]}',
    '{"reply": [true]}',
    '{"traffic_direction": ["INGRESS"]}',
    '{"tcp_flags": [{"SYN": true}]}',
    '{"node_name": ["node-1", "default/node-2"]}',
    '{"ip_version": ["IPv6"]}',
    '{"source_pod": ["production/"], "verdict": ["FORWARDED"], "node_name": ["node-1"]}',
]


def test_the_same_as_a_server_says() -> None:
    """Flows as columns and as messages: each filter chooses the same."""
    records, names = recorded(2000), dictionaries()
    writer = FlowWriter(names, FieldMask(message("google.protobuf.FieldMask")()))
    response = message("observer.GetFlowsResponse")
    messages = [response.FromString(octets).flow for octets in writer.responses(records)]
    chosen = 0
    for text in COMPARED:
        (one,) = read_filters([text])
        mask = compile_filters([read_filter(one)], [], names)(records)
        found = [matcher(Chosen((one,)))(flow) for flow in messages]
        assert found == mask.tolist(), text
        chosen += any(found) and not all(found)
    assert chosen > len(COMPARED) // 2
