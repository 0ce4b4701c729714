"""Keys that need work: each is worked on once at a time, and again if it changed meanwhile.

    add(key)  ->  work(key)

Invariants  A key is never worked on twice at the same time, and a change during its work is never
            lost. What fails is tried again, ever later, and said once per message.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cairn.drive.kube_client import ApiError

K = TypeVar("K", bound=Hashable)

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 30.0
CONFLICT = 409

log = logging.getLogger(__name__)


class WorkQueue(Generic[K]):
    """Runs `work` for every key that was added."""

    def __init__(
        self, name: str, work: Callable[[K], Awaitable[None]], *, workers: int = 4
    ) -> None:
        self._name = name
        self._work = work
        self._workers = workers
        self._waiting: dict[K, None] = {}
        self._busy: set[K] = set()
        self._pause_s: dict[K, float] = {}
        self._said: dict[K, str] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def add(self, key: K) -> None:
        """Have `key` worked on as soon as possible."""
        self._waiting[key] = None
        self._wake.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Have `key` worked on after a while; an earlier appointment stays."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay_s:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(delay_s, self._ring, key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._serve())
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _ring(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _serve(self) -> None:
        while True:
            key = next((key for key in self._waiting if key not in self._busy), None)
            if key is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            del self._waiting[key]
            self._busy.add(key)
            try:
                await self._attempt(key)
            finally:
                self._busy.discard(key)
                self._wake.set()

    async def _attempt(self, key: K) -> None:
        try:
            await self._work(key)
        except ApiError as error:
            self._fail(key, error.message, quiet=error.status == CONFLICT)
        except Exception as error:  # a broken object must not stop the others
            self._fail(key, f"{type(error).__name__}: {error}", quiet=False, trace=True)
        else:
            self._pause_s.pop(key, None)
            self._said.pop(key, None)

    def _fail(self, key: K, text: str, *, quiet: bool, trace: bool = False) -> None:
        pause_s = self._pause_s.get(key, FIRST_PAUSE_S)
        self._pause_s[key] = min(pause_s * 2, LONGEST_PAUSE_S)
        if not quiet and self._said.get(key) != text:
            self._said[key] = text
            log.warning("%s %s: %s; trying again", self._name, key, text)
            if trace:
                log.debug("%s %s", self._name, key, exc_info=True)
        self.add_after(key, pause_s)
