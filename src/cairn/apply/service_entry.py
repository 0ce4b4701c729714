"""What the maps hold under one service id, and what they should.

    frontends with the same backends, their ids  ->  slots, table, ranges, values of `services`

Pure: nothing is written here.

Not here    The order of writes (load_balancer.py)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Shape

import numpy as np

from cairn.abi import structs
from cairn.abi.address import MAPPED_BITS
from cairn.abi.structs import BackendFlag, ServiceFlag, SlotKey
from cairn.apply.maglev_table_map import Wanted, is_small
from cairn.desired.load_balancer import Backend, Frontend
from cairn.net import L4Address, Network

_SERVICE_BITS = 32
_NO_RANGES: frozenset[bytes] = frozenset()


class NodeIndex(Shape):
    """Where the index of another node is found."""

    @property
    def index(self) -> Mapping[str, int]:
        """Index by node name; the node itself has none."""


@dataclass(slots=True)
class Entry:
    """What the maps hold under one service id; ids of backends as four octets each."""

    id: int
    """The service id."""
    users: int = 0
    """How many frontends have it."""
    slots: bytes = b""
    """Backends in the order of their slots."""
    backends: bytes = b""
    """Backends that are kept for it, draining ones too."""
    draining: int = 0
    """What `draining` holds; 0 for nothing."""
    ranges: frozenset[bytes] = _NO_RANGES
    """Its keys of `source_ranges`."""
    broken: bool = False
    """Whether a write failed: the maps may hold something else."""

    def numbers(self) -> tuple[int, ...]:
        """Return the ids of its backends."""
        return _unpacked(self.backends)

    def slot_keys(self, start: int) -> list[bytes]:
        """Return the keys of its slots from `start` on."""
        return [SlotKey(self.id, slot).write() for slot in range(start, len(self.slots) // 4)]


@dataclass(slots=True)
class Plan:
    """What the maps should hold under one service id."""

    entry: Entry
    """What they hold."""
    members: list[tuple[L4Address, Frontend]]
    """The frontends that are written now."""
    slots: bytes
    """As in Entry."""
    numbers: list[int]
    """The backends, draining ones too."""
    local: int
    """How many of the slots are this node's."""
    near: int
    """How many sockets of this node choose among."""
    draining: int
    """A backend of this node that serves to its end; 0 for none."""
    ranges: frozenset[bytes]
    """Keys of `source_ranges`."""
    table: Wanted | None
    """What its Maglev table is made from; None if it needs none."""
    failed: bool = field(default=False)
    """Whether something of it could not be written."""

    def slot_entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the slots that differ from what is there."""
        before = b"" if self.entry.broken else self.entry.slots
        if before == self.slots:
            return
        for at in range(0, len(self.slots), 4):
            number = self.slots[at : at + 4]
            if before[at : at + 4] != number:
                yield SlotKey(self.entry.id, at // 4).write(), number

    def surplus_slots(self) -> list[bytes]:
        """Return the keys of slots that are there and should not be."""
        return self.entry.slot_keys(len(self.slots) // 4)

    def take(self) -> None:
        """Note that the maps hold it."""
        self.entry.slots = self.slots
        held = _packed(self.numbers)
        self.entry.backends = self.slots if held == self.slots else held
        self.entry.ranges = self.ranges
        self.entry.broken = False

    def keep_both(self) -> None:
        """Note that the maps may hold what was and what should be."""
        self.entry.slots = max(self.entry.slots, self.slots, key=len)
        self.entry.backends += _packed(self.numbers)
        self.entry.ranges |= self.ranges
        self.entry.broken = True


class NodeView:
    """How backends look from this node."""

    def __init__(self, node: str, peers: NodeIndex) -> None:
        self._node = node
        self._peers = peers
        self.zone = ""
        """Where this node stands: what hints of endpoints speak of."""

    def flags(self, backend: Backend) -> int:
        """Return the flags of a backend's entry."""
        local = BackendFlag.LOCAL.value if backend.node == self._node else 0
        return local | (BackendFlag.TERMINATING.value if backend.draining else 0)

    def index(self, backend: Backend) -> int:
        """Return the index of the node that a backend lives on; 0 if it has none."""
        return self._peers.index.get(backend.node, 0)

    def plan(
        self,
        entry: Entry,
        members: list[tuple[L4Address, Frontend]],
        numbers: list[int],
        *,
        has_table: bool,
    ) -> Plan:
        """Return what the maps should hold for `members`; `numbers` are ids of their backends."""
        backends = members[0][1].backends
        active = [(b, n) for b, n in zip(backends, numbers, strict=True) if not b.draining]
        near = self._near([backend for backend, _ in active])
        # This node's own come first, then those that hints prefer.
        order = sorted(
            (backend.node != self._node, not is_near, number)
            for (backend, number), is_near in zip(active, near, strict=True)
        )
        local = sum(not elsewhere for elsewhere, _, _ in order)
        needs_table = active and (has_table or any(f.external for _, f in members))
        return Plan(
            entry=entry,
            members=members,
            slots=_packed([number for _, _, number in order]),
            numbers=numbers,
            local=local,
            near=sum(not elsewhere or not far for elsewhere, far, _ in order),
            draining=0 if local else self._draining(backends, numbers),
            ranges=ranges_of(entry.id, members[0][1]),
            table=_table(active) if needs_table else None,
        )

    def service(self, plan: Plan, frontend: Frontend) -> bytes:
        """Return the value of `services` for one frontend of a plan."""
        slots = len(plan.slots) // 4
        value = structs.Service(
            id=plan.entry.id,
            flags=_flags(frontend, slots),
            slots=slots,
            local_slots=plan.local,
            near_slots=plan.near,
            affinity_s=frontend.affinity_s,
            source_rate=frontend.source_rate,
        )
        return value.write()

    def _draining(self, backends: Sequence[Backend], numbers: Sequence[int]) -> int:
        for backend, number in zip(backends, numbers, strict=True):
            if backend.draining and backend.node == self._node:
                return number
        return 0

    def _near(self, active: Sequence[Backend]) -> list[bool]:
        """Return whom hints prefer for this node: all of them unless every one has a hint."""
        if all(backend.for_zones or backend.for_nodes for backend in active):
            near = [self._node in backend.for_nodes for backend in active]
            if not any(near):
                near = [self.zone in backend.for_zones for backend in active]
            if any(near):
                return near
        return [True] * len(active)


