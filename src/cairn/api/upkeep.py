"""What the server does on its own account: garbage collection, and the end of old Events.

    committed changes  ->  uids to look at  ->  Writes;  clock  ->  Events deleted

Not here    What is garbage (cairn.apiserver.collect).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from cairn.api.committer import Committer
from cairn.apiserver.collect import affected, collect, left_over
from cairn.apiserver.entry import Entry
from cairn.apiserver.environment import timestamp
from cairn.apiserver.request import Write, json_reply
from cairn.apiserver.serve import Server
from cairn.apiserver.status import Refused
from cairn.apiserver.store import Change, Transaction

EVENT_TTL = timedelta(hours=1)
EVENT_SWEEP_S = 60.0
EVENTS_KEPT = 5000
RETRY_S = 5.0
_log = logging.getLogger("cairn.api")


class Upkeep:
    """The server's own work."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._due: set[str] = left_over(server.store)
        self._wake = asyncio.Event()
        self._wake.set()

    def observe(self, changes: Sequence[Change]) -> None:
        """Note what committed changes make due."""
        found = affected(self._server.store, changes)
        if found:
            self._due |= found
            self._wake.set()

    async def collect(self, committer: Committer) -> None:
        """Delete dependents whose owners are gone, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, set()
            for uid in sorted(due):
                await self._collect_one(committer, uid)

    async def _collect_one(self, committer: Committer, uid: str) -> None:
        def operate(txn: Transaction) -> None:
            collect(txn, self._server.environment, self._server.registry, uid)

        try:
            await committer.submit(Write(operate, lambda _: json_reply(200, {})))
        except Refused as refused:
            _log.warning("garbage collection of %s waits: %s", uid, refused.message)
            self._due.add(uid)
            asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def expire_events(self, committer: Committer) -> None:
        """Delete Events an hour after they last happened, until cancelled."""
        while True:
            await asyncio.sleep(EVENT_SWEEP_S)
            cutoff = timestamp(self._server.environment.now() - EVENT_TTL)
            old = expired_events(list(self._server.store.all("events")), cutoff)
            if not old:
                continue
            try:
                await committer.submit(Write(_removal(old), lambda _: json_reply(200, {})))
            except Refused as refused:
                _log.warning("old Events stay: %s", refused.message)


def expired_events(events: Sequence[Entry], cutoff: str) -> list[Entry]:
    """Return the Events that last happened before `cutoff` (RFC 3339), or are too many."""
    dated = sorted(((_last(entry), entry.revision, entry) for entry in events), reverse=True)
    return [
        entry for at, (last, _, entry) in enumerate(dated) if last < cutoff or at >= EVENTS_KEPT
    ]


def _last(entry: Entry) -> str:
    obj = entry.decode()
    series = obj.get("series") or {}
    times = (obj.get("lastTimestamp"), obj.get("eventTime"), series.get("lastObservedTime"))
    return str(max(filter(None, (*times, obj["metadata"]["creationTimestamp"]))))


def _removal(old: Sequence[Entry]) -> Callable[[Transaction], None]:
    def operate(txn: Transaction) -> None:
        for entry in old:
            current = txn.get("events", entry.key)
            if current is not None and current.revision == entry.revision:
                txn.remove("events", entry.decode())

    return operate
