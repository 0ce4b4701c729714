"""Where a history lies: the names of its files, and which of them count.

    folder  ->  Files (Parquet, segments), what is left over

Layout      DIR/segments/NUMBER.wal          flows as they come
            DIR/parquet/FIRST-LAST-FROM-TO-ROWS.parquet
                                             the segments FIRST to LAST; FROM and TO: times of the
                                             oldest and newest flow, in microseconds
            DIR/corrupt/                     what could not be read
            DIR/work/                        files in the making
Invariants  A file appears whole, by renaming. One that covers the segments of another replaces it:
            what a process that died left behind is told by its name alone.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PARQUET = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)-(\d+)\.parquet")
_SEGMENT = re.compile(r"(\d+)\.wal")


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A file of the history."""

    path: Path
    first: int
    """Number of the first segment whose flows it has."""
    last: int
    """And of the last."""
    from_us: int
    """Time of its oldest flow, microseconds since 1970."""
    to_us: int
    """Of its newest."""
    rows: int
    """How many flows."""
    size: int
    """Octets."""

    def covers(self, first: int, last: int) -> bool:
        """Whether it has all flows of these segments."""
        return self.first <= first and last <= self.last


@dataclass(frozen=True, slots=True)
class Files:
    """What a history consists of."""

    parquet: tuple[ParquetFile, ...]
    """By number of segment, which is by time of writing."""
    segments: tuple[int, ...]
    """Those that are no Parquet yet, oldest first; the last may be being written."""
    leftovers: tuple[Path, ...]
    """Files whose flows stand in another."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one history."""

    root: Path

    @property
    def segments(self) -> Path:
        """Where segments are."""
        return self.root / "segments"

    @property
    def parquet(self) -> Path:
        """Where Parquet files are."""
        return self.root / "parquet"

    @property
    def corrupt(self) -> Path:
        """Where unreadable files go."""
        return self.root / "corrupt"

    @property
    def work(self) -> Path:
        """Where files are made, and what does not fit into memory is put aside."""
        return self.root / "work"

    def make(self) -> None:
        """Make the folders; raises OSError."""
        for folder in (self.segments, self.parquet, self.corrupt, self.work):
            folder.mkdir(parents=True, exist_ok=True)

    def segment(self, number: int) -> Path:
        """Return the path of a segment."""
        return self.segments / f"{number:012}.wal"

    def named(self, *, first: int, last: int, from_us: int, to_us: int, rows: int) -> Path:
        """Return the path of a Parquet file."""
        name = f"{first:012}-{last:012}-{from_us:017}-{to_us:017}-{rows}.parquet"
        return self.parquet / name

    def files(self) -> Files:
        """Return what is there now; a file that goes meanwhile is passed over."""
        found = [file for path in _listed(self.parquet) if (file := parquet_file(path))]
        found.sort(key=lambda file: (file.first, -file.last))
        kept: list[ParquetFile] = []
        leftovers: list[Path] = []
        for file in found:
            if kept and kept[-1].covers(file.first, file.last):
                leftovers.append(file.path)
            else:
                kept.append(file)
        segments = []
        for number in sorted(_numbers(_listed(self.segments))):
            if any(file.covers(number, number) for file in kept):
                leftovers.append(self.segment(number))
            else:
                segments.append(number)
        return Files(tuple(kept), tuple(segments), tuple(leftovers))

    def next_number(self) -> int:
        """Return the number of the next segment: higher than any that was used."""
        files = self.files()
        used = [0, *files.segments, *(file.last for file in files.parquet)]
        used += _numbers([*_listed(self.segments), *_listed(self.corrupt)])
        return max(used) + 1

    def set_aside(self, path: Path) -> Path:
        """Move an unreadable file to `corrupt`; return where it is now."""
        target = self.corrupt / path.name
        path.replace(target)
        return target


def parquet_file(path: Path) -> ParquetFile | None:
    """Return what a file's name and size tell; None if it is none, or gone."""
    match = _PARQUET.fullmatch(path.name)
    if match is None:
        return None
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    first, last, from_us, to_us, rows = map(int, match.groups())
    return ParquetFile(path, first, last, from_us, to_us, rows, size)


def sync_folder(folder: Path) -> None:
    """Make what was renamed or removed in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _numbers(paths: Iterable[Path]) -> list[int]:
    return [int(match[1]) for path in paths if (match := _SEGMENT.fullmatch(path.name))]
