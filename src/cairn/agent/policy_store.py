"""The last good form of every policy object, so that one that turns bad finds it after a restart.

    object  <->  FOLDER/last-good.sqlite

Invariants  Nothing of it is needed to run: without the file an object that is invalid is not in
            force, and that is said; what is valid is not read from here.
            Writes are gathered and committed by `flush`, away from the event loop.
Cost        about 400 octets of the file for a policy, half a second for thirty thousand at once
"""

import logging
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from cairn.kube.metadata import Key

Place = tuple[str, str, str]
"""Kind, namespace, name."""
_Row = tuple[str, bytes]
"""The object's version, and its compressed JSON."""

log = logging.getLogger("policy")


class PolicyStore:
    """One node's record of good policies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "last-good.sqlite"
        self._lock = Lock()
        self._waiting: dict[Place, _Row | None] = {}
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            log.error("%s is unreadable and made anew: %s", self._path, error)
            self._path.unlink(missing_ok=True)
            self._database = self._open()
        # While all is read anew, what is there already is not written again.
        select = "SELECT kind, namespace, name, version FROM policy"
        self._versions = {tuple(row[:3]): row[3] for row in self._database.execute(select)}

    def get(self, kind: str, key: Key) -> dict[str, Any] | None:
        """Return the last good form of an object, None if there is none."""
        place = (kind, *key)
        if place in self._waiting:
            row = self._waiting[place]
            return _read(row[1]) if row else None
        with self._lock:
            found = self._database.execute(
                "SELECT body FROM policy WHERE kind = ? AND namespace = ? AND name = ?", place
            ).fetchone()
        return _read(found[0]) if found else None

    def put(self, kind: str, key: Key, obj: dict[str, Any] | None) -> None:
        """Have a good object kept, or with None forgotten, by the next `flush`."""
        place = (kind, *key)
        if obj is None:
            self._waiting[place] = None
            return
        version = _version(obj)
        if self._versions.get(place) != version:
            # Its octets are a tenth of the object, and may wait.
            self._waiting[place] = (version, zlib.compress(msgspec.json.encode(obj), 1))

    def keep(self, places: Iterable[tuple[str, Key]]) -> None:
        """Have all forgotten but these: everything has been read."""
        kept = {(kind, *key) for kind, key in places}
        for place in self._versions.keys() - kept:
            self._waiting.setdefault(place, None)
        self._versions = {}

    @property
    def waits(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Write what was put; raises OSError. May run in a thread."""
        waiting, self._waiting = self._waiting, {}
        gone = [place for place, row in waiting.items() if row is None]
        kept = [(*place, *row) for place, row in waiting.items() if row is not None]
        try:
            with self._lock, self._database as database:
                database.executemany(
                    "DELETE FROM policy WHERE kind = ? AND namespace = ? AND name = ?", gone
                )
                database.executemany("INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?)", kept)
        except sqlite3.Error as error:
            self._waiting = waiting | self._waiting
            raise OSError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, check_same_thread=False)
        # It need not outlive the machine, only the agent.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA cache_size = -256")
        database.execute(
            "CREATE TABLE IF NOT EXISTS policy (kind TEXT, namespace TEXT, name TEXT, "
            "version TEXT, body BLOB, PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID"
        )
        return database


def _read(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(zlib.decompress(body), type=dict[str, Any])


def _version(obj: dict[str, Any]) -> str:
    metadata = obj.get("metadata") or {}
    return f"{metadata.get('uid')}/{metadata.get('resourceVersion')}"
