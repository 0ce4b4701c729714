"""The history beside the flows: takes them, keeps them on disk, answers questions.

    FLOW records  ->  Log, each half second; segments  ->  Parquet; Question  ->  replies

Invariants  Taking flows never waits. What cannot be written is counted, and why is told: a full
            disk stops the history, not the flows, and it goes on by itself when there is room.
            A file that cannot be read is moved aside and named; the rest is answered.
Cost        a write and a sync each half second; DuckDB runs in processes that end with their job
"""

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np

from cairn.drive.daemon import spell
from cairn.flow.columns import Dictionaries
from cairn.relay.history.jobs import (
    Ask,
    Done,
    Failed,
    Heading,
    Limits,
    Reply,
)
from cairn.relay.history.log import Log, Records
from cairn.relay.history.places import Places
from cairn.relay.history.process import stream_job
from cairn.relay.history.question import Question
from cairn.relay.history.state import HistoryStatus, Rules, Stopped
from cairn.relay.history.upkeep import Upkeep
from cairn.relay.position import Positions

logger = logging.getLogger(__name__)
WRITE_EVERY_S = 0.5
"""Half of what may be lost when the process is killed."""
TRY_AGAIN_S = 5.0
TRIES = 5
QUESTIONS_AT_ONCE = 2
QUESTIONS_WAITING = 16


