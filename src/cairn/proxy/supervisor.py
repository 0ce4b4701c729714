"""Starts Envoy, waits for its end, starts it again; keeps its log short meanwhile.

bootstrap.json, access.log  ->  a child process, POST /reopen_logs

Invariants  A tiny process: the standard library, and no loop of events.
"""

import contextlib
import functools
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cairn.apply.proxy_program import NoEnvoy, find_envoy, serve_command
from cairn.desired.proxy import ACCESS_LOG, ADMIN, BOOTSTRAP, LISTENER_PORTS
from cairn.drive.metrics_text import Family, common
from cairn.linux import sysctl
from cairn.linux.system_call import end_with_parent
from cairn.proxy.metrics import envoy_families

LOOK_S = 0.2
"""Pause between two looks for the file that says that Envoy is needed, and its log's size."""
SHORT_LIFE_S = 2.0
"""An Envoy that ends sooner cannot run: the next one waits longer."""
PAUSES_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
ABSENT_S = 30.0
"""How long to wait before looking again for a program that is not installed."""
END_S = 3.0
"""How long Envoy may take to end."""
LOG_BYTES = 16 << 20
MOST_WATCHES = 2 * len(LISTENER_PORTS)
_WATCHES = "fs.inotify.max_user_instances"


class Supervisor:
    """One Envoy, whenever it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stopping = False
        self._failures = 0
        self._starts = 0
        self._running = False

    def families(self) -> Iterator[Family]:
        """Yield what the page of metrics holds; called from its thread."""
        yield from common("proxy")
        yield from envoy_families(
            self._directory, needed=self._needed(), running=self._running, starts=self._starts
        )

    def stop(self) -> None:
        """Have `run` return soon."""
        self._stopping = True

    def run(self) -> None:
        """Keep Envoy running whenever it is needed, until told to stop."""
        _allow_many_files()
        while not self._stopping:
            if not self._needed():
                time.sleep(LOOK_S)
                continue
            began = time.monotonic()
            try:
                status = self._run_once(find_envoy())
            except NoEnvoy as error:
                say(str(error))
                self._wait(ABSENT_S)
                continue
            if self._stopping or not self._needed():
                continue
            short = time.monotonic() - began < SHORT_LIFE_S
            self._failures = self._failures + 1 if short else 0
            pause = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
            say(f"Envoy ended ({_ending(status)}), starts again in {pause} s")
            time.sleep(pause)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end:
            time.sleep(LOOK_S)

    def _needed(self) -> bool:
        return (self._directory / BOOTSTRAP).exists()

    def _run_once(self, program: Path) -> int:
        """Run Envoy until it ends, is no longer needed, or this process is to stop."""
        command = serve_command(program, self._directory)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, preexec_fn=functools.partial(_tie, os.getpid())
        ) as envoy:
            say(f"Envoy started, process {envoy.pid}")
            self._starts += 1
            self._running = True
            ended = os.pidfd_open(envoy.pid)
            try:
                while not select.select([ended], [], [], LOOK_S)[0]:
                    if self._stopping or not self._needed():
                        _end(envoy)
                        break
                    self._trim_log()
            finally:
                self._running = False
                os.close(ended)
            return envoy.wait()

    def _trim_log(self) -> None:
        path = self._directory / ACCESS_LOG
        try:
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_name(f"{ACCESS_LOG}.1"))
                _reopen_logs(self._directory / ADMIN)
        except FileNotFoundError:
            pass
        except OSError as error:
            say(f"the access log cannot be put aside: {error}")


def _reopen_logs(admin: Path) -> None:
    request = b"POST /reopen_logs HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(END_S)
        connection.connect(str(admin))
        connection.sendall(request)
        connection.recv(4096)


def _end(envoy: "subprocess.Popen[bytes]") -> None:
    envoy.terminate()
    try:
        envoy.wait(END_S)
    except subprocess.TimeoutExpired:
        envoy.kill()


def _tie(parent: int) -> None:
    """Have the new process end with its parent, which may have ended already."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _allow_many_files() -> None:
    """Let Envoy have many sockets, and as many watches as there may be listeners.

    Envoy watches each listener's routes by an inotify of its own, and aborts if it gets none.
    """
    try:
        allowed = sysctl.read_setting(_WATCHES)
        if allowed is not None and int(allowed) < MOST_WATCHES:
            sysctl.write_settings({_WATCHES: str(MOST_WATCHES)})
    except OSError as error:
        say(f"Envoy can serve few listeners only: {error}: set it to {MOST_WATCHES}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def say(text: str) -> None:
    """Write a line for people."""
    sys.stderr.write(f"cairn proxy: {text}\n")
    sys.stderr.flush()
