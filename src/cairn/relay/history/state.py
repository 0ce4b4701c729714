"""What a history keeps to, and what it tells of itself.

options  ->  Rules; Keeper  ->  HistoryStatus
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec


@dataclass(frozen=True, slots=True)
class Rules:
    """How much is kept, and how."""

    keep_days: float = 7
    """Flows older than this go."""
    keep_bytes: int = 10 << 30
    """Beyond this the oldest go."""
    segment_rows: int = 100_000
    """Flows after which a segment becomes a Parquet file."""
    segment_s: float = 60
    """Time after which it does."""
    reserve_bytes: int = 64 << 20
    """Room on the disk that is left alone, for segments that are yet to become small."""
    pending_rows: int = 262_144
    """Flows that wait for a slow disk; beyond these they are missed."""
    memory_bytes: int = 256 << 20
    """Of DuckDB, for one answer."""
    answer_s: float = 60
    """Time for one answer."""
    merge_files: int = 8
    """Parquet files of a kind that become one."""
    file_rows: int = 8_000_000
    """Flows of the largest files."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why nothing is written."""

    since: str
    """RFC 3339."""
    why: str

    @classmethod
    def now(cls, why: str) -> "Stopped":
        """Return a stop that begins now."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), why)

    @property
    def text(self) -> str:
        """In one line."""
        return f"history is stopped since {self.since}: {self.why}"


class HistoryStatus(msgspec.Struct, frozen=True):
    """What a history holds."""

    root: str
    """Its folder."""
    flows: int
    oldest_us: int | None
    """Time of the oldest flow, microseconds since 1970."""
    newest_us: int | None
    """Of the newest that has a file of its own."""
    bytes: int
    """On disk."""
    files: int
    keep_days: float
    keep_bytes: int
    stopped: str
    """Since when and why nothing is written; empty if all is well."""
    missed: int
    """Flows that were not written, since the relay started."""
    corrupt: tuple[str, ...]
    """Files that were moved aside, and why, since the relay started."""
    removed: int
    """Flows whose time was over, or that had no room, since the relay started."""
