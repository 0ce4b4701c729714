"""All objects of the cluster as committed, and transactions that would change them.

    Store, Transaction  ->  tuple[Change, …]  ->  (made durable elsewhere)  ->  Store.commit

Shapes      tables: resource ("pods", "deployments.apps") -> Key -> Entry
Invariants  Readers see committed states only; a transaction sees its own changes first.
            One revision counter for all resources; every change has a revision of its own.
Not here    Durability (api.database), watching (watch).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cairn.apiserver.entry import Entry, entry_of
from cairn.apiserver.selection import Selection
from cairn.kube.metadata import Key


class Event(StrEnum):
    """What happened to an object, in a watch's words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One object's step from one state to the next."""

    resource: str
    """Resource of the object."""
    event: Event
    """What happens to it."""
    new: Entry
    """The state after; of a deleted object its last state, with the deletion's revision."""
    old: Entry | None
    """The state before; None if it is new."""


Place = tuple[str, Key]
"""Resource and key of an object."""


class Store:
    """The committed state, in memory."""

    def __init__(self) -> None:
        self.revision = 1
        self._tables: dict[str, dict[Key, Entry]] = {}
        self._order: dict[str, list[Key]] = {}
        self._by_uid: dict[str, Place] = {}
        self._dependents: dict[str, set[Place]] = {}

    def load(self, objects: Iterable[tuple[str, Entry]], revision: int) -> None:
        """Fill an empty store with what was kept."""
        for resource, entry in objects:
            self._put(resource, entry)
            revision = max(revision, entry.revision)
        self.revision = max(revision, 1)

    def get(self, resource: str, key: Key) -> Entry | None:
        """Return one object's entry."""
        return self._tables.get(resource, {}).get(key)

    def all(self, resource: str) -> Iterable[Entry]:
        """Return all entries of a resource, unordered."""
        return self._tables.get(resource, {}).values()

    def count(self, resource: str) -> int:
        """Return how many objects of a resource there are."""
        return len(self._tables.get(resource, {}))

    def select(self, resource: str, selection: Selection) -> list[Entry]:
        """Return the selected entries in order of namespace and name."""
        table = self._tables.get(resource, {})
        if selection.namespace and selection.name is not None:
            found = table.get(Key(selection.namespace, selection.name))
            return [found] if found and selection.matches(found) else []
        order = self._order.get(resource)
        if order is None:
            order = self._order[resource] = sorted(table)
        return [entry for key in order if selection.matches(entry := table[key])]

    def place_of(self, uid: str) -> Place | None:
        """Return where the object with this uid is; None if it is gone."""
        return self._by_uid.get(uid)

    def dependents(self, uid: str) -> list[Place]:
        """Return the objects that name this uid as an owner, in order."""
        return sorted(self._dependents.get(uid, ()))

    def owners(self) -> list[str]:
        """Return every uid that some object names as its owner."""
        return list(self._dependents)

    def resources(self) -> list[str]:
        """Return the resources that have objects."""
        return [resource for resource, table in self._tables.items() if table]

    def commit(self, changes: Iterable[Change]) -> None:
        """Take over changes that are durable now."""
        for change in changes:
            if change.old is not None:
                self._forget(change.resource, change.old)
            if change.event is not Event.DELETED:
                self._put(change.resource, change.new)
            if change.event is not Event.MODIFIED:
                self._order.pop(change.resource, None)
            self.revision = max(self.revision, change.new.revision)

    def _put(self, resource: str, entry: Entry) -> None:
        self._tables.setdefault(resource, {})[entry.key] = entry
        place = (resource, entry.key)
        self._by_uid[entry.uid] = place
        for owner in entry.owners:
            self._dependents.setdefault(owner, set()).add(place)

    def _forget(self, resource: str, entry: Entry) -> None:
        place = (resource, entry.key)
        self._tables[resource].pop(entry.key, None)
        self._by_uid.pop(entry.uid, None)
        for owner in entry.owners:
            places = self._dependents.get(owner, set())
            places.discard(place)
            if not places:
                self._dependents.pop(owner, None)


class Transaction:
    """Changes to be made together; nothing of them is visible before Store.commit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changes: list[Change] = []
        self._overlay: dict[Place, Entry | None] = {}
        self._revision = store.revision

    def mark(self) -> int:
        """Return a point to roll back to."""
        return len(self.changes)

    def rollback(self, mark: int) -> None:
        """Undo every change since `mark`."""
        if mark == len(self.changes):
            return
        del self.changes[mark:]
        self._revision = self.store.revision + mark
        self._overlay.clear()
        for change in self.changes:
            self._cover(change)

    def get(self, resource: str, key: Key) -> Entry | None:
        """Return one object as this transaction sees it."""
        place = (resource, key)
        return self._overlay[place] if place in self._overlay else self.store.get(resource, key)

    def all(self, resource: str) -> Iterator[Entry]:
        """Return all objects of a resource as this transaction sees them, unordered."""
        covered = {key: entry for (name, key), entry in self._overlay.items() if name == resource}
        for entry in self.store.all(resource):
            if entry.key not in covered:
                yield entry
        yield from (entry for entry in covered.values() if entry is not None)

    def select(self, resource: str, selection: Selection) -> list[Entry]:
        """Return the selected objects in order, as this transaction sees them."""
        found = [entry for entry in self.all(resource) if selection.matches(entry)]
        return sorted(found, key=lambda entry: entry.key)

    def put(self, resource: str, obj: Mapping[str, Any]) -> Entry:
        """Store a new object or a new state of one; returns its entry."""
        self._revision += 1
        new = entry_of(resource, obj, self._revision)
        old = self.get(resource, new.key)
        event = Event.ADDED if old is None else Event.MODIFIED
        self._add(Change(resource, event, new, old))
        return new

    def remove(self, resource: str, obj: Mapping[str, Any]) -> Entry:
        """Remove an object; `obj` is its last state, which watchers are shown."""
        self._revision += 1
        last = entry_of(resource, obj, self._revision)
        self._add(Change(resource, Event.DELETED, last, self.get(resource, last.key)))
        return last

    def _add(self, change: Change) -> None:
        self.changes.append(change)
        self._cover(change)

    def _cover(self, change: Change) -> None:
        gone = change.event is Event.DELETED
        self._overlay[change.resource, change.new.key] = None if gone else change.new
