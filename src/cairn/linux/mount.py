"""Mounts: what is mounted where, binding files, propagation, and the BPF file system.

    /proc/self/mountinfo  ->  MountPoint; paths  ->  mount(2)

Standards   mount(2), mount_namespaces(7), proc_pid_mountinfo(5)
"""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from cairn.linux.system_call import MountFlag, mount, unmount

MOUNT_INFO = Path("/proc/thread-self/mountinfo")
BPF_DIRECTORY = Path("/sys/fs/bpf")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of mountinfo."""

    target: str
    """Where it is mounted."""
    kind: str
    """File system type."""
    source: str
    """What is mounted, as the kernel tells it."""
    root: str
    """The folder within the file system that forms the mount's root."""


def mounts() -> list[MountPoint]:
    """Return every mount of the calling thread's mount namespace, oldest first."""
    points = []
    for line in MOUNT_INFO.read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        points.append(MountPoint(_plain(fields[4]), tail[0], _plain(tail[1]), _plain(fields[3])))
    return points


def mount_points(below: str) -> set[str]:
    """Return the targets of all mounts on or below the folder `below`."""
    prefix = below.rstrip("/") + "/"
    return {m.target for m in mounts() if m.target == below or m.target.startswith(prefix)}


def bind(source: Path, target: Path, *, read_only: bool = False, recursive: bool = False) -> None:
    """Make `source` visible at `target`, which must exist."""
    flags = MountFlag.BIND | (MountFlag.REC if recursive else MountFlag.NONE)
    mount(str(source), str(target), "", flags)
    if read_only:
        mount("", str(target), "", MountFlag.REMOUNT | MountFlag.BIND | MountFlag.RDONLY)


def make_slave(target: str = "/") -> None:
    """Let mounts of the parent namespace come and go here, but send none back.

    Better than private for anything long-lived: a private copy of a namespace's bind mount keeps
    that namespace alive after everybody else has let it go.
    """
    mount("", target, "", MountFlag.REC | MountFlag.SLAVE)


def unmount_below(folder: Path) -> list[str]:
    """Unmount all that lies on or below `folder`, deepest first; return what was unmounted."""
    done = []
    targets = [m.target for m in mounts() if _within(m.target, str(folder))]
    for target in reversed(targets):
        with contextlib.suppress(FileNotFoundError):
            unmount(target, lazy=True)
            done.append(target)
    return done


def ensure_bpffs(folder: Path = BPF_DIRECTORY) -> bool:
    """Mount the BPF file system on `folder` unless it is there; return whether it was mounted."""
    if any(m.target == str(folder) and m.kind == "bpf" for m in mounts()):
        return False
    mount("bpf", str(folder), "bpf", MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC)
    return True


def _within(target: str, folder: str) -> bool:
    return target == folder or target.startswith(folder.rstrip("/") + "/")


def _plain(text: str) -> str:
    """Undo the octal escapes of mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
