"""Write load-balancer frontends into the data plane's maps.

    changed frontends (L4Address -> Frontend | None)
    ->  backends, service_slots, maglev or maglev_small, source_ranges, services

Order       What is pointed at is written before what points at it, and removed after it:
            backends, slots, Maglev table, ranges, service; a packet always finds a whole service.
Invariants  A frontend and a backend keep their ids while they exist, also over restarts: the maps
            are the record. An id is not given again before all others were, since connections
            may remember it.
            Every failed write is returned; what it belonged to is tried again at the next change.
Cost        one frontend: its backends and slots; a Maglev table only if its backends changed
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol as Shape

import numpy as np
from numpy.typing import NDArray

from cairn.abi import structs
from cairn.abi.structs import BackendFlag, ServiceFlag, SlotKey
from cairn.compile.maglev import SMALL_TABLE_BACKENDS, maglev_table, table_size
from cairn.desired.load_balancer import Backend, Frontend
from cairn.libbpf import BpfError, Map, MapShape, MapType
from cairn.net import Address, L4Address, Network, Protocol

BackendKey = tuple[Address, int]
MAPPED_BITS = 96
SERVICE_BITS = 32
_NO_COUNT = structs.BackendCounters(0, 0, 0, 0).write()


class NodeIndex(Shape):
    """Where the index of another node is found."""

    @property
    def index(self) -> Mapping[str, int]:
        """Index by node name; the node itself has none."""


@dataclass(slots=True)
class _Written:
    """What the maps hold of one frontend."""

    id: int
    slots: int
    backends: frozenset[int]
    table: tuple[str, ...]
    ranges: frozenset[bytes] = frozenset()


class LoadBalancer:
    """The service maps of one node."""

    def __init__(
        self,
        maps: Mapping[str, Map],
        node: str,
        peers: NodeIndex,
        *,
        on_release: Callable[[BackendKey], None] = lambda _: None,
    ) -> None:
        self._maps = maps
        self._on_release = on_release
        self._node = node
        self._peers = peers
        self.zone = ""
        """Where this node stands: what hints of endpoints speak of."""
        self._written: dict[L4Address, _Written] = {}
        self._backend_ids: dict[BackendKey, int] = {}
        self._backend_keys: dict[int, BackendKey] = {}
        self._users: dict[int, set[L4Address]] = {}
        self._recover()
        self._last_service = max((w.id for w in self._written.values()), default=0)
        self._last_backend = max(self._backend_ids.values(), default=0)

    def _recover(self) -> None:
        for octets, value in self._maps["backends"].items():
            backend = structs.Backend.read(value)
            number = int.from_bytes(octets, "little")
            self._backend_ids[backend.address, backend.port] = number
            self._backend_keys[number] = (backend.address, backend.port)
        ranges: dict[int, set[bytes]] = {}
        for octets in dict(self._maps["source_ranges"].items()):
            ranges.setdefault(structs.SourceRange.read(octets).service, set()).add(octets)
        for octets, value in self._maps["services"].items():
            key, service = structs.ServiceKey.read(octets), structs.Service.read(value)
            where = L4Address(key.address, Protocol(key.protocol), key.port)
            known = frozenset(ranges.get(service.id, ()))
            self._written[where] = _Written(service.id, service.slots, frozenset(), (), known)

    @property
    def frontends(self) -> frozenset[L4Address]:
        """Every frontend that the maps hold."""
        return frozenset(self._written)

    def backend(self, number: int) -> tuple[BackendKey, frozenset[L4Address]] | None:
        """Return where a backend listens and which frontends use it; None if there is none."""
        key = self._backend_keys.get(number)
        return None if key is None else (key, frozenset(self._users.get(number, ())))

    def serves(self, backend: BackendKey) -> bool:
        """Return whether any frontend uses a backend."""
        return backend in self._backend_ids

    def apply(self, changes: Mapping[L4Address, Frontend | None]) -> list[str]:
        """Write each changed frontend, remove those that are None; return what failed."""
        failed: list[str] = []
        for where, frontend in changes.items():
            try:
                if frontend is None:
                    self._remove(where)
                else:
                    self._write(where, frontend)
            except BpfError as error:
                failed.append(f"frontend {where}: {error}")
        return failed

    def prune_backends(self) -> None:
        """Remove backends that no frontend uses: what an earlier agent left."""
        for number in self._backend_keys.keys() - self._users.keys():
            self._forget_backend(number)

    def _write(self, where: L4Address, frontend: Frontend) -> None:
        before = self._written.get(where) or _Written(self._new_service(), 0, frozenset(), ())
        ids = {b: self._write_backend(where, b) for b in frontend.backends}
        near = self._near(frontend.active)
        active = sorted(
            frontend.active, key=lambda b: (not self._is_local(b), b not in near, ids[b])
        )
        self._write_draining(before.id, frontend, ids)
        self._write_slots(before.id, [ids[backend] for backend in active])
        names = tuple(str(backend.address) for backend in frontend.active)
        if frontend.external and names and names != before.table:
            self._write_table(before.id, names, [ids[b] for b in frontend.active])
        local = sum(self._is_local(backend) for backend in active)
        ranges = self._write_ranges(before, frontend)
        value = structs.Service(
            id=before.id,
            flags=_flags(frontend),
            slots=len(active),
            local_slots=local,
            near_slots=sum(self._is_local(b) or b in near for b in active),
            affinity_s=frontend.affinity_s,
            source_rate=0,
        )
        self._maps["services"].update(_service_key(where), value.write())
        self._remove_slots(before.id, len(active), before.slots)
        self._remove_ranges(before.ranges - ranges)
        if frontend.external and names != before.table:
            # A service that grew or shrank past the limit has its table in the other map now.
            self._maps[_table_map(not _is_small(len(names)))].delete(_number(before.id))
        self._written[where] = _Written(
            before.id, len(active), frozenset(ids.values()), names, ranges
        )
        self._release(where, before.backends - frozenset(ids.values()))

    def _remove(self, where: L4Address) -> None:
        before = self._written.pop(where, None)
        if before is None:
            return
        self._maps["services"].delete(_service_key(where))
        self._maps["maglev"].delete(before.id.to_bytes(4, "little"))
        self._maps["maglev_small"].delete(before.id.to_bytes(4, "little"))
        self._remove_ranges(before.ranges)
        self._maps["draining"].delete(before.id.to_bytes(4, "little"))
        self._remove_slots(before.id, 0, before.slots)
        self._release(where, before.backends)

    def _write_backend(self, where: L4Address, backend: Backend) -> int:
        key = (backend.address.address, backend.address.port)
        number = self._backend_ids.get(key)
        if number is None:
            self._last_backend += 1
            number = self._last_backend
        flags = BackendFlag(0)
        flags |= BackendFlag.LOCAL if self._is_local(backend) else BackendFlag(0)
        flags |= BackendFlag.TERMINATING if backend.draining else BackendFlag(0)
        node = self._peers.index.get(backend.node, 0)
        value = structs.Backend(*key, flags, node)
        octets = number.to_bytes(4, "little")
        self._maps["backends"].update(octets, value.write())
        if number not in self._backend_keys:
            self._maps["backend_counters"].update(octets, _NO_COUNT)
        self._backend_ids[key] = number
        self._backend_keys[number] = key
        self._users.setdefault(number, set()).add(where)
        return number

    def _write_draining(self, service: int, frontend: Frontend, ids: Mapping[Backend, int]) -> None:
        # Other nodes' tables are a moment behind: what they still hand over is served here.
        key = service.to_bytes(4, "little")
        leaving = [ids[b] for b in frontend.backends if b.draining and self._is_local(b)]
        if leaving and not any(self._is_local(backend) for backend in frontend.active):
            self._maps["draining"].update(key, leaving[0].to_bytes(4, "little"))
        else:
            self._maps["draining"].delete(key)

    def _write_slots(self, service: int, numbers: list[int]) -> None:
        keys = b"".join(SlotKey(service, slot).write() for slot in range(len(numbers)))
        values = b"".join(number.to_bytes(4, "little") for number in numbers)
        self._maps["service_slots"].update_batch(keys, values)

    def _remove_slots(self, service: int, start: int, end: int) -> None:
        keys = b"".join(SlotKey(service, slot).write() for slot in range(start, end))
        self._maps["service_slots"].delete_batch(keys)

    def _write_table(self, service: int, names: tuple[str, ...], numbers: list[int]) -> None:
        table = np.asarray(numbers, dtype=np.uint32)[_positions(names)]
        shape = MapShape(MapType.ARRAY, 4, table.nbytes, 1, 0)
        with Map.create(shape, "maglev_table") as inner:
            inner.update(b"\0" * 4, table.tobytes())
            outer = self._maps[_table_map(_is_small(len(names)))]
            outer.update_inner(_number(service), inner)

    def _write_ranges(self, before: _Written, frontend: Frontend) -> frozenset[bytes]:
        ranges = frozenset(_range(before.id, n).write() for n in frontend.source_ranges)
        for key in ranges - before.ranges:
            self._maps["source_ranges"].update(key, b"\1\0\0\0")
        return ranges

    def _remove_ranges(self, keys: frozenset[bytes]) -> None:
        for key in keys:
            self._maps["source_ranges"].delete(key)

    def _release(self, where: L4Address, numbers: Iterable[int]) -> None:
        for number in numbers:
            users = self._users.get(number, set())
            users.discard(where)
            if not users:
                self._forget_backend(number)

    def _forget_backend(self, number: int) -> None:
        self._maps["backends"].delete(number.to_bytes(4, "little"))
        self._maps["backend_counters"].delete(number.to_bytes(4, "little"))
        self._users.pop(number, None)
        key = self._backend_keys.pop(number, None)
        if key is not None:
            self._backend_ids.pop(key, None)
            self._on_release(key)

    def _is_local(self, backend: Backend) -> bool:
        return backend.node == self._node

    def _near(self, active: tuple[Backend, ...]) -> frozenset[Backend]:
        """Return whom hints prefer for this node: all of them unless every one has a hint."""
        if not all(backend.for_zones or backend.for_nodes for backend in active):
            return frozenset(active)
        near = frozenset(b for b in active if self._node in b.for_nodes)
        near = near or frozenset(b for b in active if self.zone in b.for_zones)
        return near or frozenset(active)

    def _new_service(self) -> int:
        self._last_service += 1
        return self._last_service


def _flags(frontend: Frontend) -> ServiceFlag:
    flags = {
        ServiceFlag.LOCAL: frontend.local,
        ServiceFlag.SOCKET_LOCAL: frontend.socket_local,
        ServiceFlag.AFFINITY: frontend.affinity_s > 0,
        ServiceFlag.SOURCE_RANGES: bool(frontend.source_ranges),
        ServiceFlag.SMALL_TABLE: _is_small(len(frontend.active)),
    }
    return ServiceFlag(sum(flag for flag, holds in flags.items() if holds))


def _is_small(backends: int) -> bool:
    return backends <= SMALL_TABLE_BACKENDS


def _table_map(small: bool) -> str:
    return "maglev_small" if small else "maglev"


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _range(service: int, network: Network) -> structs.SourceRange:
    mapped = MAPPED_BITS if network.version == 4 else 0
    bits = SERVICE_BITS + mapped + network.prefixlen
    return structs.SourceRange(bits, service, network.network_address)


def _service_key(where: L4Address) -> bytes:
    return structs.ServiceKey(where.address, where.port, where.protocol).write()


@lru_cache(maxsize=32)
def _positions(names: tuple[str, ...]) -> NDArray[np.uint32]:
    # A Service's frontends share their backends, and so the table.
    return maglev_table(names, table_size(len(names)))
