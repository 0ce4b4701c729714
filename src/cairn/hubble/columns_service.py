"""Gives a node's flows to the relay.

    FlowStore, Start  ->  Piece after Piece, until the relay goes

Invariants  The first piece has the dictionaries whole, those after it what is new since the last.
            A relay that reads slowly is told how many it missed; nothing is kept for it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np

from cairn.flow.columns import FLOW, Batch, Dictionaries
from cairn.flow.store import FlowStore
from cairn.hubble.columns_wire import (
    FOLLOW,
    SERVICE,
    Piece,
    read_start,
    write_piece,
)

MAX_FLOWS = 10_000
"""In one piece."""


def columns_handler(
    store: FlowStore, name: str, changed: Callable[[], Awaitable[None]]
) -> grpc.GenericRpcHandler:
    """Return what a server adds; `name` is the store's own, `changed` waits until it grows."""

    async def follow(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            start = read_start(request)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no start: {error}")
            return
        sequence = start.sequence if start.store == name else 0
        told = Dictionaries()
        while True:
            piece = _piece(store, name, sequence, told)
            sequence = piece.next_sequence
            yield write_piece(piece)
            if sequence == store.next_sequence:
                await changed()

    handlers = {FOLLOW: grpc.unary_stream_rpc_method_handler(follow)}
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _piece(store: FlowStore, name: str, sequence: int, told: Dictionaries) -> Piece:
    """Return the next flows; `told` learns which entries were given with them."""
    first = max(sequence, store.first_sequence)
    end = min(first + MAX_FLOWS, store.next_sequence)
    arrays = store.slices(first, end)
    records = np.concatenate(arrays) if arrays else np.zeros(0, FLOW)
    added = _news(store.dictionaries, told)
    missed = max(0, store.first_sequence - sequence) if sequence else 0
    return Piece(name, max(end, first), missed, Batch(records, added, store.floors))


def _news(now: Dictionaries, told: Dictionaries) -> Dictionaries:
    """Return the entries that were not told yet; what is gone is forgotten."""
    added = Dictionaries()
    for field in ("ends", "decisions", "details", "nodes", "node_labels", "interfaces"):
        entries, known = getattr(now, field), getattr(told, field)
        fresh = {key: value for key, value in entries.items() if known.get(key) is not value}
        setattr(added, field, fresh)
        setattr(told, field, dict(entries))
    return added
