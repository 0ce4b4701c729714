"""The Maglev tables of services in the data plane's maps.

    service id  ->  the names and ids of its backends  ->  maps `maglev`, `maglev_small`

Order       The digest of a table is removed before the table is written, and written after it:
            whoever finds one finds the table that it speaks of.
Invariants  A table that is right is not written, also by an agent that has just started.
            The table of another size stays until `retire`: a packet that still has the old
            service in hand finds it.
Cost        one table is written in place: a millisecond. To put a table into a map of maps costs
            a grace period of the kernel, some milliseconds; all that come together share one.
"""

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cairn.apply.map_batch import remove_entries, write_entries
from cairn.compile.maglev import SMALL_TABLE_BACKENDS, SMALL_TABLE_SIZE, table_size
from cairn.compile.maglev_bulk import maglev_tables
from cairn.libbpf import BpfError, Map, MapShape, MapType

COMPUTED_AT_ONCE = 64
"""More gain nothing and hold more memory."""
WRITTEN_AT_ONCE = 512
"""Small tables that share a grace period; each is a descriptor until then."""
_ZERO = b"\0" * 4
_VERSION = b"1"
"""Changes when the same names would make another table."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a table is made from."""

    names: tuple[str, ...]
    """Of the backends, as every node calls them; not empty."""
    numbers: tuple[int, ...]
    """Their ids on this node, in the same order."""

    @property
    def digest(self) -> bytes:
        """Eight octets that another table will not have."""
        content = repr((self.names, self.numbers)).encode()
        return hashlib.blake2b(content, digest_size=8, key=_VERSION).digest()


class MaglevTableMap:
    """Which tables the maps hold."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps
        self._outer = {size: maps[name] for size, name in _OUTER.items()}
        self._sizes: dict[int, int] = {}
        for size, outer in self._outer.items():
            self._sizes |= {_number(key): size for key, _ in outer.items()}
        self._digests: dict[int, bytes] = {
            number: value
            for key, value in maps["table_digests"].items()
            if (number := _number(key)) in self._sizes
        }
        self._retired: set[tuple[int, int]] = set()
        self._unsaved: dict[bytes, bytes] = {}  # digests that the kernel refused

    def __iter__(self) -> Iterator[int]:
        """Yield the services that have a table."""
        return iter(tuple(self._sizes))

    def __contains__(self, service: int) -> bool:
        return service in self._sizes

    def write(self, wanted: Mapping[int, Wanted]) -> dict[int, str]:
        """Make the services have these tables; return what failed, by service id."""
        digests = {service: table.digest for service, table in wanted.items()}
        todo = {s: t for s, t in wanted.items() if self._digests.get(s) != digests[s]}
        if not todo:
            return {}
        remove_entries(self._maps["table_digests"], [_key(s) for s in todo if s in self._digests])
        failed: dict[int, str] = {}
        for size, some in _alike(todo):
            failed |= self._write_some(size, some)
        for service in todo:
            self._digests.pop(service, None)
            self._unsaved.pop(_key(service), None)
        written = {_key(s): digests[s] for s in todo if s not in failed}
        self._digests |= {_number(key): digest for key, digest in written.items()}
        # A missing one costs the next agent a write: it is tried again with the next table.
        entries = self._unsaved | written
        refused = write_entries(self._maps["table_digests"], entries)
        self._unsaved = {key: entries[key] for key in refused}
        return failed

    def retire(self) -> str:
        """Remove the tables of a size that their services no longer have."""
        retired, self._retired = self._retired, set()
        wrong = ""
        for size, outer in self._outer.items():
            keys = [_key(s) for s, old in retired if old == size and self._sizes.get(s) != size]
            wrong = (remove_entries(outer, keys) if keys else "") or wrong
        return wrong

    def remove(self, services: Iterable[int]) -> str:
        """Remove the tables of services, if they have any."""
        held = [service for service in services if service in self._sizes]
        if not held:
            return ""
        remove_entries(self._maps["table_digests"], map(_key, held))
        for service in held:
            self._retired.add((service, self._sizes.pop(service)))
            self._digests.pop(service, None)
            self._unsaved.pop(_key(service), None)
        return self.retire()

    def _write_some(self, size: int, some: Mapping[int, Wanted]) -> dict[int, str]:
        failed: dict[int, str] = {}
        with contextlib.ExitStack() as stack:
            new: dict[bytes, bytes] = {}
            for service, octets in _tables(size, some):
                try:
                    if not self._write_over(service, size, octets):
                        inner = stack.enter_context(_new_table(octets))
                        new[_key(service)] = inner.fd.to_bytes(4, "little")
                except BpfError as error:
                    failed[service] = str(error)
            refused = write_entries(self._outer[size], new)
        for key in new.keys() - refused.keys():
            before = self._sizes.get(_number(key), size)
            if before != size:
                self._retired.add((_number(key), before))
            self._sizes[_number(key)] = size
        return failed | {_number(key): text for key, text in refused.items()}

    def _write_over(self, service: int, size: int, octets: bytes) -> bool:
        """Write over the service's table of this size; return whether there was one."""
        if self._sizes.get(service) != size:
            return False
        found = self._outer[size].lookup(_key(service))
        if found is None:
            return False
        with Map.open_id(_number(found)) as inner:
            if inner.value_bytes != len(octets):
                return False
            inner.update(_ZERO, octets)
        return True


_OUTER = {table_size(SMALL_TABLE_BACKENDS): "maglev_small", table_size(1 << 20): "maglev"}


def is_small(backends: int) -> bool:
    """Return whether a service of so many backends has its table in `maglev_small`."""
    return table_size(backends) == SMALL_TABLE_SIZE


def _alike(wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, dict[int, Wanted]]]:
    """Yield tables that can be computed together, with their size."""
    by_count: dict[int, list[int]] = defaultdict(list)
    for service, table in wanted.items():
        by_count[len(table.names)].append(service)
    for count, services in by_count.items():
        step = WRITTEN_AT_ONCE if is_small(count) else 1
        for at in range(0, len(services), step):
            yield table_size(count), {s: wanted[s] for s in services[at : at + step]}


def _tables(size: int, some: Mapping[int, Wanted]) -> Iterator[tuple[int, bytes]]:
    listed = list(some.items())
    for at in range(0, len(listed), COMPUTED_AT_ONCE):
        part = listed[at : at + COMPUTED_AT_ONCE]
        positions = maglev_tables([table.names for _, table in part], size)
        for (service, table), row in zip(part, positions, strict=True):
            yield service, np.array(table.numbers, np.uint32)[row].tobytes()


def _new_table(octets: bytes) -> Map:
    table = Map.create(MapShape(MapType.ARRAY, 4, len(octets), 1, 0), "maglev_table")
    try:
        table.update(_ZERO, octets)
    except BpfError:
        table.close()
        raise
    return table


def _key(service: int) -> bytes:
    return service.to_bytes(4, "little")


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")
