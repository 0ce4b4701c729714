"""GetFlows over a real channel: which flows, in which order, what is told of those gone."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from hubble_bed import NOW_NS, Seen, Serve, blank_flows
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_flows import DICTIONARIES, random_flows

from cairn.flow.columns import Dictionaries, FlowKind
from cairn.flow.store import FlowStore
from cairn.hubble.observed import NodeView

Scenario = Callable[[Any], Awaitable[Any]]
BEGAN_NS = NOW_NS - 10**9
"""Of blank_flows' first."""


def play(api: SimpleNamespace, serve: Serve, seen: Seen, scenario: Scenario) -> Any:
    """Run a scenario with a stub."""

    async def run() -> Any:
        async with serve(seen) as channel, asyncio.timeout(20):
            return await scenario(api.Observer(channel))

    return asyncio.run(run())


def ask(api: SimpleNamespace, serve: Serve, seen: Seen, **request: Any) -> list[Any]:
    """Return every response to a request."""

    async def scenario(stub: Any) -> list[Any]:
        asked = json_format.ParseDict(request, api.observer.GetFlowsRequest())
        return [one async for one in stub.GetFlows(asked)]

    found: list[Any] = play(api, serve, seen, scenario)
    return found


def ports(responses: list[Any]) -> list[int]:
    return [one.flow.l4.TCP.source_port for one in responses if one.HasField("flow")]


def moment(flow: int) -> str:
    """Return when a flow of blank_flows was."""
    seconds, nanos = divmod(BEGAN_NS + flow * 1000, 10**9)
    assert seconds == 1_799_999_999
    return f"2027-01-15T07:59:59.{nanos:09}Z"


SPANS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, list(range(50))),
    ({"number": 3}, [47, 48, 49]),
    ({"number": 3, "first": True}, [0, 1, 2]),
    ({"first": True}, list(range(50))),
    ({"number": 2**64 - 1}, list(range(50))),
    ({"since": moment(45)}, [45, 46, 47, 48, 49]),
    ({"until": moment(2)}, [0, 1, 2]),
    ({"since": moment(10), "until": moment(10)}, [10]),
    ({"since": moment(10), "until": moment(20), "number": 2}, [19, 20]),
    ({"since": moment(10), "until": moment(20), "number": 2, "first": True}, [10, 11]),
    ({"since": "2050-01-01T00:00:00Z"}, []),
    ({"until": "1960-01-01T00:00:00Z"}, []),
    ({"until": moment(5), "follow": True, "since": moment(3)}, [3, 4, 5]),
]


@pytest.mark.parametrize(("request_", "wanted"), SPANS)
def test_which_flows_of_those_that_are_stored(
    api: SimpleNamespace, serve: Serve, request_: dict[str, Any], wanted: list[int]
) -> None:
    seen = Seen(FlowStore(1000))
    seen.put(blank_flows(50, source_port=range(50)))
    assert ports(ask(api, serve, seen, **request_)) == wanted


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        ({"first": True, "follow": True}, "first"),
        ({"since": moment(5), "until": moment(4)}, "until"),
        ({"field_mask": "verdict,flows"}, "flows"),
        ({"field_mask": "source.nothing"}, "source.nothing"),
        ({"whitelist": [{"source_ip": ["10.0"]}]}, "10.0"),
        ({"blacklist": [{"http_url": ["("]}]}, "("),
        ({"whitelist": [{"experimental": {"cel_expression": ["true"]}}]}, "cel_expression"),
        ({"whitelist": [{"http_method": ["GET"], "event_type": [{"type": 1}]}]}, "event_type"),
        ({"whitelist": [{}] * 300}, "256"),
        ({"blacklist": [{"source_port": ["1"] * 3000}, {"uuid": ["x"] * 2000}]}, "4096"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    api: SimpleNamespace, serve: Serve, request_: dict[str, Any], word: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as found:
        ask(api, serve, Seen(FlowStore(10)), **request_)
    assert found.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = found.value.details() or ""
    assert word in details
    assert "\n" not in details


@given(st.binary(max_size=40))
@settings(max_examples=20, deadline=None)
def test_octets_that_are_no_request(serve: Serve, octets: bytes) -> None:
    async def run() -> grpc.StatusCode:
        async with serve(Seen(FlowStore(10))) as channel:
            call = channel.unary_stream("/observer.Observer/GetFlows")(b"\x0a\x05" + octets)
            code: grpc.StatusCode = await call.code()
            return code

    refused = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK}
    assert asyncio.run(run()) in refused


