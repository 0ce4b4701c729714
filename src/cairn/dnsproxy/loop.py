"""The proxy's event loop: descriptors that are ready, timers that are due.

    epoll  ->  ready(events);  every TICK_S  ->  tick(now)

A loop of its own and not asyncio's: a query costs four system calls, and little should stand
between them.
"""

import select
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cairn.dnsproxy.sampled_log import SampledLog

T = TypeVar("T")

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
TICK_S = 0.25

Ready = Callable[[int], None]


class Loop:
    """Calls who waits for a descriptor; one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._stopping = False
        self._log = SampledLog()
        self.now = time.monotonic()
        """The time of this round, seconds of the monotonic clock."""

    def add(self, fd: int, ready: Ready, events: int = READ) -> None:
        """Call `ready` with the events whenever `fd` has some."""
        self._epoll.register(fd, events)
        self._ready[fd] = ready

    def change(self, fd: int, events: int) -> None:
        """Wait for other events."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Wait for it no more; before it is closed."""
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def stop(self) -> None:
        """Have `run` return."""
        self._stopping = True

    def run(self, tick: Callable[[float], None]) -> None:
        """Run until `stop`."""
        next_tick = 0.0
        while not self._stopping:
            pause_s = max(0.0, next_tick - self.now)
            events = self._epoll.poll(min(pause_s, TICK_S))
            self.now = time.monotonic()
            for fd, mask in events:
                ready = self._ready.get(fd)  # one before it may have closed it
                if ready is not None:
                    self._guard(ready, mask)
            if self.now >= next_tick:
                self._guard(tick, self.now)
                next_tick = self.now + TICK_S

    def _guard(self, call: Callable[[T], None], argument: T) -> None:
        """Call; a mistake of ours costs what was at hand, and a line in the log."""
        try:
            call(argument)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{Path(frames[-1].filename).name} line {frames[-1].lineno}"
            self._log.warn(where, "mistake at %s: %s: %s; please report it", where,
                           type(error).__name__, error, now=self.now)  # fmt: skip
