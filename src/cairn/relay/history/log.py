"""The segment that is being written.

    FLOW records, Dictionaries  ->  frames at the end of a file, synced

Invariants  What `append` returned from is on disk. If it raises OSError the file is as before, or a
            new one is begun: a frame that is cut is never followed by others.
Not here    When to write and to begin anew (keeper.py); reading (segment.py)
"""

import contextlib
import os
import time
from typing import Any

import numpy as np

from cairn.flow.columns import Dictionaries
from cairn.relay.history.places import Places, sync_folder
from cairn.relay.history.segment import Told, write_frame, write_header

Records = np.ndarray[tuple[int], np.dtype[Any]]


class Log:
    """Appends to the newest segment; blocking, for a thread of its own."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._next = places.next_number()
        self._handle = -1
        self._size = 0
        self._told = Told()
        self.number: int | None = None
        """Of the segment that is being written; None if there is none."""
        self.rows = 0
        """How many flows it has."""
        self.begun_s = 0.0
        """When it was begun, by the monotonic clock."""

    def append(self, records: Records, known: Dictionaries) -> None:
        """Write flows and wait until they are on disk; raises OSError."""
        if self._handle < 0:
            self._begin()
        frame = write_frame(records, known, self._told)
        try:
            _write(self._handle, frame)
            os.fdatasync(self._handle)
        except OSError:
            # `told` says that the frame's entries are there: only a new segment has it right.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            self.close()
            raise
        self._size += len(frame)
        self.rows += len(records)

    def close(self) -> int | None:
        """End the segment; return its number, None if there was none."""
        ended = self.number
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self.number, self.rows = -1, None, 0
        return ended

    def _begin(self) -> None:
        path = self._places.segment(self._next)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            _write(handle, write_header())
            sync_folder(path.parent)
        except OSError:
            os.close(handle)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._handle, self.number, self._told = handle, self._next, Told()
        self._size, self.rows, self.begun_s = len(write_header()), 0, time.monotonic()
        self._next += 1


def _write(handle: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(handle, view) :]
