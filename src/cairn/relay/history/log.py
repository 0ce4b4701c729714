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

import msgspec
import numpy as np

from cairn.flow.columns import Dictionaries
from cairn.relay.history.places import Places, sync_folder
from cairn.relay.history.segment import NoSegment, Told, read_segment, write_frame, write_header
from cairn.relay.position import Positions

NOTE = "positions.json"
_POSITIONS = msgspec.json.Decoder(Positions)
Records = np.ndarray[tuple[int], np.dtype[Any]]


class Log:
    """Appends to the newest segment; blocking, for a thread of its own."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._next = places.next_number()
        self._handle = -1
        self._size = 0
        self._told = Told()
        self.positions = read_positions(places)
        """How far nodes were read."""
        self.number: int | None = None
        """Of the segment that is being written; None if there is none."""
        self.rows = 0
        """How many flows it has."""
        self.begun_s = 0.0
        """When it was begun, by the monotonic clock."""

    def append(
        self, records: Records, known: Dictionaries, positions: Positions | None = None
    ) -> None:
        """Write flows and wait until they are on disk; raises OSError."""
        if self._handle < 0:
            self._begin()
        frame = write_frame(records, known, self._told, positions)
        try:
            _write(self._handle, frame)
            os.fdatasync(self._handle)
        except OSError:
            # `told` says that the frame's entries are there: only a new segment has it right.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            self.close()
            raise
        self.positions.update(positions or {})
        self._size += len(frame)
        self.rows += len(records)

    def close(self) -> int | None:
        """End the segment; return its number, None if there was none.

        How far nodes were read stands in its frames; it goes, so that is kept apart.
        """
        ended = self.number
        if ended is not None:
            with contextlib.suppress(OSError):
                write_positions(self._places, self.positions)
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


def read_positions(places: Places) -> Positions:
    """Return how far nodes were read: from the newest segment, else from its predecessors' note."""
    positions: Positions = {}
    with contextlib.suppress(OSError, msgspec.DecodeError):
        positions |= _POSITIONS.decode((places.root / NOTE).read_bytes())
    for number in places.files().segments[-1:]:
        with contextlib.suppress(OSError, NoSegment):
            positions |= read_segment(places.segment(number).read_bytes()).positions
    return positions


def write_positions(places: Places, positions: Positions) -> None:
    """Note how far nodes were read; raises OSError."""
    made = places.work / NOTE
    made.write_bytes(msgspec.json.encode(positions))
    made.replace(places.root / NOTE)


def _write(handle: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(handle, view) :]
