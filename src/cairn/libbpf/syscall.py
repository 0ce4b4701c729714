"""The bpf(2) system call: commands, attributes, constants.

    (command, packed attributes)  ->  result or BpfError

Units       sizes in octets; file descriptors are plain integers that the caller closes
Standards   linux/include/uapi/linux/bpf.h
Not here    parsing of ELF objects (library.py)
"""

import ctypes
import platform
import struct
from enum import IntEnum, IntFlag
from pathlib import Path

from cairn.libbpf.error import BpfError

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_ATTR_BYTES = 128
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


class Command(IntEnum):
    """Commands of bpf(2)."""

    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    MAP_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    MAP_FREEZE = 22
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29
    ITER_CREATE = 33
    LINK_DETACH = 34


class MapType(IntEnum):
    """Map types that Cairn creates or meets."""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    RINGBUF = 27


class AttachType(IntEnum):
    """Hooks a link attaches to."""

    CGROUP_CONNECT4 = 10
    CGROUP_CONNECT6 = 11
    CGROUP_SENDMSG4 = 14
    CGROUP_SENDMSG6 = 15
    CGROUP_RECVMSG4 = 19
    CGROUP_RECVMSG6 = 20
    TRACE_RAW_TP = 23
    TRACE_ITER = 28
    CGROUP_GETPEERNAME4 = 29
    CGROUP_GETPEERNAME6 = 30
    XDP = 37
    TCX_INGRESS = 46
    TCX_EGRESS = 47


class UpdateFlag(IntFlag):
    """When an update may write."""

    ANY = 0
    CREATE_ONLY = 1
    EXISTING_ONLY = 2


def call(command: Command, attributes: bytes, what: str) -> int:
    """Return the call's result; raises BpfError naming `what`."""
    return call_on(command, ctypes.create_string_buffer(attributes, _ATTR_BYTES), what)


def call_on(command: Command, attributes: "ctypes.Array[ctypes.c_char]", what: str) -> int:
    """As `call`, on a buffer in which the kernel's own writes can be read, also after an error."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise BpfError(f"{what}: Cairn does not know bpf(2) on {platform.machine()}")
    result = int(_LIBC.syscall(number, int(command), ctypes.byref(attributes), len(attributes)))
    if result < 0:
        raise BpfError(what, ctypes.get_errno())
    return result


def address(buffer: "ctypes.Array[ctypes.c_char]") -> int:
    """Return where a ctypes buffer lies in memory."""
    return ctypes.addressof(buffer)


def object_pin(fd: int, path: Path) -> None:
    """Pin the map, program or link `fd` at `path`, replacing what is pinned there."""
    staging = path.with_name(path.name + "-new")  # bpffs takes no dots
    staging.unlink(missing_ok=True)
    name = ctypes.create_string_buffer(str(staging).encode())
    call(Command.OBJ_PIN, struct.pack("<QI", address(name), fd), f"pin {path}")
    staging.replace(path)


def object_get(path: Path) -> int:
    """Return a new descriptor of what is pinned at `path`."""
    name = ctypes.create_string_buffer(str(path).encode())
    return call(Command.OBJ_GET, struct.pack("<QII", address(name), 0, 0), f"open {path}")


def object_info(fd: int, size: int, what: str) -> bytes:
    """Return the kernel's info structure of the map, program or link `fd`."""
    info = ctypes.create_string_buffer(size)
    call(Command.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, size, address(info)), what)
    return info.raw