def key_of_service(where: L4Address) -> bytes:
    """Return the key of `services` for a frontend."""
    return structs.ServiceKey(where.address, where.port, where.protocol).write()


def ranges_of(service: int, frontend: Frontend) -> frozenset[bytes]:
    """Return the keys of `source_ranges` for a frontend."""
    if not frontend.source_ranges:
        return _NO_RANGES
    return frozenset(_range(service, network).write() for network in frontend.source_ranges)


def _table(active: Sequence[tuple[Backend, int]]) -> Wanted:
    # Nobody hands packets to a backend outside the cluster, and its answers would go past it: the
    # others have its share. Alone, it is found, and the packet dropped for that reason.
    active = [(backend, number) for backend, number in active if backend.node] or active
    names = tuple(str(backend.address) for backend, _ in active)
    return Wanted(names, tuple(number for _, number in active))


def _flags(frontend: Frontend, slots: int) -> int:
    flags = {
        ServiceFlag.LOCAL: frontend.local,
        ServiceFlag.SOCKET_LOCAL: frontend.socket_local,
        ServiceFlag.AFFINITY: frontend.affinity_s > 0,
        ServiceFlag.SOURCE_RANGES: bool(frontend.source_ranges),
        ServiceFlag.SMALL_TABLE: is_small(slots),
    }
    return sum(flag.value for flag, holds in flags.items() if holds)


def _range(service: int, network: Network) -> structs.SourceRange:
    mapped = MAPPED_BITS if network.version == 4 else 0
    bits = _SERVICE_BITS + mapped + network.prefixlen
    return structs.SourceRange(bits, service, network.network_address)


def _packed(numbers: Sequence[int]) -> bytes:
    return np.array(numbers, "<u4").tobytes()


def _unpacked(octets: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(octets, "<u4").tolist())
