"""`cairn lab supervise`: the daemon that keeps a lab's processes running, and its socket.

    JSON lines on /run/cairn/LAB/supervise.sock  ->  processes started, stopped, told of

Invariants  One supervisor a lab: a lock on /run/cairn/LAB/supervise.lock, kept while it lives.
            Its death stops nothing; its parent starts the next one, which adopts what runs.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cairn.lab.keeper import Keeper, Listener, exit_text
from cairn.lab.process_record import life_to_json, process_from_json
from cairn.lab.state import Lab, LabError, load_lab
from cairn.linux import cgroup
from cairn.linux.process import become_daemon

_LINE_LIMIT = 1 << 20
_AGAIN_S = 0.3


class Supervisor:
    """The control socket in front of the keeper."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.keeper = Keeper(lab, Listener(lab.port), base_environment(lab))
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        self.keeper.load()
        self.lab.control_socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(
            self._serve, str(self.lab.control_socket), limit=_LINE_LIMIT
        )
        os.chmod(self.lab.control_socket, 0o600)
        async with server:
            await self._stopping.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write((json.dumps(await self._answer(line)) + "\n").encode())
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"ok": await self._do(request)}
        except LabError as error:
            return {"error": str(error)}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"bad request: {error!r}"}

    async def _do(self, request: dict[str, Any]) -> Any:
        keeper = self.keeper
        match request["op"]:
            case "status":
                return self._status()
            case "run":
                process = process_from_json(request["process"])
                known = keeper.kept.get(process.name)
                if known is not None and known.process != process:
                    await keeper.stop(process.name)
                keeper.apply(process)
            case "start":
                keeper.apply(keeper.find(request["name"]).process)
            case "stop":
                await keeper.stop(request["name"])
            case "restart":
                await keeper.stop(request["name"])
                keeper.apply(keeper.find(request["name"]).process)
            case "forget":
                await keeper.forget(request["name"])
            case other:
                raise LabError(f"no operation {other!r}")
        return None

    def _status(self) -> list[dict[str, Any]]:
        return [
            {"name": kept.process.name, "host": kept.process.host, **life_to_json(kept.life)}
            for kept in self.keeper.kept.values()
        ]


def base_environment(lab: Lab) -> dict[str, str]:
    """Return the environment of every process of the lab; the caller's own is left behind."""
    path = os.environ.get("PATH", "/usr/bin")
    for folder in ("/usr/local/sbin", "/usr/sbin", "/sbin"):
        if folder not in path.split(":"):
            path += ":" + folder
    return {
        "PATH": f"{Path(sys.executable).parent}:{path}",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "CAIRN_LAB": lab.name,
    }


def acquire_lock(lab: Lab) -> int | None:
    """Take the supervisor's lock; return its file descriptor, or None if another holds it."""
    fd = os.open(lab.run / "supervise.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    os.truncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _outlive_signals() -> None:
    """Return in a child; stay behind as its parent, and start another if a signal ends it."""
    while child := os.fork():
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            os._exit(code)
        sys.stderr.write(f"supervisor: {exit_text(code)}; starting again\n")
        time.sleep(_AGAIN_S)


def main(argv: list[str]) -> int:
    """Run the supervisor of a lab whose record exists; in the background unless told otherwise."""
    parser = argparse.ArgumentParser(prog="cairn lab supervise", description=__doc__.split("\n")[0])
    parser.add_argument("--name", required=True, help="the lab")
    parser.add_argument("--foreground", action="store_true", help="do not become a daemon")
    arguments = parser.parse_args(argv)
    lab = load_lab(arguments.name)
    lab.logs.mkdir(parents=True, exist_ok=True)
    if not arguments.foreground:
        if not become_daemon(lab.logs / "supervisor.log"):
            return 0
        cgroup.join(cgroup.create(lab.group / "supervisor"))
        _outlive_signals()
    if acquire_lock(lab) is None:
        raise LabError(f"lab {lab.name} already has a supervisor")
    cgroup.join(cgroup.create(lab.group / "supervisor"))
    asyncio.run(Supervisor(lab).run())
    return 0
