"""The last good form of every policy object, so that one that turns bad finds it after a restart.

    object  <->  FOLDER/last-good.sqlite

Invariants  Nothing of it is needed to run: without the file an object that is invalid is not in
            force, and that is said; what is valid is not read from here.
            Writes are gathered and committed by `flush`, away from the event loop.
Cost        about 400 octets of the file for a policy, half a second for thirty thousand at once
"""

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

from cairn.kube.metadata import Key

Place = tuple[str, str, str]
"""Kind, namespace, name."""

MANY = 100

log = logging.getLogger("policy")


class PolicyStore:
    """One node's record of good policies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "last-good.sqlite"
        self._lock = Lock()
        self._waiting: dict[Place, dict[str, Any] | None] = {}
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            log.error("%s is unreadable and made anew: %s", self._path, error)
            self._path.unlink(missing_ok=True)
            self._database = self._open()

    def get(self, kind: str, key: Key) -> dict[str, Any] | None:
        """Return the last good form of an object, None if there is none."""
        place = (kind, *key)
        if place in self._waiting:
            return self._waiting[place]
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM policy WHERE kind = ? AND namespace = ? AND name = ?", place
            ).fetchone()
        found: dict[str, Any] | None = json.loads(zlib.decompress(row[0])) if row else None
        return found

    def put(self, kind: str, key: Key, obj: dict[str, Any] | None) -> None:
        """Have a good object kept, or with None forgotten, by the next `flush`."""
        self._waiting[kind, key.namespace, key.name] = obj

    def keep(self, places: Iterable[tuple[str, Key]]) -> None:
        """Have all forgotten but these."""
        kept = {(kind, *key) for kind, key in places}
        with self._lock:
            held = set(self._database.execute("SELECT kind, namespace, name FROM policy"))
        for place in held - kept:
            self._waiting.setdefault(place, None)

    @property
    def waits(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Write what was put; raises OSError. May run in a thread."""
        waiting, self._waiting = self._waiting, {}
        gone = [place for place, obj in waiting.items() if obj is None]
        kept = [(*place, _version(obj), obj) for place, obj in waiting.items() if obj is not None]
        try:
            with self._lock, self._database as database:
                database.executemany(
                    "DELETE FROM policy WHERE kind = ? AND namespace = ? AND name = ?", gone
                )
                # Most of many are there already, after a restart; of few it is quicker not to look.
                versions = "SELECT kind, namespace, name, version FROM policy"
                rows = database.execute(versions) if len(kept) > MANY else ()
                held = {tuple(row[:3]): row[3] for row in rows}
                database.executemany(
                    "INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?)",
                    (
                        (*row[:4], zlib.compress(json.dumps(row[4]).encode(), 1))
                        for row in kept
                        if held.get(row[:3]) != row[3]
                    ),
                )
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


def _version(obj: dict[str, Any]) -> str:
    metadata = obj.get("metadata") or {}
    return f"{metadata.get('uid')}/{metadata.get('resourceVersion')}"
