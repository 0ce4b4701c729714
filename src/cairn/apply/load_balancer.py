"""Write load-balancer frontends into the data plane's maps, one or ten thousand at a time.

    changed frontends (L4Address -> Frontend | None)
    ->  backends, service_slots, maglev or maglev_small, source_ranges, services

Order       What is pointed at is written before what points at it, and removed after it:
            backends, slots, Maglev tables, ranges, services; a packet always finds a whole
            service. Each step is one system call for all that come together.
Invariants  A frontend and a backend keep their ids while they exist, also over restarts: the maps
            are the record. An id is not given again before all others were, since connections
            may remember it. Frontends that come together with the same backends share an id.
            Every failed write is returned; what it belonged to is tried again at the next change.
            What an earlier agent left and is right is not written again.
Cost        one frontend: its backends and slots; a Maglev table only if its backends changed
Not here    Which backends (backend_table.py), which tables (maglev_table_map.py).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, KeysView, Mapping
from dataclasses import dataclass

from cairn.abi import structs
from cairn.abi.structs import SlotKey
from cairn.apply.backend_table import BackendPlace, BackendTable
from cairn.apply.maglev_table_map import MaglevTableMap
from cairn.apply.map_batch import remove_entries, write_entries
from cairn.apply.service_entry import (
    Entry,
    NodeIndex,
    NodeView,
    Plan,
    key_of_service,
    ranges_of,
)
from cairn.desired.load_balancer import Frontend
from cairn.libbpf import BpfError, Map
from cairn.net import L4Address, Protocol

_HELD = b"\1\0\0\0"
Member = tuple[L4Address, Frontend]


@dataclass(frozen=True, slots=True)
class Failure:
    """A frontend that the maps do not hold as they should."""

    where: L4Address
    """Its address."""
    text: str
    """What the kernel said."""

    def __str__(self) -> str:
        return f"frontend {self.where}: {self.text}"


class LoadBalancer:
    """The service maps of one node."""

    def __init__(
        self,
        maps: Mapping[str, Map],
        node: str,
        peers: NodeIndex,
        *,
        on_release: Callable[[BackendPlace], None] = lambda _: None,
    ) -> None:
        self._maps = maps
        self._view = NodeView(node, peers)
        self._backends = BackendTable(maps, on_release)
        self._tables = MaglevTableMap(maps)
        self._written: dict[L4Address, Entry] = {}
        self._found: dict[bytes, bytes] = dict(maps["services"].items())
        self._recover()
        self._last = max((entry.id for entry in self._written.values()), default=0)

    @property
    def frontends(self) -> KeysView[L4Address]:
        """Every frontend that the maps hold."""
        return self._written.keys()

    def written(self) -> dict[L4Address, tuple[int, tuple[int, ...]]]:
        """Return service id and backends by slot of every frontend, as they were last written."""
        return {
            where: (entry.id, tuple(memoryview(entry.slots).cast("I")))
            for where, entry in self._written.items()
            if not entry.broken
        }

    @property
    def zone(self) -> str:
        """Where this node stands: what hints of endpoints speak of."""
        return self._view.zone

    @zone.setter
    def zone(self, zone: str) -> None:
        self._view.zone = zone

    def serves(self, backend: BackendPlace) -> bool:
        """Return whether any frontend uses a backend."""
        return self._backends.has(backend)

    def users(
        self, numbers: Collection[int]
    ) -> dict[int, tuple[BackendPlace, frozenset[L4Address]]]:
        """Return where each of these backends listens and which frontends use it."""
        wanted = frozenset(numbers)
        found: dict[int, set[L4Address]] = defaultdict(set)
        for where, entry in self._written.items():
            for number in wanted.intersection(entry.numbers()):
                found[number].add(where)
        places = {number: self._backends.place(number) for number in found}
        return {n: (place, frozenset(found[n])) for n, place in places.items() if place}

    def frontends_of(self, backends: Iterable[L4Address]) -> set[L4Address]:
        """Return the frontends that stand before any of these backends."""
        numbers = {number for b in backends if (number := self._backends.number(b)) is not None}
        return {where for _, users in self.users(numbers).values() for where in users}

    def counters(self, backend: L4Address) -> structs.BackendCounters | None:
        """Return what a backend did so far; None if it is not in the maps."""
        number = self._backends.number(backend)
        if number is None:
            return None
        found = self._maps["backend_counters"].lookup(number.to_bytes(4, "little"))
        return structs.BackendCounters.read(found) if found else None

    def apply(self, changes: Mapping[L4Address, Frontend | None]) -> list[Failure]:
        """Write each changed frontend, remove those that are None; return what failed."""
        plans = [plan for members in _alike(changes) for plan in self._plans(members)]
        failed = self._write(plans)
        failed += self._write_services(plans)
        self._settle(plans)
        # Last, so that a backend that only moves from one to the other keeps its id.
        return failed + self._remove([w for w, frontend in changes.items() if frontend is None])

    def prune_backends(self) -> None:
        """Remove backends that no frontend uses: what an earlier agent left."""
        self._found = {}
        self._backends.prune()

    def _recover(self) -> None:
        entries: dict[int, Entry] = {}
        slots: dict[int, dict[int, bytes]] = defaultdict(dict)
        for octets, number in self._maps["service_slots"].items():
            key = SlotKey.read(octets)
            slots[key.service][key.slot] = number
        for octets, value in self._found.items():
            place, service = structs.ServiceKey.read(octets), structs.Service.read(value)
            entry = entries.setdefault(service.id, Entry(service.id))
            entry.users += 1
            where = L4Address(place.address, Protocol(place.protocol), place.port)
            self._written[where] = entry
        for service_id, entry in entries.items():
            found = slots.pop(service_id, {})
            entry.slots = b"".join(found[slot] for slot in sorted(found))
            entry.backends = entry.slots
            for backend in entry.numbers():
                self._backends.hold(backend)
        for octets, backend_key in self._maps["draining"].items():
            if known := entries.get(int.from_bytes(octets, "little")):
                known.draining = int.from_bytes(backend_key, "little")
        for octets in dict(self._maps["source_ranges"].items()):
            if known := entries.get(structs.SourceRange.read(octets).service):
                known.ranges |= {octets}
        self._forget_orphans(entries, slots)

    def _forget_orphans(
        self, entries: Mapping[int, Entry], slots: Mapping[int, Mapping[int, bytes]]
    ) -> None:
        """Remove slots and tables of services that no frontend names: of a write cut short."""
        orphans = [SlotKey(number, slot).write() for number, of in slots.items() for slot in of]
        remove_entries(self._maps["service_slots"], orphans)
        self._tables.remove(set(self._tables) - entries.keys())

    def _plans(self, members: list[Member]) -> list[Plan]:
        """Return what to write for frontends with the same backends: one plan per service id."""
        here: dict[int, list[Member]] = defaultdict(list)
        joining: list[Member] = []
        entries: dict[int, Entry] = {}
        for member in members:
            entry = self._written.get(member[0])
            if entry is None:
                joining.append(member)
            else:
                entries[entry.id] = entry
                here[entry.id].append(member)
        for number, entry in list(entries.items()):
            # An id whose other users keep other backends cannot serve these, too.
            if len(here[number]) < entry.users and not self._serves(entry, members[0][1]):
                joining += here.pop(number)
                del entries[number]
        if joining:
            chosen = entries[min(entries)] if entries else self._new_entry()
            entries[chosen.id] = chosen
            here[chosen.id] += joining
        return [self._plan(entries[number], here[number]) for number in here]

    def _plan(self, entry: Entry, members: list[Member]) -> Plan:
        backends = members[0][1].backends
        numbers = [
            self._backends.use(b.address, self._view.flags(b), self._view.index(b))
            for b in backends
        ]
        return self._view.plan(entry, members, numbers, has_table=entry.id in self._tables)

    def _serves(self, entry: Entry, frontend: Frontend) -> bool:
        numbers = [self._backends.number(b.address) or 0 for b in frontend.backends]
        ranges = ranges_of(entry.id, frontend)
        return sorted(entry.numbers()) == sorted(numbers) and ranges == entry.ranges

    def _new_entry(self) -> Entry:
        self._last += 1
        return Entry(self._last)

    def _write(self, plans: list[Plan]) -> list[Failure]:
        """Write all that services point at."""
        wrong: dict[int, str] = {}
        refused = self._backends.write()
        if refused:
            for plan in plans:
                texts = [refused[number] for number in plan.numbers if number in refused]
                wrong |= dict.fromkeys([plan.entry.id] if texts else [], "".join(texts[:1]))
        slots = {key: value for plan in plans for key, value in plan.slot_entries()}
        for key, text in write_entries(self._maps["service_slots"], slots).items():
            wrong[SlotKey.read(key).service] = text
        wrong |= self._tables.write({p.entry.id: p.table for p in plans if p.table})
        ranges = {key: _HELD for plan in plans for key in plan.ranges - plan.entry.ranges}
        for key, text in write_entries(self._maps["source_ranges"], ranges).items():
            wrong[structs.SourceRange.read(key).service] = text
        for plan in plans:
            wrong |= self._write_draining(plan)
            plan.failed = plan.entry.id in wrong
        return [
            Failure(where, wrong[plan.entry.id])
            for plan in plans
            if plan.failed
            for where, _ in plan.members
        ]

    def _write_draining(self, plan: Plan) -> dict[int, str]:
        # Other nodes' tables are a moment behind: what they still hand over is served here.
        if plan.draining == plan.entry.draining:
            return {}
        key = plan.entry.id.to_bytes(4, "little")
        try:
            if plan.draining:
                self._maps["draining"].update(key, plan.draining.to_bytes(4, "little"))
            else:
                self._maps["draining"].delete(key)
        except BpfError as error:
            return {plan.entry.id: str(error)}
        plan.entry.draining = plan.draining
        return {}

    def _write_services(self, plans: list[Plan]) -> list[Failure]:
        values = {
            key_of_service(where): (where, self._view.service(plan, frontend))
            for plan in plans
            if not plan.failed
            for where, frontend in plan.members
        }
        todo = {k: value for k, (_, value) in values.items() if self._found.get(k) != value}
        for key in todo:
            self._found.pop(key, None)
        refused = write_entries(self._maps["services"], todo)
        return [Failure(values[key][0], text) for key, text in refused.items()]

    def _settle(self, plans: list[Plan]) -> None:
        """Note what the maps hold now, and remove what nothing points at any more."""
        slots: list[bytes] = []
        ranges: set[bytes] = set()
        released: list[int] = []
        empty: list[Entry] = []
        for plan in plans:
            entry = plan.entry
            if plan.failed:
                # Old and new stay until a write succeeds: the maps may point at either.
                plan.keep_both()
                empty += [] if entry.users else [entry]
                continue
            slots += plan.surplus_slots()
            ranges |= entry.ranges - plan.ranges
            released += entry.numbers()
            plan.take()
            for where, _ in plan.members:
                before = self._written.get(where)
                if before is not entry:
                    self._written[where] = entry
                    entry.users += 1
                    empty += self._leave(before)
        remove_entries(self._maps["service_slots"], slots)
        remove_entries(self._maps["source_ranges"], ranges)
        self._tables.retire()
        self._backends.release(released)
        self._drop(empty)

    def _remove(self, gone: list[L4Address]) -> list[Failure]:
        known = [where for where in gone if where in self._written]
        if not known:
            return []
        wrong = remove_entries(self._maps["services"], map(key_of_service, known))
        if wrong:
            return [Failure(where, wrong) for where in known]
        self._drop([e for where in known for e in self._leave(self._written.pop(where))])
        return []

    def _leave(self, entry: Entry | None) -> list[Entry]:
        """Note that a frontend left an id; return it if it was the last."""
        if entry is None:
            return []
        entry.users -= 1
        return [] if entry.users else [entry]

    def _drop(self, entries: list[Entry]) -> None:
        """Remove what stands under ids that no frontend uses."""
        if not entries:
            return
        self._tables.remove(entry.id for entry in entries)
        remove_entries(self._maps["source_ranges"], {k for e in entries for k in e.ranges})
        keys = [entry.id.to_bytes(4, "little") for entry in entries if entry.draining]
        remove_entries(self._maps["draining"], keys)
        slots = [key for entry in entries for key in entry.slot_keys(0)]
        remove_entries(self._maps["service_slots"], slots)
        self._backends.release(number for entry in entries for number in entry.numbers())


def _alike(changes: Mapping[L4Address, Frontend | None]) -> Iterable[list[Member]]:
    """Return the frontends that are to be written, together those that can share an id."""
    found: dict[tuple[object, ...], list[Member]] = defaultdict(list)
    for where, frontend in changes.items():
        if frontend is not None:
            # All frontends of a port were compiled with the very same backends: no need to compare.
            port = where.protocol if frontend.backends else where
            alike = (frontend.service, port, id(frontend.backends), frontend.source_ranges)
            found[alike].append((where, frontend))
    return found.values()
