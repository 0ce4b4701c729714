"""The backends of all services in the data plane's maps, and the ids that stand for them.

    (address, port), flags, node  ->  id;  maps `backends`, `backend_counters`

Invariants  A backend keeps its id while it exists, also over restarts: the map is the record.
            An id is not given again before all others were: connections may remember it.
            A backend is removed with the last service that uses it.
Cost        about 120 octets of memory for each backend
"""

from collections.abc import Callable, Iterable, Mapping

from cairn.abi import structs
from cairn.apply.map_batch import remove_entries, write_entries
from cairn.libbpf import Map
from cairn.net import Address, L4Address

BackendPlace = tuple[Address, int]
"""Address and port of a backend."""
_NO_COUNT = structs.BackendCounters(0, 0, 0, 0).write()
_PLACE_OCTETS = 18
"""Address and port, with which the value in `backends` begins."""
_MAPPED = bytes(10) + b"\xff\xff"


class BackendTable:
    """Who uses which backend, and what is to be written of them."""

    def __init__(
        self,
        maps: Mapping[str, Map],
        on_release: Callable[[BackendPlace], None] = lambda _: None,
    ) -> None:
        self._maps = maps
        self._on_release = on_release
        self._ids: dict[int, int] = {}
        self._more: dict[int, int] = {}  # users beyond the first, where there are several
        self._found: dict[int, bytes] = {}  # as an earlier agent left them
        for octets, value in maps["backends"].items():
            number = int.from_bytes(octets, "little")
            self._ids[_key(value)] = number
            self._found[number] = value
        self._unused = set(self._found)
        self._last = max(self._found, default=0)
        self._pending: dict[bytes, bytes] = {}
        self._new: set[bytes] = set()

    def use(self, where: L4Address, flags: int, node: int) -> int:
        """Return the id of a backend that has one more user; `write` makes it so."""
        value = structs.Backend(where.address, where.port, flags, node).write()
        place = _key(value)
        number = self._ids.get(place)
        if number is None:
            number = self._last = self._last + 1
            self._ids[place] = number
            self._new.add(number.to_bytes(4, "little"))
        else:
            self._count(number)
        if self._found.get(number) != value:
            self._found.pop(number, None)
            self._pending[number.to_bytes(4, "little")] = value
        return number

    def number(self, where: L4Address) -> int | None:
        """Return the id of a backend; None if the maps have none."""
        return self._ids.get(_key_of((where.address, where.port)))

    def has(self, place: BackendPlace) -> bool:
        """Return whether the maps have a backend."""
        return _key_of(place) in self._ids

    def place(self, number: int) -> BackendPlace | None:
        """Return where a backend listens; None if there is none of this id."""
        value = self._maps["backends"].lookup(number.to_bytes(4, "little"))
        return _place(value) if value else None

    def hold(self, number: int) -> None:
        """Note one more user of a backend that an earlier agent left."""
        if number in self._found:
            self._count(number)

    def write(self) -> dict[int, str]:
        """Write what was asked for since the last time; return what failed, by id."""
        failed = write_entries(self._maps["backends"], self._pending)
        new = dict.fromkeys(self._new, _NO_COUNT)
        write_entries(self._maps["backend_counters"], new)  # a missing one costs no packet
        self._pending, self._new = {}, set()
        return {int.from_bytes(key, "little"): text for key, text in failed.items()}

    def release(self, numbers: Iterable[int]) -> str:
        """Take one user from each; remove those without any, and return what went wrong."""
        last: list[int] = []
        for number in numbers:
            more = self._more.pop(number, 0)
            if more > 1:
                self._more[number] = more - 1
            elif not more:
                last.append(number)
        return self._remove(last)

    def prune(self) -> str:
        """Remove what an earlier agent left and nobody uses; return what went wrong."""
        unused, self._unused = self._unused, set()
        self._found = {}
        return self._remove(unused)

    def _count(self, number: int) -> None:
        if number in self._unused:
            self._unused.discard(number)
        else:
            self._more[number] = self._more.get(number, 0) + 1

    def _remove(self, numbers: Iterable[int]) -> str:
        keys = [number.to_bytes(4, "little") for number in numbers]
        for key in keys:
            # Only the map says whose id it is: to remember it for each would cost memory.
            value = self._maps["backends"].lookup(key)
            if value is not None:
                self._ids.pop(_key(value), None)
                self._on_release(_place(value))
        wrong = remove_entries(self._maps["backends"], keys)
        return remove_entries(self._maps["backend_counters"], keys) or wrong


def _key(value: bytes) -> int:
    """Return a number that stands for the place: for IPv4, half the memory of its octets."""
    start = len(_MAPPED) if value.startswith(_MAPPED) else 0
    return int.from_bytes(b"\1" + value[start:_PLACE_OCTETS], "big")


def _key_of(place: BackendPlace) -> int:
    return _key(structs.Backend(*place, 0, 0).write())


def _place(value: bytes) -> BackendPlace:
    backend = structs.Backend.read(value)
    return backend.address, backend.port