def test_a_filter_of_a_later_version_is_refused(api: SimpleNamespace, serve: Serve) -> None:
    async def scenario(stub: Any) -> None:
        later = api.flow.FlowFilter.FromString(bytes.fromhex("aa06017a"))
        asked = api.observer.GetFlowsRequest(whitelist=[later])
        with pytest.raises(grpc.aio.AioRpcError, match="field 101"):
            [one async for one in stub.GetFlows(asked)]

    play(api, serve, Seen(FlowStore(10)), scenario)


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({}, [50, 51, 52]),
        ({"number": 2}, [48, 49, 50, 51, 52]),
        ({"since": moment(49)}, [49, 50, 51, 52]),
    ],
)
def test_followers_get_what_comes(
    api: SimpleNamespace, serve: Serve, request_: dict[str, Any], wanted: list[int]
) -> None:
    seen = Seen(FlowStore(1000))
    seen.put(blank_flows(50, source_port=range(50)))
    more = blank_flows(60, source_port=range(60))

    async def scenario(stub: Any) -> list[int]:
        asked = json_format.ParseDict(request_, api.observer.GetFlowsRequest(follow=True))
        call = stub.GetFlows(asked)
        found: list[int] = []
        for at in (50, 51, 52):
            while len(found) < len(wanted) - (52 - at) - 1:
                found += ports([await call.read()])
            await call_is_waiting()
            seen.put(more[at : at + 1])
        found += ports([await call.read()])
        call.cancel()
        return found

    assert play(api, serve, seen, scenario) == wanted


async def call_is_waiting() -> None:
    """Let what was sent be taken up: both ends live in this loop."""
    for _ in range(30):
        await asyncio.sleep(0.002)


def test_a_follower_is_done_when_later_flows_come(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(1000), time_ns=BEGAN_NS)
    flows = blank_flows(50, source_port=range(50))
    seen.put(flows[:3])

    async def scenario(stub: Any) -> list[Any]:
        request = {"follow": True, "number": 1, "until": moment(4)}
        asked = json_format.ParseDict(request, api.observer.GetFlowsRequest())
        call = stub.GetFlows(asked)
        first = await call.read()
        seen.put(flows[3:])
        found = [first]
        while (one := await call.read()) is not grpc.aio.EOF:
            found.append(one)
        return found

    assert ports(play(api, serve, seen, scenario)) == [2, 3, 4]


def test_what_was_lost_is_told_and_does_not_count(api: SimpleNamespace, serve: Serve) -> None:
    flows = blank_flows(10, source_port=range(10), node=1)
    flows["kind"][[2, 8]] = FlowKind.LOST
    flows["packets"][[2, 8]] = 70, 5
    flows["point"][8] = 255
    seen = Seen(FlowStore(100))
    seen.put(flows, Dictionaries(nodes={1: "node-7"}))
    found = ask(api, serve, seen, number=3, whitelist=[{"protocol": ["tcp"]}])
    assert ports(found) == [6, 7, 9]
    (lost,) = [one for one in found if one.HasField("lost_events")]
    assert (lost.lost_events.source, lost.lost_events.num_events_lost) == (2, 5)
    assert lost.node_name == "node-7"
    assert lost.time.ToNanoseconds() == BEGAN_NS + 8000
    early = ask(api, serve, seen, number=3, first=True)
    assert [one.lost_events.num_events_lost for one in early] == [0, 0, 70, 0]


