"""Read container logs as `kubectl logs` asks for them.

    log file in CRI form, LogQuery  ->  text

Standards   CRI log format: "TIME STREAM P|F TEXT"; Kubernetes PodLogOptions
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What part of a log is wanted, and how."""

    follow: bool = False
    """Whether to go on until the container ends."""
    tail: int | None = None
    """How many lines from the end; None for all."""
    since: str = ""
    """Nothing older than this, RFC 3339."""
    timestamps: bool = False
    """Whether each line begins with its time."""
    limit_bytes: int | None = None
    """Stop after so much."""
    from_now: bool = False
    """Only what is written from now on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log file."""

    time: str
    """When, RFC 3339 with nanoseconds."""
    whole: bool
    """Whether the text ends a line."""
    text: bytes
    """What the container wrote."""


def parse_entry(line: bytes) -> Entry | None:
    """Return what a line of the file says; None if it is not in CRI form."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    return Entry(parts[0].decode("ascii", "replace"), parts[2] == b"F", parts[3])


def render(entries: Iterable[Entry], query: LogQuery, *, at_start: bool = True) -> bytes:
    """Return the text of the entries; `at_start` says whether the first begins a line."""
    out = bytearray()
    for entry in entries:
        if query.timestamps and at_start:
            out += entry.time.encode() + b" "
        out += entry.text + (b"\n" if entry.whole else b"")
        at_start = entry.whole
    return bytes(out)


def select(entries: list[Entry], query: LogQuery) -> list[Entry]:
    """Return the entries that `since` and `tail` leave."""
    if query.since:
        entries = [entry for entry in entries if entry.time >= query.since]
    if query.tail is None or query.tail < 0:
        return entries
    start, lines = len(entries), 0
    while start > 0:
        if entries[start - 1].whole or start == len(entries):
            if lines == query.tail:
                break
            lines += 1
        start -= 1
    return entries[start:]


async def follow_log(
    path: Path, query: LogQuery, ended: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield the log's text; with `follow`, until the container has ended and all is read."""
    left = query.limit_bytes if query.limit_bytes is not None else -1
    tail = _Tail(path)
    over = ended()
    entries = await asyncio.to_thread(tail.read)
    first = [] if query.from_now else select([*_older(path, query), *entries], query)
    at_start = True
    while True:
        text = render(first, query, at_start=at_start)
        at_start = first[-1].whole if first else at_start
        if left >= 0:
            text, left = text[:left], max(0, left - len(text))
        if text:
            yield text
        if left == 0 or not query.follow or over:
            return
        over = ended()  # asked before the last read, so that nothing is missed
        if not over:
            await asyncio.sleep(POLL_S)
        first = await asyncio.to_thread(tail.read)


def _older(path: Path, query: LogQuery) -> list[Entry]:
    old = path.with_name(path.name + ".old")
    return _Tail(old).read() if old.exists() else []


class _Tail:
    """Reads what has been added to a file that may be put aside and begun anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._at = 0
        self._rest = b""

    def read(self) -> list[Entry]:
        """Return the entries added since the last call."""
        lines: list[bytes] = []
        try:
            with open(self._path, "rb") as file:
                inode = self._path.stat().st_ino
                if self._inode and inode != self._inode:
                    lines += self._remainder()
                    self._at = 0
                self._inode = inode
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines += whole
        return [entry for line in lines if (entry := parse_entry(line)) is not None]

    def _remainder(self) -> list[bytes]:
        """Return what was added to the file between the last read and its being put aside."""
        try:
            with open(f"{self._path}.old", "rb") as file:
                file.seek(self._at)
                *whole, _ = (self._rest + file.read()).split(b"\n")
        except FileNotFoundError:
            return []
        self._rest = b""
        return whole
