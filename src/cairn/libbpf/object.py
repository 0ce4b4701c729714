"""A BPF object: its programs and maps, loaded, with maps kept across versions.

    object file, sizes, configuration, pins  ->  Object

A map that is pinned already is taken over when it holds the same entries; when only its size
differs its entries are copied to a new one, which takes its place; when its type, key or value
differ it is replaced, empty. What was done is in `changes`. Programs that run meanwhile go on
with the old map until their links are updated.

Invariants  After `load_object` every map of the object is pinned in `pins`, if given.
Standards   libbpf: bpf_map__reuse_fd, bpf_map__set_max_entries
Not here    attaching (link.py); ELF and verifier errors (library.py)
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cairn.libbpf.error import BpfError
from cairn.libbpf.library import checked, library, open_file, text, walk
from cairn.libbpf.program import Program
from cairn.libbpf.syscall import MapType
from cairn.libbpf.table import Map, MapShape

_VOLATILE = frozenset({MapType.RINGBUF, MapType.PERCPU_ARRAY, MapType.ARRAY})


@dataclass(frozen=True, slots=True)
class MapChange:
    """A pinned map that gave way to a new one."""

    name: str
    """The map."""
    reason: str
    """What differed, and what became of its entries."""


class Object:
    """A loaded object; closing it leaves alone what is pinned or attached."""

    def __init__(
        self, maps: dict[str, Map], programs: dict[str, Program], changes: tuple[MapChange, ...]
    ) -> None:
        self.maps = maps
        self.programs = programs
        self.changes = changes

    def __enter__(self) -> "Object":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all descriptors back."""
        for table in self.maps.values():
            table.close()
        for program in self.programs.values():
            program.close()


def load_object(
    path: Path,
    *,
    sizes: Mapping[str, int] | None = None,
    config: Mapping[str, bytes] | None = None,
    pins: Path | None = None,
    reuse: Mapping[str, Map] | None = None,
) -> Object:
    """Load the object file at `path`.

    `sizes`: max_entries by map name, names that the object lacks are ignored. `config`: the
    whole content of a read-only section by its name (".rodata.config"). `pins`: folder on a
    bpffs. `reuse`: maps of this process to share, by name.

    Raises  BpfError: the file, the step and the verifier's or kernel's reason, in one line.
    """
    lib = library()
    handle = open_file(path)
    stale: dict[str, Map] = {}
    try:
        for name, content in (config or {}).items():
            _set_section(handle, path, name, content)
        for pointer in walk(lib.bpf_object__next_map, handle):
            name = text(lib.bpf_map__name(ctypes.c_void_p(pointer)))
            if "." in name:
                continue
            if sizes and name in sizes:
                size = ctypes.c_uint32(sizes[name])
                checked(f"size map {name}", lib.bpf_map__set_max_entries, _p(pointer), size)
            _share(pointer, name, pins, reuse or {}, stale)
        checked(f"load {path.name}", lib.bpf_object__load, _p(handle))
        maps, programs = _maps_of(handle), _programs_of(handle)
        changes = tuple(_migrate(old, maps[name], name) for name, old in stale.items())
        if pins is not None:
            _pin_all(maps, pins, stale)
        return Object(maps, programs, changes)
    finally:
        lib.bpf_object__close(_p(handle))
        for old in stale.values():
            old.close()


def _p(pointer: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(pointer)


def _set_section(handle: int, path: Path, name: str, content: bytes) -> None:
    lib = library()
    pointer = lib.bpf_object__find_map_by_name(_p(handle), name.encode())
    if pointer is None:
        raise BpfError(f"{path.name}: no section {name}")
    expected = lib.bpf_map__value_size(_p(pointer))
    if len(content) != expected:
        raise BpfError(f"{path.name}: {name} takes {expected} octets, given {len(content)}")
    size = ctypes.c_size_t(len(content))
    checked(f"set {name}", lib.bpf_map__set_initial_value, _p(pointer), content, size)


def _share(
    pointer: int, name: str, pins: Path | None, reuse: Mapping[str, Map], stale: dict[str, Map]
) -> None:
    """Make the object use a map that exists, or note a pinned one that cannot be used."""
    lib = library()
    if name in reuse:
        checked(f"reuse map {name}", lib.bpf_map__reuse_fd, _p(pointer), reuse[name].fd)
        return
    if pins is None or not (pins / name).exists():
        return
    pinned = Map.open_pinned(pins / name)
    if pinned.shape == _shape_of(pointer):
        checked(f"reuse map {name}", lib.bpf_map__reuse_fd, _p(pointer), pinned.fd)
        pinned.close()  # libbpf holds a descriptor of its own
    else:
        stale[name] = pinned


def _shape_of(pointer: int) -> MapShape:
    """Return what the object declares, with the size that was set."""
    lib = library()
    return MapShape(
        lib.bpf_map__type(_p(pointer)),
        lib.bpf_map__key_size(_p(pointer)),
        lib.bpf_map__value_size(_p(pointer)),
        lib.bpf_map__max_entries(_p(pointer)),
        lib.bpf_map__map_flags(_p(pointer)),
    )


def _migrate(old: Map, new: Map, name: str) -> MapChange:
    if not old.shape.holds_same(new.shape):
        return MapChange(name, f"{old.shape} became {new.shape}; its entries are gone")
    grown = f"size {old.shape.max_entries} became {new.shape.max_entries}"
    if old.shape.type in _VOLATILE:
        return MapChange(name, f"{grown}; it starts empty")
    try:
        return MapChange(name, f"{grown}; {old.copy_to(new)} entries copied")
    except BpfError as error:
        if error.code != errno.E2BIG:
            raise
        detail = f"it holds more entries than would fit into {new.shape.max_entries}: choose more"
        raise BpfError(f"map {name}", error.code, detail=detail) from error


def _maps_of(handle: int) -> dict[str, Map]:
    lib = library()
    found: dict[str, Map] = {}
    for pointer in walk(lib.bpf_object__next_map, handle):
        name = text(lib.bpf_map__name(_p(pointer)))
        found[name] = Map(os.dup(lib.bpf_map__fd(_p(pointer))))
    return found


def _programs_of(handle: int) -> dict[str, Program]:
    lib = library()
    found: dict[str, Program] = {}
    for pointer in walk(lib.bpf_object__next_program, handle):
        name = text(lib.bpf_program__name(_p(pointer)))
        found[name] = Program(os.dup(lib.bpf_program__fd(_p(pointer))), name)
    return found


def _pin_all(maps: Mapping[str, Map], pins: Path, stale: Mapping[str, Map]) -> None:
    with contextlib.suppress(FileExistsError):
        pins.mkdir(parents=True)
    for name, item in maps.items():
        if "." not in name and (name in stale or not (pins / name).exists()):
            item.pin(pins / name)
