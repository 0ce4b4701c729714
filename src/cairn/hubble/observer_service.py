"""Serves observer.Observer.

    Observed  ->  what a gRPC server adds

Invariants  A request that is not understood gets INVALID_ARGUMENT and one line; what there is none
            of, UNIMPLEMENTED and why.
Standards   Cilium api/v1/observer/observer.proto
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from cairn.hubble.bad_request import NoSuchThing
from cairn.hubble.flow_request import read_request, read_span
from cairn.hubble.get_agent_events import get_agent_events
from cairn.hubble.get_flows import get_flows
from cairn.hubble.namespaces import namespaces
from cairn.hubble.observed import Observed
from cairn.hubble.rpc import stream, unary
from cairn.hubble.server_status import node_list, server_status

SERVICE = "observer.Observer"
NO_DEBUG_EVENTS = "Cairn has no debug events; `cairn trace` follows packets"
NO_AGENT_EVENTS = "a relay has no agent events: ask a node's own API"


def observer_handler(observed: Observed) -> grpc.GenericRpcHandler:
    """Return what a server adds."""

    async def flows(request: Any) -> AsyncIterator[bytes]:
        async for response in get_flows(read_request(request), observed):
            yield response

    async def status(_request: Any) -> bytes:
        return server_status(observed)

    async def nodes(_request: Any) -> bytes:
        return node_list(observed)

    async def spaces(_request: Any) -> bytes:
        return namespaces(observed.store, observed.now_ns())

    async def happened(request: Any) -> AsyncIterator[bytes]:
        span = read_span(request)
        if observed.events is None:
            raise NoSuchThing(NO_AGENT_EVENTS)
        async for response in get_agent_events(
            span, observed.events, observed.name, observed.now_ns
        ):
            yield response

    async def debug(_request: Any) -> AsyncIterator[bytes]:
        raise NoSuchThing(NO_DEBUG_EVENTS)
        yield b""

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "GetFlows": stream("observer.GetFlowsRequest", flows),
            "ServerStatus": unary("observer.ServerStatusRequest", status),
            "GetNodes": unary("observer.GetNodesRequest", nodes),
            "GetNamespaces": unary("observer.GetNamespacesRequest", spaces),
            "GetAgentEvents": stream("observer.GetAgentEventsRequest", happened),
            "GetDebugEvents": stream("observer.GetDebugEventsRequest", debug),
        },
    )
