"""The durable copy of the store: one SQLite file, written before anything is acknowledged.

    Change, …  ->  one SQLite transaction  ->  (after a restart)  Entry, …

Layout      objects(resource, namespace, name, data); state(name, value): "revision"
Invariants  What `write` has returned from survives a crash of the process and of the machine
            (WAL, synchronous=FULL). A write that fails changes nothing.
            One process holds the file.
Standards   SQLite "Write-Ahead Logging"
"""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from cairn.apiserver.entry import Entry, load_entry
from cairn.apiserver.store import Change, Event

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_PUT = (
    "INSERT INTO objects VALUES (?, ?, ?, ?) "
    "ON CONFLICT (resource, namespace, name) DO UPDATE SET data = excluded.data"
)
_REMOVE = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
_REVISION = (
    "INSERT INTO state VALUES ('revision', ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class DatabaseError(Exception):
    """The file cannot be used, or cannot take a write; the text says why and what to do."""


class Database:
    """One open database; after `open`, use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _open(path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def objects(self) -> Iterator[tuple[str, Entry]]:
        """Return every object with its resource; raises DatabaseError."""
        try:
            for resource, data in self._connection.execute("SELECT resource, data FROM objects"):
                yield resource, load_entry(resource, data)
        except (sqlite3.Error, ValueError) as error:
            raise _unreadable(self._path, error) from error

    def revision(self) -> int:
        """Return the last revision that was written; 0 if none was."""
        query = "SELECT value FROM state WHERE name = 'revision'"
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def write(self, changes: Sequence[Change]) -> None:
        """Make changes durable, all or none; raises DatabaseError."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for change in changes:
                    key = (change.resource, *change.new.key)
                    if change.event is Event.DELETED:
                        self._connection.execute(_REMOVE, key)
                    else:
                        self._connection.execute(_PUT, (*key, change.new.data))
                self._connection.execute(_REVISION, (changes[-1].new.revision,))
        except sqlite3.Error as error:
            raise DatabaseError(_write_failure(self._path, error)) from error


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=2.0
        )
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(
            f"{path}: cannot be opened ({error}): check --data and its rights"
        ) from error
    try:
        # Exclusive: no second server on the same data, and no shared-memory file.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -4096")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN IMMEDIATE").connection.rollback()
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        connection.close()
        if "locked" in str(error):
            text = f"{path}: in use by another API server: stop it, or give another --data"
            raise DatabaseError(text) from error
        raise _unreadable(path, error) from error
    if found != "ok":
        connection.close()
        raise _unreadable(path, ValueError(found))
    return connection


def _unreadable(path: Path, error: Exception) -> DatabaseError:
    return DatabaseError(
        f"{path}: not a readable database ({' '.join(str(error).split())}): restore it from a "
        "backup, or move it away to begin empty"
    )


def _write_failure(path: Path, error: sqlite3.Error) -> str:
    try:
        free_mib = shutil.disk_usage(path.parent).free >> 20
    except OSError:
        return f"{path}: cannot be written ({error}); nothing was changed"
    return (
        f"{path}: cannot be written ({error}; {free_mib} MiB free on its disk); nothing was "
        "changed, reading goes on: free some space and try again"
    )
