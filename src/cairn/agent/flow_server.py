"""Serves the node's flows: Hubble's API to clients, columns to the relay.

    ObservedNode  ->  gRPC at a port and at a unix socket

Invariants  A port that is taken costs a line in the log, never the agent; it is tried again. The
            socket is served meanwhile.
Cost        the library of gRPC is loaded by this module alone
"""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import grpc

from cairn.agent.observed_node import PORT, ObservedNode
from cairn.hubble.agent_event import Started
from cairn.hubble.columns_service import columns_handler
from cairn.hubble.server import hubble_handlers

RETRY_S = 30.0
SOCKET = "hubble.sock"

log = logging.getLogger("flows")


async def serve_flows(node: ObservedNode, socket: Path, port: int = PORT) -> None:
    """Serve until cancelled."""
    # A restarted agent counts its flows anew, so its store has another name.
    node.events.put(Started())
    handlers = (columns_handler(node.feed, uuid.uuid4().hex), *hubble_handlers(node))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_serve(handlers, f"unix:{socket}"))
        tasks.create_task(_serve(handlers, f"[::]:{port}"))


async def _serve(handlers: Sequence[grpc.GenericRpcHandler], address: str) -> None:
    while True:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers(handlers)
        if _bind(server, address):
            await server.start()
            try:
                await server.wait_for_termination()
            finally:
                await server.stop(0)
        log.error("%s is taken: nobody gets flows of this node there; trying again", address)
        await asyncio.sleep(RETRY_S)


def _bind(server: grpc.aio.Server, address: str) -> int:
    """Return the port that the server listens at, 1 for a socket, 0 if it is taken."""
    if address.startswith("unix:"):
        # One that a killed agent left behind; only this agent serves in its directory.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.removeprefix("unix:"))
    with contextlib.suppress(RuntimeError):
        return int(server.add_insecure_port(address))
    return 0
