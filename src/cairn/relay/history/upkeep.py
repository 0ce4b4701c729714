"""The upkeep of a history: segments become Parquet, small files larger ones, old ones go.

    Files, Rules  ->  jobs, removals

Invariants  One job at a time. A segment goes after its Parquet file is there; files that were
            merged go after the merged one is there.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cairn.relay.history.jobs import Compact, Convert, Converted, Failed, Limits
from cairn.relay.history.places import ParquetFile, Places
from cairn.relay.history.process import run_job
from cairn.relay.history.state import Rules

log = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0
AGAIN_S = 10.0
TRIES = 3
AT_ONCE = 8
"""Segments that are converted before files are merged and let go, however many wait."""
LONGEST_US = 86_400 * 1_000_000
"""What a file that was merged spans at most, so that it can go when its time is over."""
_TAIL = b"PAR1"


class Upkeep:
    """Jobs of one history."""

    def __init__(self, places: Places, rules: Rules, room: Callable[[], int]) -> None:
        self._places = places
        self._rules = rules
        self._room = room
        self._open: int | None = None
        self._tries: dict[int, int] = {}
        self._ready = False
        self.corrupt: list[str] = []
        """Files that were moved aside, and why."""
        self.removed = 0
        """Flows that retention took."""

    def begin(self) -> None:
        """Look at what an earlier process left; raises OSError."""
        for path in self._places.files().leftovers:
            path.unlink(missing_ok=True)
        for file in self._places.files().parquet:
            if why := _broken(file.path):
                self.set_aside(file.path, why)
        self._ready = True

    def seal(self, number: int | None) -> None:
        """Tell which segment is being written; all others may be converted."""
        self._open = number

    def set_aside(self, path: Path, why: str) -> str:
        """Move a file that cannot be read; return a line about it."""
        try:
            there = self._places.set_aside(path)
        except FileNotFoundError:
            return f"{path.name} cannot be read: {why}"
        text = f"{path.name} cannot be read and is now {there}: {why}"
        log.error("%s", text)
        self.corrupt.append(text)
        return text

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._ready and not await self.step():
                await asyncio.sleep(AGAIN_S)

    async def step(self) -> bool:
        """Do what there is to do; return False if something failed."""
        fine = True
        sealed = [n for n in self._places.files().segments if n != self._open]
        for number in sealed[:AT_ONCE]:
            fine = await self._convert(number) and fine
        self._retain(int(time.time() * 1_000_000))
        while run := mergeable(self._places.files().parquet, self._rules):
            if not await self._compact(run):
                return False
        return fine

    async def _convert(self, number: int) -> bool:
        path = self._places.segment(number)
        limits = Limits(self._rules.memory_bytes, threads=1)
        reply = await run_job(Convert(str(self._places.root), number, limits))
        match reply:
            case Converted(damaged_bytes=octets, damaged=True):
                self.set_aside(path, f"{octets} octets at its end are no flows; the rest is kept")
            case Converted(damaged_bytes=octets):
                if octets:
                    log.warning("%s: its last %d octets were not written whole", path.name, octets)
                path.unlink(missing_ok=True)
            case Failed(corrupt=corrupt) if corrupt:
                self.set_aside(path, reply.text)
            case Failed():
                return self._failed(number, reply)
        self._tries.pop(number, None)
        return True

    def _failed(self, number: int, reply: Failed) -> bool:
        """Try again later; what fails for another reason than a full disk is moved aside."""
        tries = self._tries[number] = self._tries.get(number, 0) + 1
        if tries == 1:
            log.error("segment %d cannot become a Parquet file yet: %s", number, reply.text)
        if tries >= TRIES and not reply.no_room:
            self.set_aside(self._places.segment(number), reply.text)
        return False

    async def _compact(self, run: Sequence[ParquetFile]) -> bool:
        paths = tuple(str(file.path) for file in run)
        limits = Limits(self._rules.memory_bytes, threads=1, time_s=600)
        if self._room() < self._rules.reserve_bytes + sum(file.size for file in run):
            return False
        reply = await run_job(Compact(str(self._places.root), paths, limits))
        if isinstance(reply, Failed):
            for broken, why in reply.corrupt.items():
                self.set_aside(Path(broken), why)
            if not reply.corrupt:
                log.error("%d files cannot become one yet: %s", len(run), reply.text)
            return bool(reply.corrupt)
        for path in self._places.files().leftovers:
            path.unlink(missing_ok=True)
        return True

    def _retain(self, now_us: int) -> None:
        for file in expired(self._places.files().parquet, self._rules, now_us):
            file.path.unlink(missing_ok=True)
            self.removed += file.rows


def expired(files: Sequence[ParquetFile], rules: Rules, now_us: int) -> tuple[ParquetFile, ...]:
    """Return the files whose time is over, and the oldest of those that are too many octets."""
    oldest_us = now_us - int(rules.keep_days * 86_400_000_000)
    gone = [file for file in files if file.to_us < oldest_us]
    kept = sorted((f for f in files if f.to_us >= oldest_us), key=lambda file: file.to_us)
    size = sum(file.size for file in kept)
    for file in kept:
        if size <= rules.keep_bytes:
            break
        gone.append(file)
        size -= file.size
    return tuple(gone)


def mergeable(files: Sequence[ParquetFile], rules: Rules) -> tuple[ParquetFile, ...]:
    """Return files that are to become one: neighbours of about the same size.

    Each flow is rewritten once for each factor of `merge_files` that its file grows.
    """
    top = rules.file_rows // rules.merge_files
    level = max(1, rules.segment_rows // rules.merge_files**3)
    while level <= top:
        run: list[ParquetFile] = []
        for file in files:
            fits = file.rows <= level and (not run or file.to_us - run[0].from_us <= LONGEST_US)
            run = [*run, file] if fits else [file] if file.rows <= level else []
            if len(run) == rules.merge_files:
                return tuple(run)
        level *= rules.merge_files
    return ()


def _broken(path: Path) -> str:
    """Return why a file is no whole Parquet file, by its first and last octets; "" if it is."""
    with path.open("rb") as file:
        if file.read(4) != _TAIL:
            return "it does not begin as a Parquet file"
        if file.seek(0, 2) < 12:
            return "it is cut"
        file.seek(-4, 2)
        return "" if file.read(4) == _TAIL else "it is cut: a Parquet file ends otherwise"
