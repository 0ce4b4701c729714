"""Network namespaces by name, as `ip netns` keeps them, and joining any namespace.

    name  ->  /run/netns/NAME, a bind mount of the namespace

Invariants  One thread is in one namespace: a function that joins one runs in a thread of its own
            (`call_in`), or in a process that is about to exec (`enter`).
Standards   setns(2), namespaces(7), ip-netns(8)
Not here    Links and addresses (cairn.netlink).
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

from cairn.linux.mount import mount_points
from cairn.linux.system_call import Clone, MountFlag, mount, setns, unmount, unshare

NETNS_DIRECTORY = Path("/run/netns")

P = ParamSpec("P")
R = TypeVar("R")


class _Outcome(Generic[R]):
    """What a function in a thread came to."""

    def __init__(self) -> None:
        self.value: list[R] = []
        self.error: BaseException | None = None


def netns_path(name: str) -> Path:
    """Return the file that stands for the network namespace `name`."""
    return NETNS_DIRECTORY / name


def exists(name: str) -> bool:
    """Return whether `name` stands for a network namespace (and is no leftover file)."""
    return str(netns_path(name)) in mount_points(str(NETNS_DIRECTORY))


def names(prefix: str = "") -> list[str]:
    """Return the names, leftover files included, that begin with `prefix`, sorted."""
    if not NETNS_DIRECTORY.is_dir():
        return []
    return sorted(entry for entry in os.listdir(NETNS_DIRECTORY) if entry.startswith(prefix))


def inode(name: str) -> int:
    """Return the inode number of the namespace, which is its identity in the kernel's records."""
    return netns_path(name).stat().st_ino


def create(name: str) -> None:
    """Create the network namespace `name`; raises FileExistsError if the name is taken."""
    _share_directory()
    path = netns_path(name)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o000))
    try:
        _in_thread(_unshare_and_bind, str(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def delete(name: str) -> bool:
    """Remove the name of a namespace; returns whether it was there.

    The namespace itself goes once no process, socket or other mount holds it.
    """
    path = netns_path(name)
    with contextlib.suppress(OSError):
        unmount(str(path), lazy=True)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def call_in(name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` in a thread inside the network namespace `name`; return its value.

    Sockets that it opens stay in that namespace and may be used from any thread afterwards.
    """
    return call_at(str(netns_path(name)), function, *args, **kwargs)


def call_at(path: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` in a thread inside the network namespace that the file `path` stands for."""

    def body() -> R:
        enter(path, Clone.NEWNET)
        return function(*args, **kwargs)

    return _in_thread(body)


def enter(path: str, kinds: Clone) -> None:
    """Move the calling thread into the namespace that the file `path` stands for."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, kinds)
    finally:
        os.close(fd)


def enter_process(pid: int, kinds: Clone) -> None:
    """Move the calling thread into the namespaces, of the kinds named, that process `pid` is in."""
    fd = os.pidfd_open(pid)
    try:
        setns(fd, kinds)
    finally:
        os.close(fd)


@contextlib.contextmanager
def temporary(name: str) -> Iterator[str]:
    """Create a network namespace, yield its name, and remove it."""
    create(name)
    try:
        yield name
    finally:
        delete(name)


def _in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    outcome: _Outcome[R] = _Outcome()

    def run() -> None:
        try:
            outcome.value.append(function(*args, **kwargs))
        except BaseException as error:
            outcome.error = error

    thread = threading.Thread(target=run, name="in-namespace")
    thread.start()
    thread.join()
    if outcome.error is not None:
        raise outcome.error
    return outcome.value[0]


def _unshare_and_bind(path: str) -> None:
    unshare(Clone.NEWNET)
    mount(f"/proc/self/task/{threading.get_native_id()}/ns/net", path, "", MountFlag.BIND)


def _share_directory() -> None:
    """Make the directory a shared mount, so that names come and go in every mount namespace."""
    NETNS_DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    where = str(NETNS_DIRECTORY)
    try:
        mount("", where, "none", MountFlag.SHARED | MountFlag.REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        mount(where, where, "none", MountFlag.BIND | MountFlag.REC)
        mount("", where, "none", MountFlag.SHARED | MountFlag.REC)
