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
from dataclasses import replace
from pathlib import Path

import grpc

from cairn.agent.observed_node import PORT, ObservedNode
from cairn.hubble.agent_event import Started
from cairn.hubble.columns_service import columns_handler
from cairn.hubble.server import OPTIONS, hubble_handlers
from cairn.hubble.tls import SERVER_NAME, ServerFiles, server_credentials

RETRY_S = 30.0
SOCKET = "hubble.sock"

log = logging.getLogger("flows")


async def serve_flows(
    node: ObservedNode, folder: Path, tls: ServerFiles | None = None, port: int = PORT
) -> None:
    """Serve until cancelled: at a socket in the folder, and at a port, there with `tls`."""
    node = replace(node, server_name=SERVER_NAME if tls else "")
    # A restarted agent counts its flows anew, so its store has another name.
    node.events.put(Started())
    handlers = (columns_handler(node.feed, uuid.uuid4().hex), *hubble_handlers(node))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_serve(handlers, f"unix:{folder / SOCKET}", None))
        tasks.create_task(_serve(handlers, f"[::]:{port}", tls))


async def _serve(
    handlers: Sequence[grpc.GenericRpcHandler], address: str, tls: ServerFiles | None
) -> None:
    while True:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers(handlers)
        try:
            _bind(server, address, tls)
        except OSError as error:
            log.error("nobody gets flows of this node at %s: %s; trying again", address, error)
            await asyncio.sleep(RETRY_S)
            continue
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(0)


def _bind(server: grpc.aio.Server, address: str, tls: ServerFiles | None) -> None:
    """Have the server listen; raises OSError."""
    if address.startswith("unix:"):
        # One that a killed agent left behind; only this agent serves in its directory.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.removeprefix("unix:"))
    credentials = server_credentials(tls) if tls else None
    try:
        if credentials is not None:
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError:
        raise OSError("it is taken") from None