def test_one_who_reads_slowly_is_told_what_was_missed(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(1000))
    total = 30_000

    async def scenario(stub: Any) -> list[Any]:
        seen.put(blank_flows(1))
        call = stub.GetFlows(api.observer.GetFlowsRequest(follow=True, number=1))
        found = [await call.read()]
        for _ in range(total // 500):
            seen.put(blank_flows(500, source_port=7))
            await asyncio.sleep(0)
        seen.put(blank_flows(1, source_port=9))
        while found[-1].flow.l4.TCP.source_port != 9:
            found.append(await call.read())
        call.cancel()
        return found

    found = play(api, serve, seen, scenario)
    lost = [one for one in found if one.HasField("lost_events")]
    missed = sum(one.lost_events.num_events_lost for one in lost)
    assert {one.lost_events.source for one in lost} == {3}
    assert missed > total // 3
    assert {one.node_name for one in lost} == {"node-1"}
    told = len(found) - len(lost) + missed
    assert told == total + 2


def test_one_who_goes_leaves_nothing(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(1000))
    seen.put(blank_flows(10))

    async def scenario(stub: Any) -> None:
        def tasks() -> set[asyncio.Task[Any]]:
            return asyncio.all_tasks()

        before = len(tasks())
        calls = [
            stub.GetFlows(api.observer.GetFlowsRequest(follow=True, number=1)) for _ in range(5)
        ]
        for call in calls:
            await call.read()
        assert len(tasks()) >= before + 5
        for call in calls:
            call.cancel()
        while len(tasks()) > before:
            await asyncio.sleep(0.01)

    play(api, serve, seen, scenario)


def paths(descriptor: Any, front: str = "", depth: int = 3) -> list[str]:
    """Return paths of a message's fields, of what is in them too."""
    found = []
    for field in descriptor.fields:
        found.append(front + field.name)
        if field.message_type and not field.is_repeated and depth:
            found += paths(field.message_type, f"{front}{field.name}.", depth - 1)
    return found


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_mask_leaves_what_protobuf_says(
    api: SimpleNamespace, serve: Serve, data: st.DataObject
) -> None:
    known = paths(api.flow.Flow.DESCRIPTOR)
    asked = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=6))
    seen = Seen(FlowStore(100))
    seen.put(random_flows(60), DICTIONARIES)

    async def scenario(stub: Any) -> tuple[list[Any], list[Any]]:
        request = api.observer.GetFlowsRequest()
        whole = [one async for one in stub.GetFlows(request)]
        request.field_mask.paths.extend(asked)
        return whole, [one async for one in stub.GetFlows(request)]

    whole, masked = play(api, serve, seen, scenario)
    mask = api.observer.GetFlowsRequest().field_mask
    mask.paths.extend(asked)
    assert len(whole) == len(masked) == 60
    for full, part in zip(whole, masked, strict=True):
        wanted = api.flow.Flow()
        mask.MergeMessage(full.flow, wanted)
        assert part.flow == wanted
        assert (part.time, part.node_name) == (full.time, full.node_name)


def test_a_relay_says_which_nodes_it_hears(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(100), name="relay", is_relay=True)
    seen.views = [
        NodeView("node-1", "10.0.0.1:4244", connected=True),
        NodeView("node-2", "10.0.0.2:4244", connected=False, error="UNAVAILABLE: refused"),
    ]
    seen.put(blank_flows(3))

    async def scenario(stub: Any) -> list[Any]:
        call = stub.GetFlows(api.observer.GetFlowsRequest(follow=True, number=2))
        found = [await call.read() for _ in range(4)]
        seen.views = [NodeView("node-2", "10.0.0.2:4244", connected=True)]
        seen.changed.set()
        found += [await call.read() for _ in range(2)]
        call.cancel()
        return found

    found = play(api, serve, seen, scenario)
    told = [one.node_status for one in found if one.HasField("node_status")]
    assert [(one.state_change, list(one.node_names)) for one in told] == [
        (1, ["node-1"]),
        (2, ["node-2"]),
        (1, ["node-2"]),
        (3, ["node-1"]),
    ]
    assert "refused" in told[1].message
    assert {one.node_name for one in found if one.HasField("node_status")} == {"relay"}
    assert len(ports(found)) == 2
