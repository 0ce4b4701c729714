"""Drives the checks of this node's backends.

    Check by backend  ->  checks carried out  ->  events of each backend's machine

Invariants  Nothing is checked but what was asked for; a check takes no longer than its timeout.
            Connections that are refused, or begun and never answered, have the backend checked at
            once: with traffic, a dead process is noticed by the first client.
Cost        a connect: 6 system calls; a request: a task and a transport; 100 backends took
            3 to 4 % of a busy core (2.6 % with connects alone)
"""

import asyncio
import contextlib
import heapq
import socket
import zlib
from collections.abc import Callable

from cairn.abi.structs import BackendCounters
from cairn.agent.health_check import check_backend, try_connect
from cairn.health.backend import BackendHealth, Begin, Ejected, Health, Passed, Restored
from cairn.health.check import Check, Result
from cairn.net import L4Address

MOST_AT_ONCE = 64
SIGNS_S = 0.2
"""How often the counters of connections are read."""
UNANSWERED = 4
"""So many connections begun and none answered are a sign."""

Verdict = Passed | Ejected | Restored
Count = Callable[[L4Address], BackendCounters | None]


class HealthMonitor:
    """The backends that one node checks."""

    def __init__(self, on_verdict: Callable[[L4Address, Verdict], None]) -> None:
        self._on_verdict = on_verdict
        self._machines: dict[L4Address, BackendHealth] = {}
        self._due: list[tuple[float, int, L4Address]] = []
        self._number = 0
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._counted: dict[L4Address, BackendCounters] = {}

    def health(self, where: L4Address) -> Health | None:
        """Return what is known of a backend; None if it is not checked."""
        machine = self._machines.get(where)
        return machine.health if machine else None

    @property
    def ejected(self) -> dict[L4Address, str]:
        """The backends that do not serve, and why."""
        return {
            where: machine.reason
            for where, machine in self._machines.items()
            if machine.health is Health.EJECTED
        }

    @property
    def undecided(self) -> bool:
        """Whether any backend was not judged yet."""
        return any(m.health is Health.UNPROVEN for m in self._machines.values())

    def set(self, where: L4Address, check: Check | None, *, ejected: str | None = None) -> None:
        """Check a backend in this way from now on, or no more."""
        machine = self._machines.get(where)
        now = asyncio.get_running_loop().time()
        if check is None:
            self._machines.pop(where, None)
            self._counted.pop(where, None)
            return
        if machine is None:
            phase = zlib.crc32(str(where).encode()) / 2**32
            machine = self._machines[where] = BackendHealth(
                check, now, phase=phase, ejected=ejected
            )
        elif machine.check != check:
            machine.change(check, now)
        else:
            return
        self._schedule(where, machine)
        self._wake.set()

    async def run(self, count: Count) -> None:
        """Check until cancelled; `count` tells what connections to a backend came to."""
        signs = asyncio.create_task(self._watch_signs(count))
        try:
            await self._run_checks()
        finally:
            for task in (signs, *self._running):
                task.cancel()
            await asyncio.gather(signs, *self._running, return_exceptions=True)

    async def _run_checks(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._due and self._due[0][0] <= now:
                deadline, _, where = heapq.heappop(self._due)
                machine = self._machines.get(where)
                if machine is not None and machine.deadline == deadline:
                    machine.expire(now)
                    self._follow(where, machine)
            pause_s = self._due[0][0] - now if self._due else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()

    def _schedule(self, where: L4Address, machine: BackendHealth) -> None:
        if machine.deadline is not None:
            self._number += 1
            heapq.heappush(self._due, (machine.deadline, self._number, where))

    def _follow(self, where: L4Address, machine: BackendHealth) -> None:
        """Do what a machine wants, and have it woken at its deadline."""
        for event in machine.events():
            if isinstance(event, Begin):
                self._begin(where, machine, event)
            else:
                self._on_verdict(where, event)
        self._schedule(where, machine)

    def _begin(self, where: L4Address, machine: BackendHealth, begin: Begin) -> None:
        pending: socket.socket | None = None
        if machine.check.http is None or not begin.whole:
            found = try_connect(where, begin)
            if isinstance(found, Result):
                machine.receive(found, asyncio.get_running_loop().time())
                self._follow(where, machine)
                return
            pending = found
        task = asyncio.create_task(self._check(where, machine, begin, pending))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _check(
        self,
        where: L4Address,
        machine: BackendHealth,
        begin: Begin,
        pending: socket.socket | None,
    ) -> None:
        async with self._slots:
            result = await check_backend(where, machine.check, begin, pending)
        if self._machines.get(where) is not machine:
            return
        before = machine.deadline
        machine.receive(result, asyncio.get_running_loop().time())
        self._follow(where, machine)
        if machine.deadline is not None and (before is None or machine.deadline < before):
            self._wake.set()

    async def _watch_signs(self, count: Count) -> None:
        while True:
            await asyncio.sleep(SIGNS_S)
            for where, machine in tuple(self._machines.items()):
                now = count(where)
                before = self._counted.get(where)
                if now is not None:
                    self._counted[where] = now
                if now and before and is_sign(before, now):
                    machine.hasten(asyncio.get_running_loop().time())
                    self._schedule(where, machine)
                    self._wake.set()


def is_sign(before: BackendCounters, now: BackendCounters) -> bool:
    """Return whether what happened between two counts says that a backend may not serve."""
    if now.refused > before.refused:
        return True
    opened, answered = now.opened - before.opened, now.answered - before.answered
    return opened >= UNANSWERED and answered == 0
