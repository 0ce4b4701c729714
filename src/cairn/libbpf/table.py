"""BPF maps: read, write, and walk them, one entry or thousands at a time.

    keys, values as octets  <->  the kernel's map

Shapes      A per-CPU map's value is the concatenation of one value per possible CPU, each padded
            to a multiple of eight octets.
Invariants  A Map owns its descriptor; `close` gives it back.
Standards   linux/include/uapi/linux/bpf.h, linux/kernel/bpf/hashtab.c
Not here    the meaning of keys and values (abi)
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cairn.libbpf.error import BpfError
from cairn.libbpf.syscall import (
    Command,
    MapType,
    UpdateFlag,
    address,
    call,
    call_on,
    object_get,
    object_info,
    object_pin,
)

_PER_CPU = frozenset({MapType.PERCPU_ARRAY, MapType.PERCPU_HASH})
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_NO_BATCH = frozenset({errno.EINVAL, errno.EOPNOTSUPP, 524})
_INFO_BYTES = 80
_BATCH = 4096
_BATCH_OCTETS = 1 << 20
_TOKEN_BYTES = 64
_BATCH_ATTR_BYTES = 128


@dataclass(frozen=True, slots=True)
class MapShape:
    """What two maps must share to hold the same entries."""

    type: int
    """Map type, `MapType` where Cairn knows it."""
    key_bytes: int
    """Octets of a key."""
    value_bytes: int
    """Octets of a value, of one CPU."""
    max_entries: int
    """How many entries fit; octets for a ring buffer."""
    flags: int
    """Creation flags."""

    def holds_same(self, other: "MapShape") -> bool:
        """Return whether entries of one can be copied to the other."""
        return (self.type, self.key_bytes, self.value_bytes, self.flags) == (
            other.type,
            other.key_bytes,
            other.value_bytes,
            other.flags,
        )


class Map:
    """An open BPF map."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        info = object_info(fd, _INFO_BYTES, "read map info")
        kind, self.id, key, value, entries, flags = struct.unpack_from("<6I", info)
        self.name = info[24:40].split(b"\0")[0].decode()
        self.shape = MapShape(kind, key, value, entries, flags)
        self.value_bytes = value
        """Octets of a value as user space reads it, all CPUs together."""
        self._batched = 0  # entries that the last batch completed
        if kind in _PER_CPU:
            self.value_bytes = (value + 7) // 8 * 8 * possible_cpus()

    @classmethod
    def create(cls, shape: MapShape, name: str) -> "Map":
        """Return a new, empty map; not for maps of maps."""
        attributes = struct.pack(
            "<5I2I16s",
            shape.type,
            shape.key_bytes,
            shape.value_bytes,
            shape.max_entries,
            shape.flags,
            0,
            0,
            name[:15].encode(),
        )
        return cls(call(Command.MAP_CREATE, attributes, f"create map {name}"))

    @classmethod
    def open_pinned(cls, path: Path) -> "Map":
        """Return the map pinned at `path`."""
        return cls(object_get(path))

    @classmethod
    def open_id(cls, number: int) -> "Map":
        """Return the map with the kernel's id `number`."""
        attributes = struct.pack("<I", number)
        return cls(call(Command.MAP_GET_FD_BY_ID, attributes, f"open map id {number}"))

    def __enter__(self) -> "Map":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def pin(self, path: Path) -> None:
        """Pin the map at `path`, replacing what is pinned there."""
        object_pin(self.fd, path)

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value at `key`, None if there is none.

        A map of maps gives the inner map's id (see `open_id`), not a descriptor.
        """
        value = ctypes.create_string_buffer(self.value_bytes)
        try:
            self._one(Command.MAP_LOOKUP, key, value, 0)
        except BpfError as error:
            if error.code == errno.ENOENT:
                return None
            raise
        return value.raw

    def update(self, key: bytes, value: bytes, flag: UpdateFlag = UpdateFlag.ANY) -> None:
        """Write `value` at `key`; in a map of maps it is a descriptor's four octets."""
        if len(value) != self.value_bytes:
            raise BpfError(f"map {self.name}: value of {len(value)} octets, not {self.value_bytes}")
        self._one(Command.MAP_UPDATE, key, ctypes.create_string_buffer(value, len(value)), flag)

    def update_inner(self, key: bytes, inner: "Map") -> None:
        """Put `inner` at `key` of this map of maps, in place of any before it."""
        self.update(key, struct.pack("<I", inner.fd))

    def delete(self, key: bytes) -> bool:
        """Remove the entry; returns whether there was one."""
        try:
            self._one(Command.MAP_DELETE, key, None, 0)
        except BpfError as error:
            if error.code == errno.ENOENT:
                return False
            raise
        return True

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Walk the entries; those that change meanwhile may be met or missed."""
        key_bytes, value_bytes = self.shape.key_bytes, self.value_bytes
        for keys, values, count in self.batches():
            for index in range(count):
                yield (
                    keys[index * key_bytes : (index + 1) * key_bytes],
                    values[index * value_bytes : (index + 1) * value_bytes],
                )

    def batches(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Walk the entries in large pieces: keys end to end, values end to end, how many."""
        size = max(1, min(_BATCH, _BATCH_OCTETS // max(1, self.value_bytes)))
        token, following = b"", ctypes.create_string_buffer(_TOKEN_BYTES)
        while True:
            keys = ctypes.create_string_buffer(size * self.shape.key_bytes)
            values = ctypes.create_string_buffer(size * self.value_bytes)
            start = ctypes.create_string_buffer(token, _TOKEN_BYTES) if token else None
            try:
                count, more = self._lookup_batch(start, following, keys, values, size)
            except BpfError as error:
                if error.code in _NO_BATCH and not token:
                    yield from self._walk()
                    return
                if error.code != errno.ENOSPC or size > self.shape.max_entries:
                    raise
                size *= 4  # a bucket of the hash holds more entries than one batch
                continue
            if count:
                octets = count * self.shape.key_bytes
                yield keys.raw[:octets], values.raw[: count * self.value_bytes], count
            if not more:
                return
            token = following.raw

    def update_batch(self, keys: bytes, values: bytes) -> None:
        """Write many entries; `keys` and `values` hold them end to end."""
        count = len(keys) // self.shape.key_bytes
        if len(keys) % self.shape.key_bytes or len(values) != count * self.value_bytes:
            raise BpfError(f"map {self.name}: {len(keys)} and {len(values)} octets do not pair")
        if count:
            self._batch(Command.MAP_UPDATE_BATCH, keys, values, count)

    def delete_batch(self, keys: bytes) -> int:
        """Remove many entries; returns how many were there. An absent one is no error."""
        step = self.shape.key_bytes
        removed = at = 0
        while at < len(keys):
            count = (len(keys) - at) // step
            try:
                self._batch(Command.MAP_DELETE_BATCH, keys[at:], b"", count)
                return removed + count
            except BpfError as error:
                if error.code in _NO_BATCH:
                    rest = range(at, len(keys), step)
                    return removed + sum(self.delete(keys[i : i + step]) for i in rest)
                if error.code != errno.ENOENT:
                    raise
                done = self._batched
            removed += done
            at += (done + 1) * step  # the batch stopped at an absent key: go on after it
        return removed

    def copy_to(self, other: "Map") -> int:
        """Copy every entry to a map that holds the same; returns how many."""
        total = 0
        for keys, values, count in self.batches():
            if self.shape.type in _OF_MAPS:
                for index in range(count):
                    number = struct.unpack_from("<I", values, index * 4)[0]
                    with Map.open_id(number) as inner:
                        step = self.shape.key_bytes
                        other.update_inner(keys[index * step : (index + 1) * step], inner)
            else:
                other.update_batch(keys, values)
            total += count
        return total

    def _one(
        self,
        command: Command,
        key: bytes,
        value: "ctypes.Array[ctypes.c_char] | None",
        flags: int,
    ) -> None:
        if len(key) != self.shape.key_bytes:
            raise BpfError(f"map {self.name}: key of {len(key)} octets, not {self.shape.key_bytes}")
        held = ctypes.create_string_buffer(key, len(key))
        at = address(value) if value is not None else 0
        attributes = struct.pack("<IIQQQ", self.fd, 0, address(held), at, flags)
        call(command, attributes, f"map {self.name}: {command.name.lower()}")

    def _lookup_batch(
        self,
        start: "ctypes.Array[ctypes.c_char] | None",
        following: "ctypes.Array[ctypes.c_char]",
        keys: "ctypes.Array[ctypes.c_char]",
        values: "ctypes.Array[ctypes.c_char]",
        size: int,
    ) -> tuple[int, bool]:
        attributes = ctypes.create_string_buffer(
            struct.pack(
                "<QQQQIIQQ",
                address(start) if start is not None else 0,
                address(following),
                address(keys),
                address(values),
                size,
                self.fd,
                0,
                0,
            ),
            _BATCH_ATTR_BYTES,
        )
        more = True
        try:
            call_on(Command.MAP_LOOKUP_BATCH, attributes, f"map {self.name}: read batch")
        except BpfError as error:
            if error.code != errno.ENOENT:
                raise
            more = False  # the walk is complete, the count valid
        return int(struct.unpack_from("<I", attributes, 32)[0]), more

    def _batch(self, command: Command, keys: bytes, values: bytes, count: int) -> None:
        held_keys = ctypes.create_string_buffer(keys, len(keys))
        held_values = ctypes.create_string_buffer(values, max(1, len(values)))
        attributes = ctypes.create_string_buffer(
            struct.pack(
                "<QQQQIIQQ", 0, 0, address(held_keys), address(held_values), count, self.fd, 0, 0
            ),
            _BATCH_ATTR_BYTES,
        )
        try:
            call_on(command, attributes, f"map {self.name}: {command.name.lower()} of {count}")
        finally:
            self._batched = int(struct.unpack_from("<I", attributes, 32)[0])

    def _walk(self) -> Iterator[tuple[bytes, bytes, int]]:
        key: bytes | None = None
        following = ctypes.create_string_buffer(self.shape.key_bytes)
        while True:
            held = ctypes.create_string_buffer(key, len(key)) if key is not None else None
            at = address(held) if held is not None else 0
            attributes = struct.pack("<IIQQ", self.fd, 0, at, address(following))
            try:
                call(Command.MAP_NEXT_KEY, attributes, f"map {self.name}: next key")
            except BpfError as error:
                if error.code == errno.ENOENT:
                    return
                raise
            key = following.raw
            value = self.lookup(key)
            if value is not None:
                yield key, value, 1


def possible_cpus() -> int:
    """Return how many values a per-CPU map's entry has."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.replace(",", "-").split("-")[-1]) + 1
