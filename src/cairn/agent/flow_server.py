"""Serves the node's flows to the relay, on a port of its own.

FlowFeed  ->  gRPC: cairn.Columns/Follow

Invariants  A port that is taken costs a line in the log, never the agent; it is tried again.
Cost        the library of gRPC is loaded by this module alone
"""

import asyncio
import contextlib
import logging
import uuid

import grpc

from cairn.hubble.columns_service import Feed, columns_handler

PORT = 4244
RETRY_S = 30.0

log = logging.getLogger("flows")


async def serve_flows(feed: Feed, port: int = PORT) -> None:
    """Serve until cancelled."""
    # A restarted agent counts its flows anew, so its store has another name.
    handler = columns_handler(feed, uuid.uuid4().hex)
    while True:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((handler,))
        bound = 0
        with contextlib.suppress(RuntimeError):
            bound = server.add_insecure_port(f"[::]:{port}")
        if bound:
            await server.start()
            try:
                await server.wait_for_termination()
            finally:
                await server.stop(0)
        log.error("port %d is taken: the relay gets no flows of this node; trying again", port)
        await asyncio.sleep(RETRY_S)
