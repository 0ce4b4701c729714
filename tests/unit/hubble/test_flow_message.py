"""Flows as messages: what each kind of flow says, field by field."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hubble_bed import blank_flows
from hypothesis import given
from hypothesis import strategies as st

from cairn import __version__
from cairn.flow.address import write_octets
from cairn.flow.columns import (
    Decision,
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
from cairn.flow.record import read_flow
from cairn.hubble.field_mask import FieldMask
from cairn.hubble.flow_writer import FlowWriter, write_time, write_varint
from cairn.hubble.proto import message
from cairn.net import parse_address

WEB = End("shop", "web-1", ("k8s:app=web",), "Deployment", "web")
VIP = End("shop", service="web")
WORLD = End(labels=("reserved:world",), names=("www.example.org",))
DENY = Decision("NetworkPolicy", "shop", "deny-all", "", egress=False, labels=("k8s:p=deny-all",))
ALLOW = Decision("CiliumNetworkPolicy", "", "allow", "egress[0]", egress=True)
DICTIONARIES = Dictionaries(
    ends={1: WEB, 2: WORLD, 3: VIP},
    decisions={1: DENY, 2: ALLOW},
    details={
        1: HttpDetail("GET", "http://web/a", "HTTP/1.1", 200, 3_000_000, (("x", "y"),)),
        2: HttpDetail("PUT", "http://web/b", "HTTP/1.1", 403, 0),
        3: DnsDetail("www.example.org.", ("A",), 0, ("1.2.3.4",), ("x.example.",), 30, 900),
        4: DnsDetail("no.example.", ("AAAA",), 0),
        5: TlsDetail("www.example.org"),
    },
    nodes={1: "node-1"},
    node_labels={1: ("k8s:zone=a",)},
    interfaces={interface_key(1, 3): "eth0"},
)


def octets(text: str) -> Any:
    return np.void(write_octets(parse_address(text)))


def written(**columns: Any) -> dict[str, Any]:
    """Return a flow in JSON, but for what is the same in all."""
    flow = blank_flows(1, **{"node": 1, "source_end": 1, "destination_end": 2, **columns})
    flow["source"], flow["destination"] = octets("10.0.0.5"), octets("1.2.3.4")
    writer = FlowWriter(DICTIONARIES, FieldMask(message("google.protobuf.FieldMask")()))
    (response,) = writer.responses(flow)
    found: dict[str, Any] = json_format.MessageToDict(
        message("observer.GetFlowsResponse").FromString(response), preserving_proto_field_name=True
    )
    assert found["time"] == found["flow"]["time"]
    assert found["node_name"] == found["flow"]["node_name"] == "node-1"
    return dict(found["flow"])


def test_a_new_connection_says_who_and_whom() -> None:
    flow = written(
        flags=FlowFlag.FROM_POD,
        source_port=40000,
        destination_port=443,
        tcp_flags=2,
        source_identity=300,
        destination_identity=2,
        decision=2,
        ifindex=3,
    )
    assert len(flow.pop("uuid")) == 36
    assert flow == {
        "time": "2027-01-15T07:59:59Z",
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.5", "destination": "1.2.3.4", "ipVersion": "IPv4"},
        "l4": {
            "TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}},
        },
        "source": {
            "identity": 300,
            "namespace": "shop",
            "labels": ["k8s:app=web"],
            "pod_name": "web-1",
            "workloads": [{"name": "web", "kind": "Deployment"}],
            "cluster_name": "default",
        },
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "destination_names": ["www.example.org"],
        "Type": "L3_L4",
        "node_name": "node-1",
        "node_labels": ["k8s:zone=a"],
        "event_type": {"type": 5},
        "traffic_direction": "EGRESS",
        "is_reply": False,
        "interface": {"index": 3, "name": "eth0"},
        "egress_allowed_by": [{"name": "allow", "kind": "CiliumNetworkPolicy"}],
        "emitter": {"name": "Cairn", "version": __version__},
        "Summary": "new TCP",
    }


CASES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (
        {"kind": FlowKind.DROP, "verdict": 2, "reason": 65, "decision": 1, "flags": 2},
        {
            "drop_reason": 133,
            "drop_reason_desc": "POLICY_DENIED",
            "event_type": {"type": 1, "sub_type": 133},
            "ingress_denied_by": [
                {
                    **{"name": "deny-all", "namespace": "shop", "kind": "NetworkPolicy"},
                    "labels": ["k8s:p=deny-all"],
                }
            ],
            "Summary": "a policy isolates the pod, and no rule allows it",
        },
    ),
    (
        {"kind": FlowKind.AUDITED, "verdict": FlowVerdict.AUDIT, "decision": 1},
        {"verdict": "AUDIT", "ingress_denied_by": [{"name": "deny-all"}]},
    ),
    (
        {"kind": FlowKind.CLOSED, "packets": 3, "octets": 180, "packets_back": 2},
        {"Summary": "closed TCP: 3 packets, 180 octets; back 2, 0"},
    ),
    (
        {"kind": FlowKind.REDIRECTED, "verdict": 5, "translated_port": 15001},
        {"proxy_port": 15001, "trace_observation_point": "TO_PROXY", "verdict": "REDIRECTED"},
    ),
    (
        {"kind": FlowKind.TRANSLATED, "verdict": 7, "point": 2, "destination_end": 3},
        {
            "Type": "SOCK",
            "event_type": {"type": 7, "sub_type": 1},
            "sock_xlate_point": "SOCK_XLATE_POINT_PRE_DIRECTION_FWD",
            "destination_service": {"name": "web", "namespace": "shop"},
        },
    ),
    (
        {"flags": FlowFlag.TO_POD | FlowFlag.REPLY, "protocol": 17, "source_port": 53},
        {
            "trace_observation_point": "TO_ENDPOINT",
            "trace_reason": "REPLY",
            "is_reply": True,
            "reply": True,
            "l4": {"UDP": {"source_port": 53}},
        },
    ),
    ({"flags": FlowFlag.REPLY_UNKNOWN}, {"is_reply": None, "reply": None}),
    (
        {"protocol": 58, "icmp_type": 128, "icmp_code": 1},
        {"l4": {"ICMPv6": {"type": 128, "code": 1}}},
    ),
    ({"protocol": 132}, {"l4": {"SCTP": {}}}),
    ({"protocol": 112}, {"l4": {"VRRP": {}}}),
    ({"protocol": 47}, {"l4": None}),
    ({"suppressed": 4, "flags": FlowFlag.TO_POD}, {"aggregate": {"ingress_flow_count": 5}}),
    (
        {"kind": FlowKind.HTTP, "detail": 1},
        {
            "Type": "L7",
            "l7": {
                "type": "RESPONSE",
                "latency_ns": "3000000",
                "http": {
                    **{"code": 200, "method": "GET", "url": "http://web/a"},
                    **{"protocol": "HTTP/1.1", "headers": [{"key": "x", "value": "y"}]},
                },
            },
            "Summary": "HTTP/1.1 GET http://web/a 200",
        },
    ),
    (
        {"kind": FlowKind.HTTP, "detail": 2, "verdict": 2, "reason": 64},
        {
            "l7": {
                "type": "REQUEST",
                "http": {
                    **{"code": 403, "method": "PUT", "url": "http://web/b"},
                    "protocol": "HTTP/1.1",
                },
            },
            "drop_reason_desc": "POLICY_DENY",
        },
    ),
    (
        {"kind": FlowKind.DNS, "detail": 3, "protocol": 17},
        {
            "l7": {
                "type": "RESPONSE",
                "latency_ns": "900",
                "dns": {
                    **{"query": "www.example.org.", "ips": ["1.2.3.4"], "ttl": 30},
                    **{"cnames": ["x.example."], "observation_source": "proxy"},
                    **{"qtypes": ["A"], "rrtypes": ["CNAME", "A"]},
                },
            },
        },
    ),
    (
        {"kind": FlowKind.DNS, "detail": 4, "protocol": 17},
        {
            "l7": {
                "type": "REQUEST",
                "dns": {
                    **{"query": "no.example.", "observation_source": "proxy"},
                    "qtypes": ["AAAA"],
                },
            },
        },
    ),
    (
        {"kind": FlowKind.TLS, "detail": 5},
        {"l7": {"type": "REQUEST"}, "Summary": "TLS www.example.org"},
    ),
)


@pytest.mark.parametrize(("columns", "wanted"), CASES)
def test_what_a_kind_of_flow_says(columns: dict[str, Any], wanted: dict[str, Any]) -> None:
    flow = written(**columns)
    for name, value in wanted.items():
        found = flow.get(name)
        if name.endswith("_by") and found and "labels" not in value[0]:
            found = [{"name": found[0]["name"]}]
        assert found == value, name


def test_a_request_is_read_back_for_replay() -> None:
    for detail, answered in ((1, 1), (2, 2)):
        flow = written(kind=FlowKind.HTTP, detail=detail, verdict=answered, flags=FlowFlag.TO_POD)
        text = message("flow.Flow")()
        json_format.ParseDict(flow, text)
        line = json_format.MessageToJson(text, indent=None, preserving_proto_field_name=True)
        assert (
            read_flow(line).http == {1: ("GET", "http://web/a"), 2: ("PUT", "http://web/b")}[detail]
        )


@given(st.integers(0, 2**62))
def test_a_time_is_written_as_protobuf_does(time_ns: int) -> None:
    made = message("google.protobuf.Timestamp")()
    made.FromNanoseconds(time_ns)
    assert write_time(time_ns) == made.SerializeToString()


@given(st.integers(0, 2**63 - 1))
def test_a_number_is_written_as_protobuf_does(number: int) -> None:
    made = message("google.protobuf.UInt64Value")(value=number).SerializeToString()
    assert made == (b"\x08" + write_varint(number) if number else b"")
