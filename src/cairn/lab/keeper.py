"""Keep the lab's processes running: start, watch, restart with backoff, adopt.

    Process  ->  a process in its host's namespace and control group, started again when it ends

Invariants  A process's output goes straight to its log file, so it outlives this keeper; so does
            the process, and the next keeper adopts it by pid and start time.
            When a process has ended, what it left in its own control group is killed.
Not here    The control socket (supervisor.py), what to run (inventory.py).
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cairn.lab.loopback import listen_on_loopback
from cairn.lab.process_record import (
    LISTENER,
    Life,
    Process,
    life_from_json,
    life_to_json,
    process_from_json,
    process_to_json,
)
from cairn.lab.state import Lab, LabError, write_whole
from cairn.linux import cgroup, namespace
from cairn.linux.process import Place, identity_of, open_process, send_signal, start

_FIRST_DELAY_S = 0.2
_LAST_DELAY_S = 10.0
_CALM_S = 20.0
_LOG_LIMIT_BYTES = 16 << 20
_STOP_S = 5.0


class Kept:
    """One process and the tasks around it."""

    def __init__(self, process: Process, life: Life) -> None:
        self.process = process
        self.life = life
        self.child: subprocess.Popen[bytes] | None = None
        self.ended = asyncio.Event()
        self.delay_s = _FIRST_DELAY_S
        self.timer: asyncio.TimerHandle | None = None


class Keeper:
    """All processes of one lab."""

    def __init__(self, lab: Lab, listener: "Listener", environment: Mapping[str, str]) -> None:
        self.lab = lab
        self.kept: dict[str, Kept] = {}
        self._listener = listener
        self._environment = dict(environment)
        self._record = lab.run / "processes.json"

    def load(self) -> None:
        """Take over what an earlier keeper ran: adopt what lives, start what died."""
        try:
            raw = json.loads(self._record.read_text())
        except FileNotFoundError:
            return
        for entry in raw:
            kept = Kept(process_from_json(entry["process"]), life_from_json(entry["life"]))
            self.kept[kept.process.name] = kept
            if not self._watch(kept):
                kept.life.identity = None
                if kept.life.wanted:
                    kept.life.restarts += 1
                    self._start(kept)

    def apply(self, process: Process) -> None:
        """Run this process; one of that name that differs is stopped first by the caller."""
        kept = self.kept.get(process.name)
        if kept is None:
            kept = self.kept[process.name] = Kept(process, Life())
        kept.process = process
        kept.life.wanted = True
        if kept.life.identity is None:
            kept.delay_s = _FIRST_DELAY_S
            self._start(kept)

    def find(self, name: str) -> Kept:
        """Return the process of that name; raises LabError."""
        try:
            return self.kept[name]
        except KeyError:
            known = ", ".join(sorted(self.kept)) or "none"
            raise LabError(f"no process {name!r} in lab {self.lab.name}; it has: {known}") from None

    async def stop(self, name: str) -> None:
        """Stop a process, politely first, and keep it stopped."""
        kept = self.find(name)
        kept.life.wanted = False
        if kept.timer is not None:
            kept.timer.cancel()
        identity = kept.life.identity
        if identity is not None and send_signal(identity, signal.SIGTERM):
            try:
                async with asyncio.timeout(_STOP_S):
                    await kept.ended.wait()
            except TimeoutError:
                send_signal(identity, signal.SIGKILL)
                await kept.ended.wait()
        self.save()

    async def forget(self, name: str) -> None:
        """Stop a process and strike it off the list."""
        await self.stop(name)
        del self.kept[name]
        self.save()

    def save(self) -> None:
        """Write the record of all processes."""
        rows = [
            {"process": process_to_json(kept.process), "life": life_to_json(kept.life)}
            for kept in self.kept.values()
        ]
        write_whole(self._record, json.dumps(rows, indent=1) + "\n")

    def _start(self, kept: Kept) -> None:
        process = kept.process
        group = self._group(process)
        if kept.timer is not None:  # else it would start a second one, and kill this for it
            kept.timer.cancel()
        kept.timer = None
        kept.life.since = time.time()
        try:
            if not namespace.exists(self.lab.netns(process.host)):
                raise LabError(f"the namespace of {process.host} is gone; run cairn lab up")
            if cgroup.is_frozen(self.lab.group / process.host):
                # A child would freeze on its way into the group, and we with it, waiting for it.
                raise LabError(f"{process.host} is paused; see cairn lab fault list")
            # A keeper that was killed right after a start has not recorded what it started.
            cgroup.kill(group, deadline_s=1.0)
            cgroup.create(group)
            argv, fds = self._arguments(process)
            with contextlib.closing(os.fdopen(self._open_log(process), "ab")) as log:
                kept.child = start(
                    argv,
                    Place(self.lab.netns(process.host), group),
                    environment={**self._environment, **process.environment},
                    output=log,
                    pass_fds=fds,
                    user=process.user,
                )
        except (OSError, KeyError, subprocess.SubprocessError, LabError) as error:
            self._ended(kept, f"cannot start: {error}")
            return
        kept.life.identity = identity_of(kept.child.pid)
        if not self._watch(kept):
            self._reap(kept)
        self.save()

    def _arguments(self, process: Process) -> tuple[list[str], list[int]]:
        if LISTENER not in process.argv:
            return list(process.argv), []
        fd = self._listener.fileno()
        return [str(fd) if word == LISTENER else word for word in process.argv], [fd]

    def _watch(self, kept: Kept) -> bool:
        """Wait for the end of the process in the background; return whether it is running."""
        if kept.life.identity is None:
            return False
        fd = open_process(kept.life.identity)
        if fd is None:
            return False
        kept.ended.clear()
        loop = asyncio.get_running_loop()

        def readable() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            self._reap(kept)

        loop.add_reader(fd, readable)
        return True

    def _reap(self, kept: Kept) -> None:
        status = kept.child.wait() if kept.child is not None else None
        kept.child = None
        self._ended(kept, exit_text(status))

    def _ended(self, kept: Kept, how: str) -> None:
        life = kept.life
        now = time.time()
        if now - life.since > _CALM_S:
            kept.delay_s = _FIRST_DELAY_S
        life.identity, life.last_exit, life.since = None, how, now
        cgroup.kill(self._group(kept.process), deadline_s=1.0)
        kept.ended.set()
        if life.wanted:
            sys.stderr.write(
                f"{kept.process.name}: {how}; starting again in {kept.delay_s:.1f} s\n"
            )
            kept.timer = asyncio.get_running_loop().call_later(kept.delay_s, self._again, kept)
            kept.delay_s = min(kept.delay_s * 2, _LAST_DELAY_S)
        self.save()

    def _again(self, kept: Kept) -> None:
        kept.life.restarts += 1
        self._start(kept)

    def _group(self, process: Process) -> Path:
        return self.lab.group / process.host / "system" / process.name

    def _open_log(self, process: Process) -> int:
        path = self.lab.logs / f"{process.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


class Listener:
    """The API server's socket on the machine's own loopback, bound when first needed.

    The keeper holds it while the server restarts: clients wait instead of being refused.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._fd: int | None = None

    def fileno(self) -> int:
        """Return the listening socket's file descriptor; raises LabError if the port is taken."""
        if self._fd is None:
            self._fd = listen_on_loopback(self._port)
        return self._fd


def exit_text(status: int | None) -> str:
    """Return what people call an exit status, negative for a signal, None for unknown."""
    if status is None:
        return "ended (status unknown)"
    if status < 0:
        return f"signal {signal.Signals(-status).name.removeprefix('SIG')}"
    return f"exit {status}"
