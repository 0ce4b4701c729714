"""The one writer: gathers waiting writes, makes them durable together, then answers each.

    Write, …  ->  Transaction  ->  Database.write (one fsync)  ->  Server.committed  ->  results

Invariants  Writes take effect one after another, in the order in which they came.
            A result is given, and a watcher told, only after the write is durable.
            A write that is refused changes nothing and costs the others nothing.
Cost        While one batch is written the next gathers, so that a disk with 1,000 fsync/s does not
            limit writes to 1,000/s.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cairn.api.database import Database, DatabaseError
from cairn.apiserver.request import Write
from cairn.apiserver.serve import Server
from cairn.apiserver.status import Refused
from cairn.apiserver.store import Change, Transaction

BATCH = 256
"""Most writes that share a transaction."""


@dataclass(slots=True)
class _Waiting:
    """A write and who waits for it."""

    write: Write
    result: "asyncio.Future[Any]"


class Committer:
    """Carries out writes."""

    def __init__(
        self, server: Server, database: Database, after: Callable[[list[Change]], None]
    ) -> None:
        self._server = server
        self._database = database
        self._after = after
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "database")

    async def submit(self, write: Write) -> Any:
        """Return what the write's operation returned, once it is durable; raises Refused."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(write, result))
        return await result

    async def run(self) -> None:
        """Carry out writes until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._carry_out(batch)

    async def _carry_out(self, batch: list[_Waiting]) -> None:
        txn = Transaction(self._server.store)
        done = [(item, result) for item in batch for result in _operate(txn, item)]
        if txn.changes:
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._thread, self._database.write, txn.changes)
            except DatabaseError as error:
                self._server.abandoned()
                refused = Refused(507, "InsufficientStorage", str(error))
                for item, _ in done:
                    _answer(item, refused)
                return
            self._server.committed(txn.changes)
            self._after(txn.changes)
        else:
            self._server.abandoned()
        for item, result in done:
            _answer(item, result)


def _operate(txn: Transaction, item: _Waiting) -> list[Any]:
    """Return the operation's result in a list; nothing if it was refused and is answered."""
    mark = txn.mark()
    try:
        result = item.write.operate(txn)
    except Exception as error:
        # Also an error of ours must not end the one writer: it is the answer to this write alone.
        txn.rollback(mark)
        _answer(item, error)
        return []
    if item.write.dry_run:
        txn.rollback(mark)
    return [result]


def _answer(item: _Waiting, result: Any) -> None:
    if item.result.done():
        return
    if isinstance(result, Exception):
        item.result.set_exception(result)
    else:
        item.result.set_result(result)
