"""Programs run in a container beside its own: probes, hooks, `kubectl exec`.

    Running, argv  ->  a process in all namespaces and the control group of the container

Standards   nsenter(1) of util-linux 2.38 and later
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import termios
from pathlib import Path

from cairn.lab.kubelet.runtime import Running
from cairn.linux.process import is_alive

# The shell joins the control group, then becomes nsenter, which becomes the program.
_JOIN = 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"'


class NotRunning(Exception):
    """The container has no process to join."""


def command_line(running: Running, argv: list[str], environment: dict[str, str]) -> list[str]:
    """Return the command line that runs `argv` inside the container; raises NotRunning."""
    if not is_alive(running.process):
        raise NotRunning("the container is not running")
    directory = "/"
    with contextlib.suppress(OSError, ValueError):
        plan = json.loads((Path(running.folder) / "plan.json").read_text())
        environment = {**plan["environment"], **environment}
        directory = plan["directory"]
    pairs = [f"{name}={value}" for name, value in environment.items()]
    return [
        *("/bin/sh", "-c", _JOIN, "sh", running.group),
        *("nsenter", "--target", str(running.process.pid)),
        *("--mount", "--uts", "--ipc", "--net", "--pid", f"--wdns={directory}", "--"),
        *("/usr/bin/env", "-i", *pairs, *argv),
    ]


async def run(running: Running, argv: list[str], timeout_s: float) -> tuple[int, str]:
    """Run a program to its end and return its exit status and output; raises NotRunning."""
    process = await asyncio.create_subprocess_exec(
        *command_line(running, argv, {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        _kill_session(process.pid)
        await process.wait()
        return 124, f"timed out after {timeout_s:g} s"
    status = process.returncode or 0
    return (status if status >= 0 else 128 - status), output.decode(errors="replace")


def _kill_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class Terminal:
    """A pseudo-terminal whose other end a program holds."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program the size of the user's window."""
        with contextlib.suppress(OSError):
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the terminal as a pair of streams."""
        return await pipe_streams(self._master, os.dup(self._master))


async def pipe_streams(
    readable: int, writable: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return streams over two file descriptors, which they then own."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    source = os.fdopen(readable, "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    target = os.fdopen(writable, "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), target
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


async def start_on_terminal(
    running: Running, argv: list[str], terminal: Terminal
) -> asyncio.subprocess.Process:
    """Start a program whose controlling terminal is `terminal`."""
    process = await asyncio.create_subprocess_exec(
        # A session of its own inside: shells look for their process group by the pod's numbers.
        *command_line(running, ["setsid", "--ctty", *argv], {"TERM": "xterm"}),
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        start_new_session=True,
    )
    os.close(terminal.slave)
    return process
