"""Processes: started inside a namespace and a control group, known by more than a number.

    argv, Place  ->  a running process;  pid  ->  Identity

Invariants  A process is signalled through a pidfd after its start time was compared, so that a
            number that was given to another process is never signalled.
Standards   pidfd_open(2), pidfd_send_signal(2), proc_pid_stat(5)
"""

import contextlib
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cairn.linux import cgroup, namespace
from cairn.linux.system_call import Clone


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, distinct from any later one of the same number."""

    pid: int
    """Its number."""
    started: int
    """Its start time in clock ticks since boot."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process is to run."""

    netns: str | None = None
    """Name of its network namespace; None for the caller's."""
    group: Path | None = None
    """Its control group; None for the caller's."""


def identity_of(pid: int) -> Identity | None:
    """Return the identity of a running process; None if there is none, or a zombie only."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return Identity(pid, int(fields[19]))


def is_alive(process: Identity) -> bool:
    """Return whether that very process still runs."""
    return identity_of(process.pid) == process


def open_process(process: Identity) -> int | None:
    """Return a pidfd of that very process, readable once it ends; None if it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if is_alive(process):
        return fd
    os.close(fd)
    return None


def send_signal(process: Identity, number: signal.Signals) -> bool:
    """Signal that very process; return whether it was still there."""
    fd = open_process(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def wait_gone(process: Identity, *, deadline_s: float) -> bool:
    """Wait until that very process has ended; return whether it has."""
    fd = open_process(process)
    if fd is None:
        return True
    try:
        ready, _, _ = select.select([fd], [], [], deadline_s)
        return bool(ready)
    finally:
        os.close(fd)


def start(
    argv: Sequence[str],
    place: Place,
    *,
    environment: Mapping[str, str],
    output: BinaryIO | int,
    pass_fds: Sequence[int] = (),
    user: str | None = None,
    directory: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, its standard input empty; return it.

    Call from a process with one thread: between fork and exec the child enters its place, then
    becomes `user` with all of that account's groups.  Raises KeyError for an unknown account.
    """

    def enter_place() -> None:
        if place.group is not None:
            cgroup.join(place.group)
        if place.netns is not None:
            namespace.enter(str(namespace.netns_path(place.netns)), Clone.NEWNET)
        if account is not None:  # last: the steps before need root
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

    account = pwd.getpwnam(user) if user else None
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=directory,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=enter_place,
    )


def become_daemon(log: Path) -> bool:
    """Fork twice, leave the terminal, write to `log`; return True in the daemon, else False."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    quiet = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((quiet, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    for fd in (quiet, out):
        with contextlib.suppress(OSError):
            os.close(fd)
    return True
