"""Flows as JSON lines: what is written is read the same, and what is no flow is BadFlow."""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.flow.record import BadFlow, Flow, FlowEnd, read_flow, write_flow
from cairn.net import Address

HUBBLE = (
    '{"flow":{"time":"2026-03-01T10:20:30.123456789Z","uuid":"a","verdict":"FORWARDED",'
    '"ethernet":{"source":"a","destination":"b"},"IP":{"source":"10.244.1.2",'
    '"destination":"140.82.112.6","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":40000,'
    '"destination_port":443,"flags":{"SYN":true}}},"source":{"ID":12,"identity":7041,'
    '"cluster_name":"default","namespace":"production","labels":["k8s:app=web-app",'
    '"k8s:io.kubernetes.pod.namespace=production"],"pod_name":"web-app-5c9d8f7b6c-abcde",'
    '"workloads":[{"name":"web-app","kind":"Deployment"}]},"destination":{"identity":2,'
    '"labels":["reserved:world"]},"Type":"L3_L4","node_name":"node-1",'
    '"destination_names":["API.github.com."],"event_type":{"type":4},'
    '"traffic_direction":"EGRESS","is_reply":false,"Summary":"TCP Flags: SYN"},'
    '"node_name":"node-1","time":"2026-03-01T10:20:30.123456789Z"}'
)


def test_a_line_of_hubble() -> None:
    flow = read_flow(HUBBLE)
    assert flow.time == datetime(2026, 3, 1, 10, 20, 30, 123456, tzinfo=UTC)
    assert flow.source.workload == "Deployment/web-app"
    assert flow.source.labels["app"] == "web-app"
    assert flow.destination.labels == {"reserved:world": ""}
    assert (flow.protocol, flow.source_port, flow.port) == (6, 40000, 443)
    assert flow.names == ("api.github.com",)
    assert flow == read_flow(write_flow(flow))


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
ENDS = st.builds(
    FlowEnd,
    namespace=st.just("") | NAMES,
    pod=st.just("") | NAMES,
    labels=st.dictionaries(NAMES, NAMES, max_size=3),
    identity=st.integers(0, 1 << 24),
    workload=st.just("") | NAMES.map(lambda n: f"Deployment/{n}"),
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    protocol = draw(st.sampled_from([1, 6, 17, 58, 132]))
    four = st.integers(0, (1 << 32) - 1).map(IPv4Address)
    six = st.integers(0, (1 << 128) - 1).map(IPv6Address)
    address: st.SearchStrategy[Address] = draw(st.sampled_from([four, six]))
    seven = draw(st.sampled_from(["none", "http", "dns"]))
    return Flow(
        time=draw(st.datetimes(timezones=st.just(UTC))),
        verdict=draw(st.sampled_from(["FORWARDED", "DROPPED", "AUDIT"])),
        source=draw(ENDS),
        destination=draw(ENDS),
        source_address=draw(address),
        destination_address=draw(address),
        protocol=protocol,
        port=draw(st.integers(0, 65535)),
        source_port=0 if protocol in (1, 58) else draw(st.integers(0, 65535)),
        is_reply=draw(st.booleans()),
        names=tuple(draw(st.lists(NAMES, max_size=2))),
        http=("GET", "/a") if seven == "http" else None,
        dns_query="a.example" if seven == "dns" else "",
    )


@given(flows())
def test_written_flows_are_read_the_same(flow: Flow) -> None:
    assert read_flow(write_flow(flow)) == flow


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["flow", "time", "IP", "l4", "TCP", "source", "labels", "l7", "http"]),
            inner,
            max_size=5,
        )
    ),
)


@given(st.binary(max_size=60) | JSON.map(msgspec.json.encode))
def test_any_line_is_a_flow_or_bad(line: bytes) -> None:
    try:
        found = read_flow(line)
    except BadFlow:
        return
    assert read_flow(write_flow(found)) == found


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"flow":3}',
        HUBBLE.replace('"destination_port":443', '"destination_port":70000'),
        HUBBLE.replace('"TCP":', '"XYZ":'),
        HUBBLE.replace("10.244.1.2", "10.244.1"),
        HUBBLE.replace("2026-03", "2026-13"),
        HUBBLE.replace('"labels":[', '"labels":7,"x":['),
    ],
)
def test_what_is_no_flow(line: str) -> None:
    with pytest.raises(BadFlow):
        read_flow(line)
