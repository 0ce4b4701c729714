"""What the history asks of a process of its own, and what that answers.

    Convert, Compact, Ask  <->  octets  <->  Converted, Compacted, Rows, Failed

DuckDB runs in a process that ends with its job: its memory goes back, a long question stops
nobody, and whatever kills it kills no flow.

Layout      each message: length u32 little-endian, msgpack
"""

from typing import Any

import msgspec

from cairn.relay.history.question import Question

ROWS_AT_ONCE = 2_000
MAX_MESSAGE_BYTES = 64 << 20


class Limits(msgspec.Struct, frozen=True):
    """What a job may use."""

    memory_bytes: int = 256 << 20
    """Of DuckDB; what needs more is put aside on disk."""
    threads: int = 2
    time_s: float = 60.0


class Convert(msgspec.Struct, frozen=True, tag=True):
    """Make a Parquet file of a segment."""

    root: str
    number: int
    limits: Limits = Limits()


class Converted(msgspec.Struct, frozen=True, tag=True):
    """It is there."""

    rows: int
    damaged_bytes: int
    """Octets of the segment that were no flows."""
    damaged: bool
    """Whether they are more than a frame that was cut."""


class Compact(msgspec.Struct, frozen=True, tag=True):
    """Make one Parquet file of some that follow each other."""

    root: str
    paths: tuple[str, ...]
    limits: Limits = Limits()


class Compacted(msgspec.Struct, frozen=True, tag=True):
    """It is there."""

    rows: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Answer a question."""

    root: str
    question: Question
    paths: tuple[str, ...]
    """Parquet files of the time asked for."""
    segments: tuple[int, ...]
    """Those to be read besides."""
    limits: Limits = Limits()


class Heading(msgspec.Struct, frozen=True, tag=True):
    """What the rows to come have."""

    columns: tuple[str, ...]


class Rows(msgspec.Struct, frozen=True, tag=True):
    """Some rows."""

    rows: list[tuple[Any, ...]]


class Picture(msgspec.Struct, frozen=True, tag=True):
    """How many flows there were over time, in steps of equal length."""

    from_us: int
    to_us: int
    flows: list[int]
    drops: list[int]


class Done(msgspec.Struct, frozen=True, tag=True):
    """All rows were given."""

    cut: bool
    """Whether there are more, which the limit left out."""
    notes: tuple[str, ...] = ()
    """What the answer lacks, a line each."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no answer."""

    text: str
    wrong_question: bool = False
    """Whether the question is at fault."""
    again: bool = False
    """Whether files went meanwhile: ask anew."""
    no_room: bool = False
    """Whether the disk is full."""
    corrupt: dict[str, str] = {}
    """Files that cannot be read, and why."""


Job = Convert | Compact | Ask
Reply = Converted | Compacted | Heading | Rows | Picture | Done | Failed
_JOB: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
_REPLY: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_ENCODER = msgspec.msgpack.Encoder(enc_hook=str)


def write_message(message: Job | Reply) -> bytes:
    """Return a message with its length before it."""
    octets = _ENCODER.encode(message)
    return len(octets).to_bytes(4, "little") + octets


def read_job(octets: bytes) -> Job:
    """Return the job of a message; raises msgspec.DecodeError."""
    return _JOB.decode(memoryview(octets)[4:])


def read_reply(payload: bytes) -> Reply:
    """Return what a message without its length says; raises msgspec.DecodeError."""
    return _REPLY.decode(payload)


def write_reply(reply: Reply) -> bytes:
    """Return it without its length."""
    return _ENCODER.encode(reply)