class History:
    """One relay's history."""

    def __init__(self, root: Path, rules: Rules) -> None:
        self._places = Places(root)
        self._rules = rules
        self._pending: list[tuple[Records, Dictionaries]] = []
        self._pending_rows = 0
        self._read: Positions = {}
        self._writing = asyncio.Lock()
        self._asking = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._waiting = 0
        self._log: Log | None = None
        self._upkeep = Upkeep(self._places, rules, self._room)
        self.stopped: Stopped | None = None
        """Why nothing is written, and since when; None if all is well."""
        self.missed = 0
        """Flows that were not written, since the start."""

    @property
    def ready(self) -> bool:
        """Whether what is taken can be written."""
        return self._log is not None

    @property
    def positions(self) -> Positions:
        """How far nodes were read with what is written; nothing before `open`."""
        return self._log.positions if self._log is not None else {}

    def add(
        self, records: Records, known: Dictionaries, positions: Positions | None = None
    ) -> None:
        """Take flows; `known` may grow, but what they refer to stays in it until written."""
        if self.stopped or self._pending_rows > self._rules.pending_rows:
            self.missed += len(records)
            return
        self._pending.append((records, known))
        self._read.update(positions or {})
        self._pending_rows += len(records)

    async def open(self) -> None:
        """Look at what there is; if that cannot be, the history is stopped until it can."""
        try:
            await asyncio.to_thread(self._open)
        except OSError as error:
            self._stop(error)

    async def run(self) -> None:
        """Keep the history until cancelled, after `open`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_on())
            group.create_task(self._upkeep.run())

    async def close(self) -> None:
        """Write what is pending."""
        await self.flush()
        if self._log is not None:
            self._log.close()

    async def flush(self) -> None:
        """Write what was taken so far."""
        async with self._writing:
            pending, self._pending, self._pending_rows = self._pending, [], 0
            read, self._read = self._read, {}
            count = sum(len(records) for records, _ in pending)
            if not count:
                return
            if self.stopped or self._log is None:
                self.missed += count
                return
            try:
                await asyncio.to_thread(self._append, self._log, pending, read)
            except OSError as error:
                self.missed += count
                self._stop(error)
                self._upkeep.seal(None)

    async def ask(self, question: Question) -> AsyncGenerator[Reply, None]:
        """Yield the answer to a question; the last reply is Done or Failed."""
        if self._waiting >= QUESTIONS_WAITING:
            yield Failed(f"{self._waiting} questions wait already: ask again later")
            return
        self._waiting += 1
        try:
            async with self._asking:
                await self.flush()
                async with contextlib.aclosing(self._answer(question)) as replies:
                    async for reply in replies:
                        yield reply
        finally:
            self._waiting -= 1

    async def _answer(self, question: Question) -> AsyncGenerator[Reply, None]:
        notes = []
        if self.stopped:
            notes.append(self.stopped.text)
        failed = Failed("files went while they were read: ask again", again=True)
        for _ in range(TRIES):
            begun = False
            async with contextlib.aclosing(stream_job(self._job(question))) as replies:
                async for reply in replies:
                    if isinstance(reply, Failed) and not begun and (reply.again or reply.corrupt):
                        failed = reply
                        break
                    if isinstance(reply, Done):
                        reply = Done(reply.cut, (*reply.notes, *notes))
                    begun = begun or isinstance(reply, Heading)
                    yield reply
                else:
                    return
            notes += [self._upkeep.set_aside(Path(p), why) for p, why in failed.corrupt.items()]
        yield Failed(failed.text)

    def _job(self, question: Question) -> Ask:
        files = self._places.files()
        since, until = question.since_us, question.until_us
        paths = tuple(
            str(file.path)
            for file in files.parquet
            if (since is None or file.to_us >= since) and (until is None or file.from_us < until)
        )
        limits = Limits(self._rules.memory_bytes, time_s=self._rules.answer_s)
        return Ask(str(self._places.root), question, paths, files.segments, limits)

    def status(self) -> HistoryStatus:
        """Return what there is."""
        files = self._places.files()
        in_log = self._log.rows if self._log is not None else 0
        sizes = [file.size for file in files.parquet]
        for number in files.segments:
            with contextlib.suppress(FileNotFoundError):
                sizes.append(self._places.segment(number).stat().st_size)
        return HistoryStatus(
            root=str(self._places.root),
            flows=sum(file.rows for file in files.parquet) + in_log,
            oldest_us=min((file.from_us for file in files.parquet), default=None),
            newest_us=max((file.to_us for file in files.parquet), default=None),
            bytes=sum(sizes),
            files=len(sizes),
            keep_days=self._rules.keep_days,
            keep_bytes=self._rules.keep_bytes,
            stopped=self.stopped.text if self.stopped else "",
            missed=self.missed,
            corrupt=tuple(self._upkeep.corrupt),
            removed=self._upkeep.removed,
        )

    def _open(self) -> None:
        self._places.make()
        shutil.rmtree(self._places.work)
        self._places.make()
        self._upkeep.begin()
        self._log = Log(self._places)

    def _append(
        self, log: Log, pending: list[tuple[Records, Dictionaries]], read: Positions
    ) -> None:
        self._need_room()
        start = 0
        for end in range(1, len(pending) + 1):
            known = pending[start][1]
            if end == len(pending) or pending[end][1] is not known:
                records = np.concatenate([records for records, _ in pending[start:end]])
                for at in range(0, len(records), self._rules.segment_rows):
                    piece = records[at : at + self._rules.segment_rows]
                    last = end == len(pending) and at + len(piece) == len(records)
                    log.append(piece, known, read if last else None)
                    self._roll(log)
                start = end

    def _roll(self, log: Log) -> None:
        """End the segment if it is long or old enough."""
        old = time.monotonic() - log.begun_s > self._rules.segment_s
        if log.number is not None and (old or log.rows >= self._rules.segment_rows):
            log.close()
        self._upkeep.seal(log.number)

    def _need_room(self) -> None:
        if self._room() < self._rules.reserve_bytes:
            raise OSError(28, "No space left on device", str(self._places.root))

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(TRY_AGAIN_S if self.stopped else WRITE_EVERY_S)
            if self.stopped:
                await self._resume()
                continue
            await self.flush()
            async with self._writing:
                if self._log is not None and not self.stopped:
                    self._roll(self._log)
                    self._look_for_room()

    def _look_for_room(self) -> None:
        """Say that the disk is full before there is a flow to write."""
        try:
            self._need_room()
        except OSError as error:
            self._stop(error)

    async def _resume(self) -> None:
        """Go on if there is room again."""
        try:
            if self._log is None:
                await asyncio.to_thread(self._open)
            if self._room() < 2 * self._rules.reserve_bytes:
                return
        except OSError:
            return
        stopped, self.stopped = self.stopped, None
        if stopped:
            logger.info("history goes on; it was stopped since %s: %s", stopped.since, stopped.why)

    def _room(self) -> int:
        return shutil.disk_usage(self._places.root).free

    def _stop(self, error: OSError) -> None:
        self.stopped = Stopped.now(spell(error))
        logger.error("%s; flows go on without being kept", self.stopped.text)
