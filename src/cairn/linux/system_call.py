"""The few calls of the C library that the standard library does not offer.

    integers, paths  ->  None, or OSError with errno and the path

Invariants  Every call raises OSError on failure; none is retried.
Standards   setns(2), unshare(2), mount(2), umount2(2), prctl(2)
"""

import ctypes
import enum
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class Clone(enum.IntFlag):
    """Kinds of namespace, as setns and unshare name them."""

    NEWNS = 0x00020000
    NEWCGROUP = 0x02000000
    NEWUTS = 0x04000000
    NEWIPC = 0x08000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000


class MountFlag(enum.IntFlag):
    """Flags of mount(2) that are used here."""

    NONE = 0
    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    REMOUNT = 0x20
    BIND = 0x1000
    REC = 0x4000
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def setns(fd: int, kinds: Clone) -> None:
    """Move the calling thread into the namespace (or, of a pidfd, the namespaces) behind `fd`."""
    _checked(_LIBC.setns(fd, int(kinds)), f"setns {kinds.name}")


def unshare(kinds: Clone) -> None:
    """Give the calling thread new namespaces of the kinds named."""
    _checked(_LIBC.unshare(int(kinds)), f"unshare {kinds.name}")


def end_with_parent(number: int) -> None:
    """Have the kernel send this signal to the calling process when its parent ends."""
    _checked(_LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0), "prctl")


def mount(source: str, target: str, kind: str, flags: MountFlag, options: str = "") -> None:
    """Mount `source` of file system `kind` on `target`; empty strings stand for no value."""
    _checked(
        _LIBC.mount(
            os.fsencode(source) or None,
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(int(flags)),
            options.encode() or None,
        ),
        target,
    )


def unmount(target: str, *, lazy: bool) -> None:
    """Unmount `target`; lazily, it goes once nobody uses it any more."""
    _checked(_LIBC.umount2(os.fsencode(target), 2 if lazy else 0), target)
