"""BPF links: a program at its hook, kept by a pin, exchanged in place.

    (program, hook)  ->  Link

A link outlives the process only if it is pinned. A pinned link does not hold its device: when
that is gone the link is dead, `update` says so, and `attach` makes a new one.

Invariants  The interface index is resolved in the calling thread's network namespace: join it
            first, then look the index up, then attach, in one function.
Standards   linux/kernel/bpf/tcx.c, linux/kernel/bpf/cgroup.c
"""

import errno
import os
import struct
from pathlib import Path

from cairn.libbpf.error import BpfError
from cairn.libbpf.program import Program
from cairn.libbpf.syscall import (
    AttachType,
    Command,
    call,
    object_get,
    object_info,
    object_pin,
)

_GONE = frozenset({errno.ENOLINK, errno.ENODEV})
_INFO_BYTES = 64
_PROGRAM_INFO_BYTES, _NAME_AT = 80, 64
_ITER_BYTES = 1 << 16
_RAW_TRACEPOINT = 1


class Link:
    """An open link; owns its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls, program: Program, hook: AttachType, target: int, *, flags: int = 0) -> "Link":
        """Attach `program`; `target` is an interface index, or a cgroup's descriptor."""
        attributes = struct.pack("<IIII", program.fd, target, int(hook), flags)
        what = f"attach {program.name} to {hook.name.lower()}"
        return cls(call(Command.LINK_CREATE, attributes, what))

    @classmethod
    def open_pinned(cls, path: Path) -> "Link":
        """Return the link pinned at `path`."""
        return cls(object_get(path))

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back: detaches, unless the link is pinned."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def update(self, program: Program) -> bool:
        """Put `program` in the place of the one that runs, losing no packet.

        Returns False if the link's device or cgroup is gone.
        """
        attributes = struct.pack("<IIII", self.fd, program.fd, 0, 0)
        try:
            call(Command.LINK_UPDATE, attributes, f"update link to {program.name}")
        except BpfError as error:
            if error.code in _GONE:
                return False
            raise
        return True

    def detach(self) -> None:
        """Take the program from its hook now; to close the last descriptor does it in a while."""
        try:
            call(Command.LINK_DETACH, struct.pack("<I", self.fd), "detach link")
        except BpfError as error:
            if error.code not in _GONE:
                raise

    def pin(self, path: Path) -> None:
        """Pin the link at `path`, replacing what is pinned there."""
        object_pin(self.fd, path)

    def iterate(self) -> bytes:
        """Run an iterator's program over all that there is; return what it wrote.

        Sockets are those of the calling thread's network namespace.
        """
        attributes = struct.pack("<II", self.fd, 0)
        reader = call(Command.ITER_CREATE, attributes, "run iterator")
        with open(reader, "rb", buffering=0) as file:
            pieces = []
            while piece := file.read(_ITER_BYTES):
                pieces.append(piece)
        return b"".join(pieces)

    @property
    def program_id(self) -> int:
        """The kernel's id of the program that runs."""
        return int(struct.unpack_from("<III", self._info())[2])

    @property
    def program_name(self) -> str:
        """The name of the program that runs, as the kernel keeps it: cut to 15 characters."""
        attributes = struct.pack("<II", self.program_id, 0)
        fd = call(Command.PROG_GET_FD_BY_ID, attributes, "open the program of a link")
        try:
            info = object_info(fd, _PROGRAM_INFO_BYTES, "read program info")
        finally:
            os.close(fd)
        return info[_NAME_AT : _NAME_AT + 16].partition(b"\0")[0].decode(errors="replace")

    @property
    def target(self) -> int:
        """The interface index of a tcx or XDP link, 0 if it is gone; the id of a cgroup; of a
        tracepoint, which never goes, 1.
        """
        if self._kind() == _RAW_TRACEPOINT:
            return 1
        form = "<I" if self._kind() in (6, 11) else "<Q"
        return int(struct.unpack_from(form, self._info(), 16)[0])

    def _kind(self) -> int:
        return int(struct.unpack_from("<I", self._info())[0])

    def _info(self) -> bytes:
        return object_info(self.fd, _INFO_BYTES, "read link info")


def detach_pinned(pin: Path) -> None:
    """Take the program of a pinned link from its hook, and the pin away; no pin is no error."""
    if pin.exists():
        with Link.open_pinned(pin) as link:
            link.detach()
        pin.unlink()


def attach(
    program: Program, hook: AttachType, target: int, pin: Path | None = None, *, flags: int = 0
) -> Link:
    """Return a link that runs `program` at the hook: the pinned one updated, or a new one.

    A pinned link that sits on another interface than `target` gives way to a new one, which
    `flags` are for.
    """
    if pin is not None and pin.exists():
        old = Link.open_pinned(pin)
        if _same_place(old, hook, target) and old.update(program):
            return old
        pin.unlink()
        old.close()
    link = Link.create(program, hook, target, flags=flags)
    if pin is not None:
        pin.parent.mkdir(parents=True, exist_ok=True)
        link.pin(pin)
    return link


def attach_tracepoint(program: Program, pin: Path | None = None) -> Link:
    """Return a link that runs `program` at the tracepoint that it was made for.

    The kernel exchanges no program there: the pinned link goes first, so that never two tell the
    same; what happens meanwhile goes untold.
    """
    if pin is not None and pin.exists():
        with Link.open_pinned(pin):  # its last descriptor ends it now; the pin alone in a while
            pin.unlink()
    link = Link.create(program, AttachType.TRACE_RAW_TP, 0)
    if pin is not None:
        pin.parent.mkdir(parents=True, exist_ok=True)
        link.pin(pin)
    return link


def _same_place(link: Link, hook: AttachType, target: int) -> bool:
    if hook in (AttachType.XDP, AttachType.TCX_INGRESS, AttachType.TCX_EGRESS):
        return link.target == target
    return link.target == os.fstat(target).st_ino
