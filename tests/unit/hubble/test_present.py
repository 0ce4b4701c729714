"""Flows as `observe` prints them: the document's columns, upstream's forms, JSON."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from recorded_hubble import START_NS, at, flow, response

from cairn.hubble.present_colour import coloured
from cairn.hubble.present_flows import FORMS, Style, notice
from cairn.hubble.present_json import to_dict, to_line
from cairn.hubble.present_time import FORMATS
from cairn.hubble.proto import message

DENIED = {
    "verdict": "DROPPED", "Type": "L3_L4", "drop_reason_desc": "POLICY_DENIED",
    "event_type": {"type": 1, "sub_type": 133},
    "ingress_denied_by": [{"name": "default-deny-all", "namespace": "production",
                           "kind": "CiliumNetworkPolicy"}],
}  # fmt: skip
REQUEST = {"Type": "L7", "event_type": {"type": 129},
           "l7": {"type": "REQUEST", "http": {"method": "GET", "url": "http://db/x",
                                              "protocol": "HTTP/1.1"}}}  # fmt: skip


def made(fields: dict[str, Any], *, outside: str = "", udp: int = 0, seconds: float = 0) -> Any:
    """Return a response; `outside`: to that address of the world, by UDP to that port."""
    one = flow()
    if outside:
        one.destination.Clear()
        one.destination.identity, one.IP.destination = 2, outside
    if udp:
        one.l4.UDP.source_port, one.l4.UDP.destination_port = 40001, udp
    if "event_type" in fields:
        one.event_type.Clear()
    one.MergeFrom(json_format.ParseDict(fields, message("flow.Flow")()))
    one.time.CopyFrom(at(seconds))
    return response(flow=one, node_name=one.node_name, time=one.time)


DOCUMENT = [
    made({}),
    made(REQUEST),
    made({}, outside="8.8.8.8", udp=53, seconds=1),
    made(REQUEST | {"destination_names": ["api.github.com."], "l4": {"TCP": {
        "destination_port": 443}}}, outside="140.82.112.6", seconds=1),
]  # fmt: skip


SHOWN = """\
TIMESTAMP             SOURCE                    DESTINATION               TYPE      VERDICT
2024-01-15T10:30:15Z  production/web-app-123    production/database-456   L4        ALLOWED
2024-01-15T10:30:15Z  production/web-app-123    production/database-456   L7        ALLOWED
2024-01-15T10:30:16Z  production/web-app-123    8.8.8.8:53                L4        ALLOWED
2024-01-15T10:30:16Z  production/web-app-123    api.github.com:443        L7        ALLOWED
"""
"""As the reference document has it."""


def test_the_documents_own_columns() -> None:
    assert FORMS["columns"](Style())(DOCUMENT) == SHOWN


def test_the_header_comes_once_and_columns_grow() -> None:
    show = FORMS["columns"](Style(node=True))
    first, second = show(DOCUMENT[:1]), show([made({"source": {"pod_name": "-" + "x" * 20}})])
    assert first.splitlines()[0].split() == [
        "TIMESTAMP", "NODE", "SOURCE", "DESTINATION", "TYPE", "VERDICT"]  # fmt: skip
    (line,) = second.splitlines()
    assert line.split() == ["2024-01-15T10:30:15Z", "node-1", "production/-" + "x" * 20,
                            "production/database-456", "L4", "ALLOWED"]  # fmt: skip
    assert show([]) == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (DENIED, "DENIED by CiliumNetworkPolicy production/default-deny-all"),
        (DENIED | {"ingress_denied_by": []}, "DENIED (Policy denied)"),
        (DENIED | {"ingress_denied_by": [], "Summary": "no room"}, "DENIED (no room)"),
        (DENIED | {"verdict": "AUDIT"},
         "AUDIT by CiliumNetworkPolicy production/default-deny-all"),
        ({"verdict": "REDIRECTED"}, "REDIRECTED"),
        ({"verdict": "TRANSLATED", "Type": "SOCK"}, "TRANSLATED"),
    ],
)  # fmt: skip
def test_who_decided_against_it_is_told(fields: dict[str, Any], said: str) -> None:
    line = FORMS["columns"](Style())([made(fields)]).splitlines()[1]
    assert line.endswith(f"  {said}")


def test_who_let_it_through_is_told_if_asked() -> None:
    allowed = [made({"egress_allowed_by": [{"name": "web", "namespace": "production"}]})]
    assert FORMS["columns"](Style())(allowed).endswith("  ALLOWED\n")
    told = FORMS["columns"](Style(policies=True))(allowed)
    assert told.endswith("  ALLOWED by policy production/web\n")


PREFIX = "production/web-app-123:40000 (ID:40001) -> production/database-456:5432 (ID:40002)"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, f"{PREFIX} from-endpoint FORWARDED (TCP Flags: SYN)"),
        (DENIED, f"{PREFIX} Policy denied DROPPED (TCP Flags: SYN; by CiliumNetworkPolicy "
                 "production/default-deny-all)"),
        (DENIED | {"ingress_denied_by": [], "Summary": "no room"},
         f"{PREFIX} Policy denied DROPPED (TCP Flags: SYN; no room)"),
        ({"event_type": {"type": 5}, "policy_match_type": 2},
         f"{PREFIX} policy-verdict:L3-L4 EGRESS ALLOWED (TCP Flags: SYN)"),
        ({"event_type": {"type": 7}, "sock_xlate_point": 2, "verdict": "TRANSLATED"},
         f"{PREFIX} post-xlate-fwd TRANSLATED (TCP Flags: SYN)"),
        (REQUEST, f"{PREFIX} http-request FORWARDED (HTTP/1.1 GET http://db/x)"),
        (REQUEST | {"l7": {"type": "RESPONSE", "latency_ns": "1500000", "http": {
            "code": 200, "method": "GET", "url": "http://db/x", "protocol": "HTTP/1.1"}}},
         f"{PREFIX} http-response FORWARDED (HTTP/1.1 200 1.5ms (GET http://db/x))"),
        (REQUEST | {"l7": {"type": "REQUEST", "dns": {"query": "a.b.", "qtypes": ["A"]}}},
         f"{PREFIX} dns-request FORWARDED (DNS Query a.b. A)"),
        (REQUEST | {"l7": {"type": "RESPONSE", "dns": {
            "query": "a.b.", "qtypes": ["A"], "ips": ["1.2.3.4", "1.2.3.5"], "ttl": 30,
            "cnames": ["c.d."], "observation_source": "proxy"}}},
         f'{PREFIX} dns-response FORWARDED (DNS Answer "1.2.3.4,1.2.3.5" CNAMEs: c.d. TTL: 30 '
         "(proxy a.b. A))"),
        (REQUEST | {"l7": {"type": "RESPONSE", "dns": {"query": "a.b.", "rcode": 3}}},
         f"{PREFIX} dns-response FORWARDED (DNS Answer NXDomain (a.b.))"),
    ],
)  # fmt: skip
def test_compact(fields: dict[str, Any], line: str) -> None:
    style = Style(time=FORMATS["RFC3339Milli"])
    assert FORMS["compact"](style)([made(fields)]) == f"2024-01-15T10:30:15.000Z: {line}\n"


def test_compact_turns_answers_round_and_tells_what_is_not_known() -> None:
    answer, unknown = made({"is_reply": True}), made({})
    unknown.flow.ClearField("is_reply")
    show = FORMS["compact"](Style(node=True, names=False, time=FORMATS["RFC3339"]))
    first, second = show([answer, unknown]).splitlines()
    ends = "10.42.2.7:5432 (ID:40002) <- 10.42.1.5:40000 (ID:40001)"
    assert (
        first == f"2024-01-15T10:30:15Z [node-1]: {ends} from-endpoint FORWARDED (TCP Flags: SYN)"
    )
    assert " <> " in second


def test_icmp_and_addresses_of_six() -> None:
    fields = {"l4": {"ICMPv6": {"type": 128}}, "IP": {"source": "fd00::1", "ipVersion": "IPv6"}}
    text = FORMS["compact"](Style(names=False, time=FORMATS["RFC3339"]))([made(fields)])
    assert "fd00::1 (ID:40001) -> 10.42.2.7" in text
    assert "(ICMPv6 EchoRequest)" in text
    both = FORMS["columns"](Style(names=False))([made({"IP": {"source": "fd00::1"}})])
    assert "  [fd00::1]:40000  " in both


def test_table_and_dict() -> None:
    style = Style(time=FORMATS["RFC3339"])
    table = FORMS["table"](style)([made({})]).splitlines()
    assert table[0].split()[-1] == "SUMMARY"
    assert table[1].split() == [
        "2024-01-15T10:30:15Z", "production/web-app-123:40000", "production/database-456:5432",
        "from-endpoint", "FORWARDED", "TCP", "Flags:", "SYN"]  # fmt: skip
    one = (
        "  TIMESTAMP: 2024-01-15T10:30:15Z\n"
        "     SOURCE: production/web-app-123:40000\n"
        "DESTINATION: production/database-456:5432\n"
        "       TYPE: from-endpoint\n"
        "    VERDICT: FORWARDED\n"
        "    SUMMARY: TCP Flags: SYN\n"
    )
    assert FORMS["dict"](style)([made({}), made({})]) == one + "-" * 12 + "\n" + one


def test_verdicts_have_colours() -> None:
    text = FORMS["columns"](Style(paint=coloured))([made({}), made(DENIED)])
    assert "\x1b[32mALLOWED\x1b[0m\n" in text
    assert "\x1b[31mDENIED\x1b[0m by " in text


def test_times() -> None:
    stamp = message("google.protobuf.Timestamp")()
    stamp.FromNanoseconds(START_NS + 1_234_567)
    assert FORMATS["RFC3339Nano"](stamp) == "2024-01-15T10:30:15.001234567Z"
    assert FORMATS["RFC3339Micro"](stamp) == "2024-01-15T10:30:15.001234Z"
    assert FORMATS["StampMilli"](stamp).endswith(":15.001")
    assert FORMATS["RFC1123Z"](stamp).split()[3] == "2024"


def test_json_is_that_of_protobuf() -> None:
    rows = [*DOCUMENT, made(DENIED), made({"l7": {"dns": {"rcode": 3}}, "interface": {"index": 1}})]
    lost = response(node_name="n")
    lost.lost_events.num_events_lost, lost.lost_events.cpu.value = 1 << 63, 0
    lost.lost_events.first.FromNanoseconds(START_NS + 120_000)
    status = message("observer.ServerStatusResponse")(flows_rate=2.5, num_flows=3)
    status.num_connected_nodes.value = 2
    strange = made({})
    strange.flow.verdict = 99
    for one in (*rows, lost, status, strange):
        expected = json_format.MessageToDict(one, preserving_proto_field_name=True)
        assert to_dict(one) == expected
        assert json_format.Parse(to_line(one), type(one)()) == one
    assert json.loads(FORMS["json"](Style())(rows[:1]))["flow"]["IP"]["source"] == "10.42.1.5"


def test_notices() -> None:
    lost = response(node_name="node-3")
    lost.lost_events.source, lost.lost_events.num_events_lost = 1, 12
    lost.lost_events.cpu.value = 3
    assert notice(lost) == "EVENTS LOST: PERF_EVENT_RING_BUFFER CPU(3) 12 on node-3"
    nodes = response()
    nodes.node_status.state_change = 1
    nodes.node_status.node_names.extend(["node-3"])
    assert notice(nodes) == ""
    nodes.node_status.state_change, nodes.node_status.message = 2, "node-3: connection refused"
    assert notice(nodes) == "node-3 is unavailable: connection refused"
    nodes.node_status.node_names.append("node-4")
    nodes.node_status.state_change, nodes.node_status.message = 3, ""
    assert notice(nodes) == "node-3, node-4 are gone"
    assert notice(DOCUMENT[0]) == ""
