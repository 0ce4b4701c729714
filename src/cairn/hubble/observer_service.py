"""Serves observer.Observer.

    Observed  ->  what a gRPC server adds

Invariants  A request that is not understood gets INVALID_ARGUMENT and one line; what there is none
            of, UNIMPLEMENTED and why.
Standards   Cilium api/v1/observer/observer.proto
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from cairn.hubble.bad_request import BadRequest
from cairn.hubble.flow_request import read_request
from cairn.hubble.get_flows import get_flows
from cairn.hubble.namespaces import namespaces
from cairn.hubble.observed import Observed
from cairn.hubble.proto import message
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

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "GetFlows": stream("observer.GetFlowsRequest", flows),
            "ServerStatus": unary("observer.ServerStatusRequest", status),
            "GetNodes": unary("observer.GetNodesRequest", nodes),
            "GetNamespaces": unary("observer.GetNamespacesRequest", spaces),
            "GetAgentEvents": grpc.unary_stream_rpc_method_handler(refuse(NO_AGENT_EVENTS)),
            "GetDebugEvents": grpc.unary_stream_rpc_method_handler(refuse(NO_DEBUG_EVENTS)),
        },
    )


def unary(name: str, answer: Callable[[Any], Awaitable[bytes]]) -> grpc.RpcMethodHandler:
    """Return the handler of a method with one response; `name` is the request's."""

    async def handle(octets: bytes, context: Any) -> bytes:
        try:
            return await answer(_read(name, octets))
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise AssertionError("abort raises") from error

    return grpc.unary_unary_rpc_method_handler(handle)


def stream(name: str, answer: Callable[[Any], AsyncIterator[bytes]]) -> grpc.RpcMethodHandler:
    """Return the handler of a method with many responses; `name` is the request's."""

    async def handle(octets: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            async for response in answer(_read(name, octets)):
                yield response
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    return grpc.unary_stream_rpc_method_handler(handle)


def refuse(why: str) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
    """Return the behaviour of a method that there is nothing behind."""

    async def handle(_octets: bytes, context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, why)
        yield b""

    return handle


def _read(name: str, octets: bytes) -> Any:
    try:
        return message(name).FromString(octets)
    except DecodeError:
        raise BadRequest(f"the request is no {name}") from None
