"""Gives a node's flows to the relay.

    Feed, Start  ->  Piece after Piece, until the relay goes

Invariants  The first piece has the dictionaries whole, those after it what is new since the last.
            A relay that reads slowly is told how many it missed: what waits for it is bounded by
            the feed.
"""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc

from cairn.flow.columns import Batch
from cairn.flow.store import FlowStore
from cairn.hubble.columns_wire import FOLLOW, SERVICE, Piece, read_start, write_piece


class Delivered(Protocol):
    """What a subscriber gets."""

    @property
    def batch(self) -> Batch:
        """Flows that are new."""
        ...

    @property
    def missed(self) -> int:
        """How many before them it did not get."""
        ...


class Subscribed(Protocol):
    """One who gets every batch."""

    async def get(self) -> Delivered:
        """Return the next batch, once there is one."""
        ...

    def close(self) -> None:
        """Want no more."""
        ...


class Feed(Protocol):
    """Where a node's flows come from."""

    @property
    def store(self) -> FlowStore:
        """The last of them."""
        ...

    def subscribe(self, last: int = 0) -> Subscribed:
        """Return a subscription that begins with all dictionaries and the last so many flows."""
        ...


def columns_handler(feed: Feed, name: str) -> grpc.GenericRpcHandler:
    """Return what a server adds; `name` is the store's own: a restarted agent has another."""

    async def follow(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            start = read_start(request)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no start: {error}")
            return
        store = feed.store
        wanted = start.sequence if start.store == name else store.first_sequence
        sequence = min(max(wanted, store.first_sequence), store.next_sequence)
        missed = max(0, sequence - wanted)
        subscription = feed.subscribe(store.next_sequence - sequence)
        try:
            while True:
                delivered = await subscription.get()
                missed += delivered.missed
                sequence += delivered.missed + len(delivered.batch.records)
                yield write_piece(Piece(name, sequence, missed, delivered.batch))
                missed = 0
        finally:
            subscription.close()

    handlers = {FOLLOW: grpc.unary_stream_rpc_method_handler(follow)}
    return grpc.method_handlers_generic_handler(SERVICE, handlers)
