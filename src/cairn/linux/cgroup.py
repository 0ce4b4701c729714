"""Control groups, version 2: a tree of folders that hold processes.

    path of a group  ->  processes joined, frozen, killed, counted

Invariants  `kill` and `remove` act on the whole tree below a group and are safe to repeat.
Standards   linux/Documentation/admin-guide/cgroup-v2.rst
"""

import contextlib
import errno
import os
import signal
import time
from pathlib import Path

from cairn.linux.mount import mounts


class NoUnifiedHierarchy(OSError):
    """The machine has no cgroup v2 file system mounted."""


def unified_root() -> Path:
    """Return where cgroup v2 is mounted; raises NoUnifiedHierarchy if it is nowhere."""
    for point in mounts():
        if point.kind == "cgroup2" and point.root == "/":
            return Path(point.target)
    for point in mounts():
        if point.kind == "cgroup2":
            return Path(point.target)
    raise NoUnifiedHierarchy(
        errno.ENOENT,
        "no cgroup v2 is mounted; try: mkdir -p /sys/fs/cgroup/unified && "
        "mount -t cgroup2 none /sys/fs/cgroup/unified",
    )


def create(group: Path) -> Path:
    """Create the group and its parents unless they are there; return it."""
    group.mkdir(parents=True, exist_ok=True)
    return group


def join(group: Path, pid: int = 0) -> None:
    """Move a process, by default the caller, into the group."""
    fd = os.open(group / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(pid).encode())
    finally:
        os.close(fd)


def group_of(pid: int) -> str:
    """Return the path, below the root, of the version 2 group that a process is in."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def processes(group: Path) -> set[int]:
    """Return the processes in the group and in all groups below it."""
    found: set[int] = set()
    for folder in _tree(group):
        with contextlib.suppress(FileNotFoundError, OSError):
            found |= {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    return found


def is_populated(group: Path) -> bool:
    """Return whether any live process is in the group or below it."""
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except (FileNotFoundError, OSError):
        return False


def freeze(group: Path, *, frozen: bool) -> None:
    """Stop, or let run, every process of the group and below."""
    (group / "cgroup.freeze").write_text("1" if frozen else "0")


def is_frozen(group: Path) -> bool:
    """Return whether the group has been told to freeze."""
    try:
        return (group / "cgroup.freeze").read_text().strip() == "1"
    except FileNotFoundError:
        return False


def kill(group: Path, *, deadline_s: float = 5.0) -> bool:
    """Kill every process of the group and below; return whether all are gone in time."""
    end = time.monotonic() + deadline_s
    while group.is_dir():
        _kill_once(group)
        for _ in range(20):
            if not is_populated(group):
                return True
            time.sleep(0.005)
        if time.monotonic() > end:
            return False
    return True


def remove(group: Path) -> list[Path]:
    """Remove the group and all below it; return the folders that could not be removed."""
    left = []
    for folder in sorted(_tree(group), key=lambda path: len(path.parts), reverse=True):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(folder)
    return left


def _kill_once(group: Path) -> None:
    try:
        (group / "cgroup.kill").write_text("1")
    except FileNotFoundError:  # before Linux 5.14
        for pid in processes(group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tree(group: Path) -> list[Path]:
    """Return the group and all groups below it; what vanishes meanwhile is left out."""
    return [Path(folder) for folder, _, _ in os.walk(group)]
