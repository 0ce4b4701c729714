"""Every field of FlowFilter: asked over a channel, against a plain test of what the flows say."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from fnmatch import fnmatch
from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import json_format
from hubble_bed import NOW_NS, Seen, Serve
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_flows import DICTIONARIES, random_flows

from cairn.flow.store import FlowStore

Says = Callable[[Any], bool]
"""Whether a flow.Flow is one that is asked for."""
Filter = dict[str, Any]
COUNT = 400


def seen_flows() -> Seen:
    records = random_flows(COUNT)
    records["time_ns"] += NOW_NS
    seen = Seen(FlowStore(1000))
    seen.put(records, DICTIONARIES)
    return seen


def l4(flow: Any) -> Any:
    name = flow.l4.WhichOneof("protocol")
    return getattr(flow.l4, name) if name in ("TCP", "UDP", "SCTP") else None


def port(flow: Any, side: str) -> int:
    found = l4(flow)
    return int(getattr(found, f"{side}_port")) if found is not None else -1


def inside(text: str, network: str) -> bool:
    address, wanted = ip_address(text), ip_network(network)
    return address.version == wanted.version and address in wanted


def protocol(flow: Any) -> set[str]:
    found = {str(flow.l4.WhichOneof("protocol")).lower(), str(flow.l7.WhichOneof("record"))}
    if found & {"icmpv4", "icmpv6"}:
        found.add("icmp")
    return found


def http(flow: Any) -> Any:
    return flow.l7.http if flow.l7.HasField("http") else None


def flags(flow: Any, *names: str) -> bool:
    return flow.l4.HasField("TCP") and all(getattr(flow.l4.TCP.flags, name) for name in names)


def reply(flow: Any, wanted: bool) -> bool:
    if not flow.HasField("is_reply"):
        return not wanted and flow.verdict == 2
    return bool(flow.is_reply.value) is wanted


def has(end: Any, *labels: str) -> bool:
    return set(labels) <= set(end.labels)


def owner(end: Any) -> tuple[str, str]:
    return (end.workloads[0].name, end.workloads[0].kind) if end.workloads else ("", "")


TRACE_ID = "a" * 32
CASES: tuple[tuple[Filter, Says], ...] = (
    ({"source_ip": ["10.0.0.0/16"]}, lambda f: inside(f.IP.source, "10.0.0.0/16")),
    ({"source_ip": ["10.0.1.1", "::/0"]}, lambda f: ":" in f.IP.source or "0.1.1" in f.IP.source),
    ({"destination_ip": ["fd00::1"]}, lambda f: f.IP.destination == "fd00::1"),
    ({"source_ip_xlated": ["10.0.0.1"]}, lambda f: f.IP.source_xlated == "10.0.0.1"),
    ({"source_pod": ["shop/web"]}, lambda f: f.source.pod_name == "web-1"),
    ({"source_pod": ["web"]}, lambda f: f.source.pod_name == "web-9"),
    ({"destination_pod": ["/db", "/web"]}, lambda f: f.destination.pod_name[:2] in ("db", "we")),
    ({"destination_pod": ["shop/"]}, lambda f: f.destination.namespace == "shop"),
    ({"source_fqdn": ["*.example.org"]}, lambda f: bool(f.source_names)),
    ({"destination_fqdn": ["www.example.org"]}, lambda f: bool(f.destination_names)),
    (
        {"source_label": ["app=web,!tier"]},
        lambda f: has(f.source, "k8s:app=web") and not has(f.source, "k8s:tier=front"),
    ),
    (
        {"destination_label": ["reserved:world", "k8s:app in (db)"]},
        lambda f: has(f.destination, "reserved:world") or has(f.destination, "k8s:app=db"),
    ),
    ({"source_service": ["shop/web"]}, lambda f: f.source_service.name == "web"),
    ({"destination_service": ["/w"]}, lambda f: f.destination_service.name == "web"),
    ({"source_workload": [{"name": "web"}]}, lambda f: owner(f.source)[0] == "web"),
    (
        {"destination_workload": [{"name": "db", "kind": "StatefulSet"}]},
        lambda f: owner(f.destination) == ("db", "StatefulSet"),
    ),
    ({"source_cluster_name": ["default"]}, lambda f: f.source.cluster_name == "default"),
    ({"destination_cluster_name": ["x"]}, lambda f: f.destination.cluster_name == "x"),
    ({"source_identity": [1, 4]}, lambda f: f.source.identity in (1, 4)),
    ({"destination_identity": [2]}, lambda f: f.destination.identity == 2),
    ({"source_port": ["53", "80"]}, lambda f: port(f, "source") in (53, 80)),
    ({"destination_port": ["443"]}, lambda f: port(f, "destination") == 443),
    ({"traffic_direction": ["INGRESS"]}, lambda f: f.traffic_direction == 1),
    ({"verdict": ["DROPPED", "AUDIT"]}, lambda f: f.verdict in (2, 4)),
    ({"drop_reason_desc": ["POLICY_DENIED"]}, lambda f: f.drop_reason_desc == 133),
    ({"interface": [{"name": "eth0"}]}, lambda f: f.interface.name == "eth0"),
    ({"interface": [{"index": 4}]}, lambda f: f.interface.index == 4),
    ({"event_type": [{"type": 4}]}, lambda f: f.event_type.type == 4),
    (
        {"event_type": [{"type": 4, "match_sub_type": True, "sub_type": 1}]},
        lambda f: (f.event_type.type, f.event_type.sub_type) == (4, 1),
    ),
    ({"event_type": [{"type": 129}]}, lambda f: f.Type == 2),
    ({"reply": [True]}, lambda f: reply(f, True)),
    ({"reply": [False]}, lambda f: reply(f, False)),
    ({"protocol": ["tcp", "DNS"]}, lambda f: bool(protocol(f) & {"tcp", "dns"})),
    ({"protocol": ["icmp"]}, lambda f: "icmp" in protocol(f)),
    ({"protocol": ["http"]}, lambda f: "http" in protocol(f)),
    ({"ip_version": ["IPv6"]}, lambda f: f.IP.ipVersion == 2),
    ({"encrypted": [True]}, lambda f: bool(f.IP.encrypted)),
    (
        {"tcp_flags": [{"SYN": True, "ACK": True}, {"RST": True}]},
        lambda f: flags(f, "SYN", "ACK") or flags(f, "RST"),
    ),
    ({"dns_query": ["^www[.]"]}, lambda f: bool(re.search("^www[.]", f.l7.dns.query))),
    ({"http_status_code": ["5+"]}, lambda f: 500 <= f.l7.http.code < 600),
    ({"http_method": ["post"]}, lambda f: f.l7.http.method == "POST"),
    ({"http_path": ["^/login$"]}, lambda f: f.l7.http.url.endswith("/login")),
    ({"http_url": ["x=1"]}, lambda f: "x=1" in f.l7.http.url),
    (
        {"http_header": [{"key": "traceparent", "value": f"00-{TRACE_ID}-{'b' * 16}-01"}]},
        lambda f: any(header.key == "traceparent" for header in f.l7.http.headers),
    ),
    ({"trace_id": [TRACE_ID]}, lambda f: f.trace_context.parent.trace_id == TRACE_ID),
    ({"ip_trace_id": [7]}, lambda f: f.ip_trace_id.trace_id == 7),
    ({"node_name": ["node-1"]}, lambda f: f.node_name == "node-1"),
    ({"node_name": ["default/*-2"]}, lambda f: fnmatch(f.node_name, "*-2")),
    ({"node_labels": ["zone=a"]}, lambda f: "k8s:zone=a" in f.node_labels),
)


async def ask(
    api: SimpleNamespace, served: AbstractAsyncContextManager[Any], *requests: Filter
) -> list[list[Any]]:
    """Return the flows that each request gets."""
    found = []
    async with served as channel:
        for request in requests:
            asked = json_format.ParseDict(request, api.observer.GetFlowsRequest())
            answer = api.Observer(channel).GetFlows(asked)
            found.append([one.flow async for one in answer])
    return found


def ids(flows: Sequence[Any]) -> list[str]:
    return [flow.uuid for flow in flows]


@pytest.fixture(scope="module")
def answers(api: SimpleNamespace, serve: Serve) -> list[list[Any]]:
    """All flows; then what each case gets as whitelist, and as blacklist."""
    requests: list[Filter] = [{}]
    for asked, _ in CASES:
        requests += [{"whitelist": [asked]}, {"blacklist": [asked]}]
    return asyncio.run(ask(api, serve(seen_flows()), *requests))


@pytest.mark.parametrize("case", range(len(CASES)), ids=[str(case) for case, _ in CASES])
def test_a_field_selects_what_flows_say(answers: list[list[Any]], case: int) -> None:
    _, says = CASES[case]
    every, only, others = answers[0], answers[2 * case + 1], answers[2 * case + 2]
    assert len(every) == COUNT
    assert ids(only) == ids([flow for flow in every if says(flow)])
    assert ids(others) == ids([flow for flow in every if not says(flow)])


def test_a_flow_is_found_by_its_identifier(api: SimpleNamespace, serve: Serve) -> None:
    seen = seen_flows()
    (every,) = asyncio.run(ask(api, serve(seen), {}))
    wanted = [every[3].uuid, every[300].uuid]
    (found,) = asyncio.run(ask(api, serve(seen), {"whitelist": [{"uuid": wanted}]}))
    assert ids(found) == wanted


def test_every_field_has_a_case(api: SimpleNamespace) -> None:
    asked = {name for case, _ in CASES for name in case} | {"uuid", "experimental"}
    assert asked == {field.name for field in api.flow.FlowFilter.DESCRIPTOR.fields}


some_cases = st.lists(st.sampled_from(CASES), min_size=1, max_size=2, unique_by=lambda c: str(c[0]))


@settings(max_examples=20, deadline=None)
@given(st.lists(some_cases, max_size=3), st.lists(some_cases, max_size=2), st.integers(0, 40))
def test_filters_combine(
    api: SimpleNamespace,
    serve: Serve,
    answers: list[list[Any]],
    allow: list[list[tuple[Filter, Says]]],
    deny: list[list[tuple[Filter, Says]]],
    number: int,
) -> None:
    def joined(cases: list[tuple[Filter, Says]]) -> Filter:
        return {name: value for case, _ in cases for name, value in case.items()}

    def holds(flow: Any, cases: list[tuple[Filter, Says]]) -> bool:
        says = {name: says for case, says in cases for name in case}
        return all(test(flow) for test in says.values())

    if any("http" in str(one) and "event_type" in str(one) for one in map(joined, allow + deny)):
        return  # what contradicts is refused: test_requests.py
    whitelist, blacklist = [joined(one) for one in allow], [joined(one) for one in deny]
    request = {"number": number, "whitelist": whitelist, "blacklist": blacklist}
    every = answers[0]
    (found,) = asyncio.run(ask(api, serve(seen_flows()), request))
    wanted = [
        flow
        for flow in every
        if (not allow or any(holds(flow, one) for one in allow))
        and not any(holds(flow, one) for one in deny)
    ]
    assert ids(found) == ids(wanted[-number:] if number else wanted)
