"""One node's flows: connected, followed, connected again.

host and port  ->  Follow of the agent  ->  on_batch(Batch, Position), on_missed(how many), State

Invariants  After a break it goes on where it was; what the agent has no more is told as LOST. An
            agent that was restarted counts anew, and is asked for all that it has.
            A node that does not answer is asked again, at growing intervals, for ever.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from cairn.flow.columns import FLOW, Batch, FlowKind
from cairn.hubble.columns_wire import METHOD, Piece, Start, read_piece, write_start
from cairn.hubble.tls import SERVER_NAME, ClientFiles, channel_credentials
from cairn.relay.position import Position

log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A follower sends nothing but pings; without this it stops after two.
    ("grpc.http2.max_pings_without_data", 0),
    # Of pings that measure the way; while one is on it, none is sent to keep alive.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
)
BEGIN = Position()
LOST_ON_THE_WAY = 255
"""`point` of a LOST flow that tells what this relay missed."""


@dataclass(slots=True)
class State:
    """How it stands with one node."""

    name: str
    target: str
    """Host and port, as gRPC spells them."""
    connected: bool = False
    error: str = ""
    """Why it is not; empty before the first try."""
    flows: int = 0
    """How many came."""
    missed: int = 0
    """How many the agent had no more when it was asked."""
    since_s: float = 0.0
    """When it was connected or lost, by the monotonic clock."""


class Source:
    """Follows one node until cancelled."""

    def __init__(
        self,
        name: str,
        target: str,
        *,
        on_batch: Callable[[Batch, Position], None],
        on_missed: Callable[[int], None],
        on_state: Callable[[State], None],
        files: ClientFiles | None = None,
        begin: Position = BEGIN,
    ) -> None:
        self.state = State(name, target)
        self._on_batch = on_batch
        self._on_missed = on_missed
        self._on_state = on_state
        self._files = files
        self._start = Start(begin.store, begin.sequence)

    async def run(self) -> None:
        """Connect, follow, connect again."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._channel() as channel:
                    await self._follow(channel)
                error = "the agent ended the stream"
            except grpc.aio.AioRpcError as failed:
                error = f"{failed.code().name}: {' '.join((failed.details() or '').split())}"
            except ValueError as failed:
                error = f"what it sends is not understood: {failed}; is its version another?"
            except OSError as failed:
                error = f"certificates cannot be read: {failed}"
            pause_s = FIRST_PAUSE_S if self.state.connected else min(2 * pause_s, LONGEST_PAUSE_S)
            self._tell(connected=False, error=error)
            await asyncio.sleep(pause_s)

    def _channel(self) -> Any:
        if self._files is None:
            return grpc.aio.insecure_channel(self.state.target, KEEPALIVE)
        named = (("grpc.ssl_target_name_override", SERVER_NAME), *KEEPALIVE)
        return grpc.aio.secure_channel(self.state.target, channel_credentials(self._files), named)

    async def _follow(self, channel: Any) -> None:
        call = channel.unary_stream(METHOD)(write_start(self._start))
        async for octets in call:
            piece = read_piece(octets)
            if not self.state.connected:
                self._tell(connected=True, error="")
            self._take(piece)

    def _take(self, piece: Piece) -> None:
        if piece.missed:
            self.state.missed += piece.missed
            self._on_missed(piece.missed)
        self._start = Start(piece.store, piece.next_sequence)
        self.state.flows += len(piece.batch.records)
        self._on_batch(piece.batch, Position(piece.store, piece.next_sequence))

    def _tell(self, *, connected: bool, error: str) -> None:
        state = self.state
        news = connected != state.connected or error != state.error
        state.connected, state.error = connected, error
        if news:
            state.since_s = time.monotonic()
            if connected:
                log.info("node %s: flows come from %s", state.name, state.target)
            else:
                log.warning("node %s at %s does not answer: %s", state.name, state.target, error)
            self._on_state(state)


def lost(count: int) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Return the record that says how many flows of node 1 were missed on the way here."""
    record = np.zeros(1, FLOW)
    record["time_ns"] = time.time_ns()
    record["kind"], record["packets"] = int(FlowKind.LOST), count
    record["point"], record["node"] = LOST_ON_THE_WAY, 1
    return record
