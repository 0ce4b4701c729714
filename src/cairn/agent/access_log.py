"""What the proxy denies, in the agent's log.

    access.log  ->  a line per source, destination and request, each second

The file outlives the agent and Envoy alike; `cairn proxy` keeps it short by putting it aside. What
was written before the agent started is not told again.

Invariants  At most LINES lines a second; how many more there were is said.
Not here    Flows of what was let through.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cairn.observe.access_log import Line, read_lines

PAUSE_S = 1.0
LINES = 10
MOST_BYTES = 4 << 20
"""Read at once, so that a full log does not fill the memory."""

log = logging.getLogger("proxy")


class AccessLogReader:
    """Reads a file that grows, and that is put aside now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._open()
        if self._file:
            self._file.seek(0, 2)

    def read(self) -> list[bytes]:
        """Return the whole lines that have come; at most MOST_BYTES of them."""
        if self._file is None:
            self._open()
        if self._file is None:
            return []
        text = self._file.read(MOST_BYTES)
        if not text and self._is_aside():
            self._file.close()
            self._file = None
            return self.read()
        *lines, self._rest = (self._rest + text).split(b"\n")
        return lines

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _open(self) -> None:
        self._rest = b""
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _is_aside(self) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        opened = os.fstat(self._file.fileno()) if self._file else named
        return (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino)


async def log_requests(path: Path, on_lines: Callable[[tuple[Line, ...]], None]) -> None:
    """Log what is denied until cancelled; hand all that comes to `on_lines`."""
    reader = AccessLogReader(path)
    try:
        while True:
            await asyncio.sleep(PAUSE_S)
            read = read_lines(reader.read())
            if read.bad:
                log.warning("%d lines of %s are no records", read.bad, path)
            on_lines(read.lines)
            _tell(read.lines)
    finally:
        reader.close()


def _tell(lines: tuple[Line, ...]) -> None:
    denied = Counter(
        (line.direction, line.source.rpartition(":")[0], line.destination, line.what)
        for line in lines
        if line.denied
    )
    for (direction, source, destination, what), times in denied.most_common(LINES):
        more = f" ({times} times)" if times > 1 else ""
        log.warning("denied on %s: %s > %s: %s%s", direction, source, destination, what, more)
    if len(denied) > LINES:
        log.warning("and %d other kinds of request in this second", len(denied) - LINES)
