"""Methods of a gRPC server: octets in, octets out, and what is wrong in one line.

    what answers a request  ->  handler of a method

Invariants  A request that is not understood gets INVALID_ARGUMENT and one line, one for what there
            is none of UNIMPLEMENTED and why.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from cairn.hubble.bad_request import BadRequest, NoSuchThing
from cairn.hubble.proto import message


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
        except NoSuchThing as error:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))

    return grpc.unary_stream_rpc_method_handler(handle)


def _read(name: str, octets: bytes) -> Any:
    try:
        return message(name).FromString(octets)
    except DecodeError:
        raise BadRequest(f"the request is no {name}") from None
