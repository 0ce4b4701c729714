"""What this kernel and this process lack to run Cairn's data plane.

    kernel, privileges, mounts  ->  Missing, one sentence each

Invariants  Nothing stays attached, pinned or loaded.
Standards   linux/kernel/bpf/syscall.c
"""

import ctypes
import errno
import struct
from dataclasses import dataclass
from pathlib import Path

from cairn.libbpf.error import BpfError
from cairn.libbpf.library import library
from cairn.libbpf.syscall import AttachType, Command, MapType, call
from cairn.libbpf.table import Map, MapShape

_BPF_FS_MAGIC = 0xCAFE4A11
_SCHED_CLS = 3
_CGROUP_SOCK_ADDR = 18
_LOOPBACK = 1
_HELPERS = (
    ("bpf_redirect_neigh", _SCHED_CLS, 152, "5.10"),
    ("bpf_redirect_peer", _SCHED_CLS, 155, "5.10"),
    ("bpf_ktime_get_coarse_ns", _SCHED_CLS, 160, "5.11"),
    ("bpf_ringbuf_reserve", _SCHED_CLS, 131, "5.8"),
    ("bpf_get_netns_cookie", _CGROUP_SOCK_ADDR, 122, "5.8"),
    ("bpf_set_retval", _CGROUP_SOCK_ADDR, 187, "5.18"),
)
_MAPS = (
    ("LRU hash maps", MapType.LRU_HASH, "4.10"),
    ("LPM tries", MapType.LPM_TRIE, "4.11"),
    ("ring buffers", MapType.RINGBUF, "5.8"),
)


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing the data plane cannot do without."""

    name: str
    """What is missing."""
    sentence: str
    """Why it matters and what to do, for the user."""


def probe(pins: Path = Path("/sys/fs/bpf")) -> list[Missing]:
    """Return what is missing to run the data plane with its pins on `pins`; empty: nothing."""
    try:
        Map.create(MapShape(MapType.HASH, 4, 4, 1, 0), "cairn_probe").close()
    except BpfError as error:
        return [Missing("bpf()", f"BPF cannot be used: {error}")]
    found = []
    if not _on_bpffs(pins):
        found.append(
            Missing(
                "bpffs",
                f"no BPF file system at {pins}, so forwarding would stop with the agent: "
                f"mount -t bpf bpf {pins}",
            )
        )
    found += _features()
    if not _has_tcx():
        found.append(Missing("tcx", "the kernel has no tcx hooks: it must be Linux 6.6 or later"))
    return found


def _features() -> list[Missing]:
    lib = library()
    found = []
    for name, kind, number, since in _HELPERS:
        if lib.libbpf_probe_bpf_helper(kind, number, None) == 0:
            found.append(_too_old(name, since))
    for name, kind, since in _MAPS:
        if lib.libbpf_probe_bpf_map_type(int(kind), None) == 0:
            found.append(_too_old(name, since))
    return found


def _too_old(name: str, since: str) -> Missing:
    return Missing(name, f"the kernel has no {name}: it must be Linux {since} or later")


def _has_tcx() -> bool:
    # target_ifindex, attach_type, query_flags, attach_flags, prog_ids, count
    attributes = struct.pack("<IIIIQI", _LOOPBACK, int(AttachType.TCX_INGRESS), 0, 0, 0, 0)
    try:
        call(Command.PROG_QUERY, attributes, "query tcx")
    except BpfError as error:
        return error.code not in (errno.EINVAL, errno.EOPNOTSUPP)
    return True


def _on_bpffs(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statfs(str(path).encode(), buffer) != 0:
        return False
    return int(struct.unpack_from("<q", buffer)[0]) == _BPF_FS_MAGIC
