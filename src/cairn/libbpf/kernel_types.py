"""Types of the running kernel, as its BTF has them.

    name of an enum  ->  number: name

Invariants  Nothing is kept: the BTF is let go again.
Standards   linux/Documentation/bpf/btf.rst: struct btf_type, struct btf_enum
Not here    Fields of structures: libbpf finds their places when it loads a program (CO-RE).
"""

import ctypes
import struct

from cairn.libbpf.error import BpfError
from cairn.libbpf.library import library, text

_KIND_ENUM = 6
_TYPE_BYTES = 12
_INFO_AT = 4
_MEMBER = struct.Struct("=Ii")
_MANY = 0xFFFF


def kernel_enum(name: str) -> dict[int, str]:
    """Return the values of an enum of 32 bits; raises BpfError if the kernel does not tell."""
    lib = library()
    for function in ("btf__load_vmlinux_btf", "btf__type_by_id", "btf__name_by_offset"):
        getattr(lib, function).restype = ctypes.c_void_p
    types = lib.btf__load_vmlinux_btf()
    if not types:
        raise BpfError("the kernel does not tell its types (/sys/kernel/btf/vmlinux)")
    try:
        number = lib.btf__find_by_name_kind(ctypes.c_void_p(types), name.encode(), _KIND_ENUM)
        if number < 0:
            raise BpfError(f"the kernel has no enum {name}")
        return _members(types, number)
    finally:
        lib.btf__free(ctypes.c_void_p(types))


def _members(types: int, number: int) -> dict[int, str]:
    lib = library()
    at = lib.btf__type_by_id(ctypes.c_void_p(types), ctypes.c_uint32(number))
    (info,) = struct.unpack("=I", ctypes.string_at(at + _INFO_AT, 4))
    members = ctypes.string_at(at + _TYPE_BYTES, (info & _MANY) * _MEMBER.size)
    return {
        value: text(lib.btf__name_by_offset(ctypes.c_void_p(types), ctypes.c_uint32(offset)))
        for offset, value in _MEMBER.iter_unpack(members)
    }
