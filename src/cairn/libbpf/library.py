"""libbpf.so.1 by ctypes: open an object file, set it up, load it.

    object file  ->  struct bpf_object *, its maps and programs

Invariants  What libbpf prints at warning level is collected, never shown as it stands.
Standards   libbpf 1.1 and later: tools/lib/bpf/libbpf.h
Not here    which maps are reused (object.py)
"""

import ctypes
import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cairn.libbpf.error import BpfError

_WARN = 0
_LINE_BYTES = 1 << 24  # a verifier log comes as one line, and its end matters
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_LOCK = threading.Lock()
_SAID: list[str] = []


def _collect(level: int, form: bytes, arguments: int) -> int:
    if level <= _WARN:
        line = ctypes.create_string_buffer(_LINE_BYTES)
        _LIBC.vsnprintf(line, _LINE_BYTES, form, ctypes.c_void_p(arguments))
        _SAID.append(line.value.decode(errors="replace"))
    return 0


_LIBC = ctypes.CDLL(None)
_KEEP = _PRINT(_collect)  # libbpf holds the pointer: the object must outlive every call
_POINTERS = (
    "bpf_object__open_file",
    "bpf_object__find_map_by_name",
    "bpf_object__next_map",
    "bpf_object__next_program",
    "bpf_map__name",
    "bpf_program__name",
    "bpf_program__section_name",
)
_NOT_A_CAUSE = ("processed ", "libbpf: ", "verification time", "stack depth")
_loaded: list[ctypes.CDLL] = []


def library() -> ctypes.CDLL:
    """Return libbpf, loaded once; raises BpfError if the system has none."""
    if not _loaded:
        try:
            lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
        except OSError as error:
            raise BpfError("libbpf.so.1 is not installed: apt install libbpf1") from error
        for name in _POINTERS:
            getattr(lib, name).restype = ctypes.c_void_p
        lib.libbpf_set_print.restype = ctypes.c_void_p
        lib.libbpf_set_print(_KEEP)
        _loaded.append(lib)
    return _loaded[0]


def checked(what: str, function: Callable[..., Any], *arguments: Any) -> int:
    """Return the result of a libbpf function that reports errors as negative or null.

    Raises BpfError with the line of libbpf's output that says why.
    """
    with _LOCK:
        _SAID.clear()
        ctypes.set_errno(0)
        result = function(*arguments)
        said = "".join(_SAID)
    if result is None or result < 0:
        code = ctypes.get_errno() or (-result if result else errno.EINVAL)
        raise BpfError(what, code, detail=summary(said, code))
    return int(result)


def summary(said: str, code: int) -> str:
    """Return the one line of libbpf's output that tells the cause, "" if none does.

    In a verifier log that is the last line before the statistics.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    begin = next((i for i, line in enumerate(lines) if "BEGIN PROG LOAD LOG" in line), None)
    if begin is not None:
        end = next((i for i, line in enumerate(lines) if "END PROG LOAD LOG" in line), len(lines))
        log = [line for line in lines[begin + 1 : end] if not line.startswith(_NOT_A_CAUSE)]
        program = lines[begin].split("'")[1] if "'" in lines[begin] else "?"
        if log:
            return f"program {program} rejected by the verifier: {log[-1]}"
    if code == errno.EPERM or not lines:
        return ""
    return lines[0].removeprefix("libbpf: ")


def text(pointer: int | None) -> str:
    """Return the C string at `pointer`."""
    return ctypes.string_at(pointer).decode() if pointer else ""


def walk(step: Callable[..., int | None], handle: int) -> Iterator[int]:
    """Walk maps or programs of an opened object by libbpf's `next` function."""
    item: int | None = None
    while True:
        item = step(ctypes.c_void_p(handle), ctypes.c_void_p(item))
        if item is None:
            return
        yield item


def open_file(path: Path) -> int:
    """Return the handle of the object file at `path`, opened and not yet loaded."""
    if not path.is_file():
        raise BpfError(f"{path}: no such object file: build it with `make bpf`")
    function = library().bpf_object__open_file
    return checked(f"open {path.name}", function, str(path).encode(), None)
