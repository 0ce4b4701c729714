"""Serves the node's flows: Hubble's API to clients, columns to the relay.

    FlowFeed  ->  gRPC at a port and at a unix socket

Invariants  A port that is taken costs a line in the log, never the agent; it is tried again. The
            socket is served meanwhile.
Cost        the library of gRPC is loaded by this module alone
"""

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import grpc

from cairn.agent.flow_feed import FlowFeed
from cairn.flow.store import FlowStore
from cairn.hubble.columns_service import columns_handler
from cairn.hubble.observed import NodeView
from cairn.hubble.server import hubble_handlers
from cairn.net import Address

PORT = 4244
RETRY_S = 30.0
SOCKET = "hubble.sock"

log = logging.getLogger("flows")


class ObservedNode:
    """This node's flows, as hubble.observed.Observed."""

    is_relay = False

    def __init__(self, name: str, address: Address, feed: FlowFeed) -> None:
        self.name = name
        self._address = f"[{address}]:{PORT}" if address.version == 6 else f"{address}:{PORT}"
        self._feed = feed
        self._began_ns = time.monotonic_ns()

    @property
    def store(self) -> FlowStore:
        """The last flows."""
        return self._feed.store

    @property
    def changed(self) -> asyncio.Event:
        """Set when there are new ones."""
        return self._feed.changed

    @property
    def uptime_ns(self) -> int:
        """How long it has been serving."""
        return time.monotonic_ns() - self._began_ns

    def now_ns(self) -> int:
        """Return the time since 1970."""
        return time.time_ns()

    def nodes(self) -> Sequence[NodeView]:
        """Return this node alone."""
        store = self.store
        return (
            NodeView(
                self.name,
                self._address,
                connected=True,
                seen=store.seen,
                stored=len(store),
                capacity=store.capacity,
                uptime_ns=self.uptime_ns,
            ),
        )


async def serve_flows(node: ObservedNode, feed: FlowFeed, socket: Path, port: int = PORT) -> None:
    """Serve until cancelled."""
    # A restarted agent counts its flows anew, so its store has another name.
    handlers = (columns_handler(feed, uuid.uuid4().hex), *hubble_handlers(node))
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
