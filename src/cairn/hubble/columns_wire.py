"""The stream of flows from a node to the relay.

    cairn.Columns/Follow   Start  ->  a stream of Piece

Layout      messages are msgpack arrays; records as they lie in memory, with the size of one
Invariants  Records of another version are shorter, and what they lack is 0; or longer, and cut.
            Octets are a Piece, or ValueError.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np

from cairn.flow.columns import (
    FLOW,
    Batch,
    Decision,
    Detail,
    Dictionaries,
    DnsDetail,
    End,
    Floors,
    HttpDetail,
    TlsDetail,
)

SERVICE, FOLLOW = "cairn.Columns", "Follow"
METHOD = f"/{SERVICE}/{FOLLOW}"
T = TypeVar("T")


class Start(msgspec.Struct, frozen=True, array_like=True):
    """Where to begin."""

    store: str = ""
    """Which store `sequence` is of; another's is asked for all that it has."""
    sequence: int = 0
    """Number of the first flow that is wanted."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Flows of a node's store."""

    store: str
    """Names the store: a restarted agent has another."""
    next_sequence: int
    """Where to begin to get what comes after."""
    missed: int
    """How many flows before these were wanted and are gone."""
    batch: Batch = field(compare=False)


class _Message(msgspec.Struct, array_like=True):
    store: str
    next_sequence: int
    missed: int
    record_bytes: int
    records: bytes
    floors: Floors
    ends: dict[int, End]
    decisions: dict[int, Decision]
    nodes: dict[int, str]
    node_labels: dict[int, tuple[str, ...]]
    interfaces: dict[int, str]
    requests: dict[int, HttpDetail]
    lookups: dict[int, DnsDetail]
    server_names: dict[int, TlsDetail]
    kernel_reasons: dict[int, str] = {}


_MESSAGE = msgspec.msgpack.Decoder(_Message)
_START = msgspec.msgpack.Decoder(Start)


def write_start(start: Start) -> bytes:
    """Return a request."""
    return msgspec.msgpack.encode(start)


def read_start(octets: bytes) -> Start:
    """Return the request; raises ValueError."""
    return _START.decode(octets)


def write_piece(piece: Piece) -> bytes:
    """Return a piece as octets."""
    added = piece.batch.added
    return msgspec.msgpack.encode(
        _Message(
            piece.store,
            piece.next_sequence,
            piece.missed,
            FLOW.itemsize,
            piece.batch.records.tobytes(),
            piece.batch.floors,
            added.ends,
            added.decisions,
            added.nodes,
            added.node_labels,
            added.interfaces,
            _of_kind(added.details, HttpDetail),
            _of_kind(added.details, DnsDetail),
            _of_kind(added.details, TlsDetail),
            added.kernel_reasons,
        )
    )


def read_piece(octets: bytes) -> Piece:
    """Return the piece; raises ValueError."""
    said = _MESSAGE.decode(octets)
    details: dict[int, Detail] = {**said.requests, **said.lookups, **said.server_names}
    added = Dictionaries(
        ends=said.ends,
        decisions=said.decisions,
        details=details,
        nodes=said.nodes,
        node_labels=said.node_labels,
        interfaces=said.interfaces,
        kernel_reasons=said.kernel_reasons,
    )
    batch = Batch(_records(said.records, said.record_bytes), added, said.floors)
    return Piece(said.store, said.next_sequence, said.missed, batch)


def _records(octets: bytes, size: int) -> "np.ndarray[tuple[int], np.dtype[Any]]":
    if size < 1 or len(octets) % size:
        raise ValueError(f"{len(octets)} octets are no records of {size}")
    if size == FLOW.itemsize:
        return np.frombuffer(octets, FLOW)
    raw = np.frombuffer(octets, np.uint8).reshape(-1, size)
    made = np.zeros((len(raw), FLOW.itemsize), np.uint8)
    shared = min(size, FLOW.itemsize)
    made[:, :shared] = raw[:, :shared]
    return made.reshape(-1).view(FLOW)


def _of_kind(details: dict[int, Detail], kind: type[T]) -> dict[int, T]:
    return {key: detail for key, detail in details.items() if isinstance(detail, kind)}
