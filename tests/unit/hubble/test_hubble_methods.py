"""Status, nodes, namespaces, agent events, peers, health and reflection, over a real channel."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from hubble_bed import NOW_NS, Seen, Serve, blank_flows

from cairn.flow.columns import Dictionaries, End
from cairn.flow.store import FlowStore
from cairn.hubble.agent_event import (
    AddressKnown,
    AgentEvents,
    EndpointChanged,
    PolicyChanged,
    Regenerated,
    Started,
)
from cairn.hubble.observed import NodeView, PeerView

SECOND_NS = 10**9


def play(serve: Serve, seen: Seen, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with serve(seen) as channel, asyncio.timeout(20):
            return await scenario(channel)

    return asyncio.run(run())


def test_a_node_tells_how_it_stands(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(100))
    seen.put(blank_flows(150))

    async def scenario(channel: Any) -> Any:
        return await api.Observer(channel).ServerStatus(api.observer.ServerStatusRequest())

    status = play(serve, seen, scenario)
    assert (status.num_flows, status.max_flows, status.seen_flows) == (100, 100, 150)
    assert status.uptime_ns == seen.uptime_ns
    assert status.version.startswith("cairn v")
    # A full ring tells of the time since its oldest flow, here just under a second.
    assert 100 <= status.flows_rate < 101
    assert not status.HasField("num_connected_nodes")


def test_a_relay_tells_which_nodes_it_does_not_hear(api: SimpleNamespace, serve: Serve) -> None:
    views = [
        NodeView("node-1", "10.0.0.1:4244", connected=True, seen=7),
        NodeView("node-2", "10.0.0.2:4244", connected=False, error="refused"),
    ]
    seen = Seen(FlowStore(100), is_relay=True, views=views)

    async def scenario(channel: Any) -> Any:
        stub = api.Observer(channel)
        status = await stub.ServerStatus(api.observer.ServerStatusRequest())
        return status, await stub.GetNodes(api.observer.GetNodesRequest())

    status, nodes = play(serve, seen, scenario)
    assert (status.num_connected_nodes.value, status.num_unavailable_nodes.value) == (1, 1)
    assert status.unavailable_nodes == ["node-2"]
    assert [(node.name, node.state, node.seen_flows) for node in nodes.nodes] == [
        ("node-1", 1, 7),
        ("node-2", 2, 0),
    ]


def test_namespaces_of_the_last_hour(api: SimpleNamespace, serve: Serve) -> None:
    flows = blank_flows(4, source_end=[1, 2, 0, 3], destination_end=[0, 3, 9, 0])
    flows["time_ns"][3] -= 3600 * SECOND_NS
    flows["time_ns"][0] -= 3599 * SECOND_NS - SECOND_NS
    ends = {1: End("old"), 2: End("shop"), 3: End("bank"), 9: End(labels=("reserved:world",))}
    seen = Seen(FlowStore(100))
    seen.put(flows[3:], Dictionaries(ends={**ends, 3: End("gone")}))
    seen.put(flows[:3], Dictionaries(ends=ends))

    async def scenario(channel: Any) -> Any:
        return await api.Observer(channel).GetNamespaces(api.observer.GetNamespacesRequest())

    found = play(serve, seen, scenario)
    assert [(one.cluster, one.namespace) for one in found.namespaces] == [
        ("default", "bank"),
        ("default", "old"),
        ("default", "shop"),
    ]


EVENTS = (
    (Started(), "AGENT_STARTED", {"agent_start": {"time": "2027-01-15T08:00:00Z"}}),
    (
        PolicyChanged(("k8s:a=b",), 3, 2),
        "POLICY_UPDATED",
        {"policy_update": {"labels": ["k8s:a=b"], "revision": "3", "rule_count": "2"}},
    ),
    (
        PolicyChanged(("k8s:a=b",), 4, 2, deleted=True),
        "POLICY_DELETED",
        {"policy_update": {"labels": ["k8s:a=b"], "revision": "4", "rule_count": "2"}},
    ),
    (
        EndpointChanged(7, "shop", "web", ("k8s:app=web",)),
        "ENDPOINT_CREATED",
        {
            "endpoint_update": {
                **{"id": "7", "namespace": "shop", "pod_name": "web"},
                "labels": ["k8s:app=web"],
            }
        },
    ),
    (
        EndpointChanged(7, "shop", "web", deleted=True),
        "ENDPOINT_DELETED",
        {"endpoint_update": {"id": "7", "namespace": "shop", "pod_name": "web"}},
    ),
    (
        Regenerated(7, ("k8s:app=web",)),
        "ENDPOINT_REGENERATE_SUCCESS",
        {"endpoint_regenerate": {"id": "7", "labels": ["k8s:app=web"]}},
    ),
    (
        Regenerated(7, (), "full"),
        "ENDPOINT_REGENERATE_FAILURE",
        {"endpoint_regenerate": {"id": "7", "error": "full"}},
    ),
    (
        AddressKnown("10.0.0.1/32", 9, "shop", "web"),
        "IPCACHE_UPSERTED",
        {
            "ipcache_update": {
                **{"cidr": "10.0.0.1/32", "identity": 9},
                **{"namespace": "shop", "pod_name": "web"},
            }
        },
    ),
    (
        AddressKnown("10.0.0.1/32", 0),
        "IPCACHE_DELETED",
        {"ipcache_update": {"cidr": "10.0.0.1/32"}},
    ),
)


def happened(capacity: int = 100) -> AgentEvents:
    """Return events that happened a second after another."""
    times = iter(range(NOW_NS, NOW_NS + 10**12, SECOND_NS))
    return AgentEvents(lambda: next(times), capacity)


def test_what_an_agent_did_is_told_as_it_was(api: SimpleNamespace, serve: Serve) -> None:
    events = happened()
    for event, _, _ in EVENTS:
        events.put(event)
    seen = Seen(FlowStore(10), events=events)

    async def scenario(channel: Any) -> Any:
        request = api.observer.GetAgentEventsRequest()
        return [one async for one in api.Observer(channel).GetAgentEvents(request)]

    found = play(serve, seen, scenario)
    told = [
        json_format.MessageToDict(one.agent_event, preserving_proto_field_name=True)
        for one in found
    ]
    assert told == [{"type": kind, **notification} for _, kind, notification in EVENTS]
    assert found[2].time.ToNanoseconds() == NOW_NS + 2 * SECOND_NS
    assert found[0].node_name == "node-1"


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"number": 2}, [8, 9]),
        ({"number": 2, "first": True}, [5, 6]),
        ({"since": "2027-01-15T08:00:07Z", "until": "2027-01-15T08:00:08Z"}, [7, 8]),
        ({"number": 1, "follow": True, "until": "2027-01-15T08:00:10Z"}, [9, 10]),
    ],
)
def test_which_events_of_those_that_are_kept(
    api: SimpleNamespace, serve: Serve, request_: dict[str, Any], wanted: list[int]
) -> None:
    events = happened(5)
    for number in range(10):
        events.put(Regenerated(number, ()))
    seen = Seen(FlowStore(10), events=events)

    async def scenario(channel: Any) -> list[int]:
        asked = json_format.ParseDict(request_, api.observer.GetAgentEventsRequest())
        call = api.Observer(channel).GetAgentEvents(asked)
        found = []
        while (one := await call.read()) is not grpc.aio.EOF:
            found.append(one.agent_event.endpoint_regenerate.id)
            if found == [9] and asked.follow:
                events.put(Regenerated(10, ()))
                events.put(Regenerated(11, ()))
        return found

    assert play(serve, seen, scenario) == wanted


@pytest.mark.parametrize(
    ("method", "word"), [("GetAgentEvents", "node"), ("GetDebugEvents", "cairn trace")]
)
def test_what_there_is_none_of_is_said(
    api: SimpleNamespace, serve: Serve, method: str, word: str
) -> None:
    async def scenario(channel: Any) -> None:
        request = getattr(api.observer, f"{method}Request")()
        call = getattr(api.Observer(channel), method)(request)
        with pytest.raises(grpc.aio.AioRpcError, match=word) as found:
            await call.read()
        assert found.value.code() == grpc.StatusCode.UNIMPLEMENTED

    play(serve, Seen(FlowStore(10), is_relay=True), scenario)


def test_peers_and_what_changes(api: SimpleNamespace, serve: Serve) -> None:
    seen = Seen(FlowStore(10))
    seen.others = [PeerView("a", "10.0.0.1:4244"), PeerView("b", "10.0.0.2:4244", "nodes")]

    async def scenario(channel: Any) -> list[Any]:
        call = api.Peer(channel).Notify(api.peer.NotifyRequest())
        found = [await call.read() for _ in range(2)]
        seen.others = [PeerView("b", "10.0.0.9:4244", "nodes"), PeerView("c", "10.0.0.3:4244")]
        found += [await call.read() for _ in range(3)]
        call.cancel()
        return found

    told = [
        (one.type, one.name, one.address, one.tls.server_name)
        for one in play(serve, seen, scenario)
    ]
    assert told == [
        (1, "a", "10.0.0.1:4244", ""),
        (1, "b", "10.0.0.2:4244", "nodes"),
        (2, "a", "10.0.0.1:4244", ""),
        (3, "b", "10.0.0.9:4244", "nodes"),
        (1, "c", "10.0.0.3:4244", ""),
    ]


def test_health_follows_whether_flows_come(serve: Serve) -> None:
    seen = Seen(FlowStore(10), ready=False)

    async def scenario(channel: Any) -> list[int]:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="observer.Observer"))
        found = [(await watch.read()).status]
        seen.ready = True
        found.append((await watch.read()).status)
        found.append((await stub.Check(health_pb2.HealthCheckRequest())).status)
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="x.Y"))
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        return found

    assert play(serve, seen, scenario) == [2, 1, 1]


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_reflection_describes_all_that_is_served(serve: Serve, version: str) -> None:
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    request = reflection_pb2.ServerReflectionRequest

    async def scenario(channel: Any) -> list[Any]:
        call = channel.stream_stream(
            method,
            request_serializer=request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        found = []
        await call.write(request(list_services=""))
        found.append(await call.read())
        names = [one.name for one in found[0].list_services_response.service]
        for name in (*names, "flow.FlowFilter", "no.Such"):
            await call.write(request(file_containing_symbol=name))
            found.append(await call.read())
        await call.done_writing()
        return found

    listed, *described = play(serve, Seen(FlowStore(10)), scenario)
    assert {one.name for one in listed.list_services_response.service} == {
        "observer.Observer",
        "peer.Peer",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.reflection.v1.ServerReflection",
    }
    *served, unknown = described
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    for one, answer in zip(listed.list_services_response.service, served, strict=False):
        octets = answer.file_descriptor_response.file_descriptor_proto[0]
        file = descriptor_pb2.FileDescriptorProto.FromString(octets)
        assert one.name in [f"{file.package}.{service.name}" for service in file.service]
