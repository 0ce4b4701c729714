"""A segment: flows appended to a file as they come, each piece with its checksum.

    FLOW records, Dictionaries  <->  octets of a segment

Layout      header: MAGIC, octets of one record as u32
            frame: length u32, CRC-32 u32, then `length` octets of msgpack (Frame)
Invariants  A segment needs no other: the first frame that uses an entry of a dictionary carries it.
            A frame is whole or it is not there: reading ends at the first that is cut or damaged,
            and says how many octets were left over.
Units       numbers little-endian
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np

from cairn.flow.columns import (
    FLOW,
    Decision,
    Detail,
    Dictionaries,
    DnsDetail,
    End,
    HttpDetail,
    TlsDetail,
    interface_keys,
)
from cairn.relay.position import Positions

MAGIC = b"CAIRNFLW"
HEADER_BYTES = len(MAGIC) + 4
_PREFIX_BYTES = 8
MAX_FRAME_BYTES = 256 << 20
T = TypeVar("T")


class NoSegment(ValueError):
    """A file that is no segment; the text says why."""


class Frame(msgspec.Struct, array_like=True):
    """Flows, and what they are the first of the segment to use."""

    records: bytes
    """FLOW, one after the other."""
    ends: dict[int, End] = msgspec.field(default_factory=dict)
    decisions: dict[int, Decision] = msgspec.field(default_factory=dict)
    nodes: dict[int, str] = msgspec.field(default_factory=dict)
    requests: dict[int, HttpDetail] = msgspec.field(default_factory=dict)
    lookups: dict[int, DnsDetail] = msgspec.field(default_factory=dict)
    server_names: dict[int, TlsDetail] = msgspec.field(default_factory=dict)
    positions: Positions = msgspec.field(default_factory=dict)
    """How far nodes were read with these flows."""
    kernel_reasons: dict[int, str] = msgspec.field(default_factory=dict)


_DECODER = msgspec.msgpack.Decoder(Frame)
_ENCODER = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segment holds."""

    records: "np.ndarray[tuple[int], np.dtype[np.void]]"
    """FLOW, in the order of writing."""
    dictionaries: Dictionaries
    """All that they refer to."""
    whole_bytes: int
    """Up to where it could be read."""
    torn_bytes: int
    """What follows: a frame that was being written when the writer died, or damage."""
    damaged: bool = False
    """Whether it is damage."""

    positions: Positions = field(default_factory=dict)
    """How far nodes were read."""

    @classmethod
    def empty(cls) -> "Segment":
        """Return one without flows."""
        return cls(np.empty(0, FLOW), Dictionaries(), 0, 0)


@dataclass(slots=True)
class Told:
    """Keys of the dictionaries that a segment has already."""

    ends: set[int] = field(default_factory=set)
    decisions: set[int] = field(default_factory=set)
    details: set[int] = field(default_factory=set)
    nodes: set[int] = field(default_factory=set)
    kernel_reasons: set[int] = field(default_factory=set)


def write_header() -> bytes:
    """Return what a segment begins with."""
    return MAGIC + FLOW.itemsize.to_bytes(4, "little")


def write_frame(
    records: "np.ndarray[tuple[int], np.dtype[np.void]]",
    known: Dictionaries,
    told: Told,
    positions: Positions | None = None,
) -> bytes:
    """Return a frame of these flows; `told` learns what it carries."""
    columns = ("source_end", "destination_end")
    keys = np.unique(np.concatenate([records[name] for name in columns]))
    ends = _news(keys, known.ends, told.ends)
    decisions = _news(np.unique(records["decision"]), known.decisions, told.decisions)
    details = _news(np.unique(records["detail"]), known.details, told.details)
    nodes = _news(np.unique(records["node"]), known.nodes, told.nodes)
    dropped = records[records["kernel_reason"] != 0]
    reasons = np.unique(interface_keys(dropped["node"], dropped["kernel_reason"]))
    payload = _ENCODER.encode(
        Frame(
            records.tobytes(),
            ends,
            decisions,
            nodes,
            _of_kind(details, HttpDetail),
            _of_kind(details, DnsDetail),
            _of_kind(details, TlsDetail),
            positions or {},
            _news(reasons, known.kernel_reasons, told.kernel_reasons),
        )
    )
    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


def _news(keys: Any, known: Mapping[int, T], told: set[int]) -> dict[int, T]:
    fresh = [key for key in keys.tolist() if key and key not in told]
    told.update(fresh)
    # The dictionaries belong to another thread, which forgets what flows no longer need.
    return {key: value for key in fresh if (value := known.get(key)) is not None}


def _of_kind(details: Mapping[int, Detail], kind: type[T]) -> dict[int, T]:
    return {key: detail for key, detail in details.items() if isinstance(detail, kind)}


def read_segment(octets: bytes) -> Segment:
    """Return all whole frames of a segment, joined; raises NoSegment if its header is none."""
    if len(octets) < HEADER_BYTES and (MAGIC + b"\0\0\0\0").startswith(octets[: len(MAGIC)]):
        return Segment(np.empty(0, FLOW), Dictionaries(), 0, len(octets))  # died while beginning it
    if not octets.startswith(MAGIC):
        raise NoSegment(f"begins with {octets[:8]!r}, not {MAGIC!r}")
    size = int.from_bytes(octets[len(MAGIC) : HEADER_BYTES], "little")
    if not 0 < size <= 4096:
        raise NoSegment(f"records of {size} octets")
    pieces: list[np.ndarray[tuple[int], np.dtype[np.void]]] = []
    known = Dictionaries()
    positions: Positions = {}

    def take(frame: Frame) -> None:
        pieces.append(_take(frame, size, known))
        positions.update(frame.positions)

    at, damaged = _frames(octets, take)
    records = np.concatenate(pieces) if pieces else np.empty(0, FLOW)
    return Segment(records, known, at, len(octets) - at, damaged, positions)


def _frames(octets: bytes, take: Callable[[Frame], None]) -> tuple[int, bool]:
    """Hand out frames until one is not whole; return where that begins, and if it is damage."""
    at = HEADER_BYTES
    view = memoryview(octets)
    while at + _PREFIX_BYTES <= len(octets):
        length = int.from_bytes(view[at : at + 4], "little")
        start = at + _PREFIX_BYTES
        payload = view[start : start + length]
        crc = int.from_bytes(view[at + 4 : start], "little")
        if length <= MAX_FRAME_BYTES and len(payload) < length:
            return at, False
        if length > MAX_FRAME_BYTES or zlib.crc32(payload) != crc:
            return at, True
        try:
            take(_DECODER.decode(payload))
        except (msgspec.DecodeError, ValueError):
            return at, True
        at = start + length
    return at, False


def _take(
    frame: Frame, size: int, known: Dictionaries
) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Return a frame's records; `known` learns its entries.

    Records of another version are shorter, and what they lack is 0; or longer, and cut.
    """
    known.ends |= frame.ends
    known.decisions |= frame.decisions
    known.nodes |= frame.nodes
    known.kernel_reasons |= frame.kernel_reasons
    known.details.update(frame.requests)
    known.details.update(frame.lookups)
    known.details.update(frame.server_names)
    if size == FLOW.itemsize:
        return np.frombuffer(frame.records, FLOW)
    raw = np.frombuffer(frame.records, np.uint8).reshape(-1, size)
    made = np.zeros((len(raw), FLOW.itemsize), np.uint8)
    shared = min(size, FLOW.itemsize)
    made[:, :shared] = raw[:, :shared]
    return made.reshape(-1).view(FLOW)
