"""Answers questions about the history over gRPC.

Question  ->  History.ask  ->  replies
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec

from cairn.relay.history.jobs import Failed, write_reply
from cairn.relay.history.keeper import History
from cairn.relay.history_wire import QUERY, SERVICE, STATUS, read_question, write_status


def history_handler(history: History | None) -> grpc.GenericRpcHandler:
    """Return what a server adds to serve the history, or to say that none is kept."""

    async def query(request: bytes, context: Any) -> AsyncIterator[bytes]:
        if history is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NONE_KEPT)
            return
        try:
            question = read_question(request)
        except msgspec.DecodeError as error:
            yield write_reply(Failed(f"no question: {error}", wrong_question=True))
            return
        async with contextlib.aclosing(history.ask(question)) as replies:
            async for reply in replies:
                yield write_reply(reply)

    async def status(_request: bytes, context: Any) -> bytes:
        if history is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NONE_KEPT)
            raise AssertionError("abort raises")
        return write_status(history.status())

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            QUERY: grpc.unary_stream_rpc_method_handler(query),
            STATUS: grpc.unary_unary_rpc_method_handler(status),
        },
    )


NONE_KEPT = "the relay keeps no history: start it with --history DIR"
