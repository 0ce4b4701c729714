"""Garbage collection: what follows for dependents when an owner goes.

    committed changes  ->  uids to look at  ->  Transaction with the dependents deleted or freed

Invariants  A dependent goes when its last owner is gone; references to other gone owners are cut.
            An owner that waits in the foreground goes after the dependents that block it.
Standards   Kubernetes "Garbage Collection"
"""

from collections.abc import Iterable

from cairn.apiserver.delete import (
    FOREGROUND,
    ORPHAN,
    DeleteOptions,
    Propagation,
    delete,
)
from cairn.apiserver.entry import Entry
from cairn.apiserver.environment import Environment
from cairn.apiserver.registry import Registry
from cairn.apiserver.store import Change, Event, Place, Store, Transaction
from cairn.apiserver.write import Target, is_finished


def affected(store: Store, changes: Iterable[Change]) -> set[str]:
    """Return the uids of owners that changes (already committed) call into question."""
    found: set[str] = set()
    for change in changes:
        entry = change.new
        if change.event is Event.DELETED:
            # The object is gone for its dependents; its own owners may have waited for it.
            found.add(entry.uid)
            found.update(entry.owners)
        elif entry.deleting and {FOREGROUND, ORPHAN} & set(entry.finalizers):
            found.add(entry.uid)
        else:
            found.update(uid for uid in entry.owners if store.place_of(uid) is None)
    return {uid for uid in found if _needs_work(store, uid)}


def left_over(store: Store) -> set[str]:
    """Return the uids to look at when the server starts: work that a crash cut off."""
    waiting = {
        entry.uid
        for resource in store.resources()
        for entry in store.all(resource)
        if entry.deleting and {FOREGROUND, ORPHAN} & set(entry.finalizers)
    }
    return waiting | {uid for uid in store.owners() if store.place_of(uid) is None}


def collect(txn: Transaction, environment: Environment, registry: Registry, uid: str) -> None:
    """Do what is due for the dependents of the owner with this uid."""
    place = txn.store.place_of(uid)
    owner = None if place is None else txn.get(*place)
    if place is None or owner is None or owner.uid != uid:
        for dependent in txn.store.dependents(uid):
            _lose_owner(txn, environment, registry, dependent, uid)
    elif ORPHAN in owner.finalizers:
        for dependent in txn.store.dependents(uid):
            _cut(txn, dependent, {uid})
        _release(txn, place, owner, ORPHAN)
    elif FOREGROUND in owner.finalizers:
        blocked = [
            _delete_dependent(txn, environment, registry, dependent, Propagation.FOREGROUND)
            for dependent in txn.store.dependents(uid)
        ]
        if not any(blocked):
            _release(txn, place, owner, FOREGROUND)


def _needs_work(store: Store, uid: str) -> bool:
    place = store.place_of(uid)
    if place is None:
        return bool(store.dependents(uid))
    entry = store.get(*place)
    return entry is not None and bool({FOREGROUND, ORPHAN} & set(entry.finalizers))


def _lose_owner(
    txn: Transaction, environment: Environment, registry: Registry, place: Place, uid: str
) -> None:
    entry = txn.get(*place)
    if entry is None:
        return
    if any(txn.store.place_of(other) for other in entry.owners if other != uid):
        _cut(txn, place, {uid})
    else:
        _delete_dependent(txn, environment, registry, place, Propagation.BACKGROUND)


def _delete_dependent(
    txn: Transaction,
    environment: Environment,
    registry: Registry,
    place: Place,
    propagation: Propagation,
) -> bool:
    """Delete a dependent; returns whether it is still there."""
    resource, key = place
    entry, kind = txn.get(resource, key), registry.of_resource(resource)
    if entry is None or kind is None:
        return False
    if entry.deleting:
        return True
    options = DeleteOptions(propagation=propagation, uid=entry.uid)
    return not delete(txn, environment, Target(kind, key), options).removed


def _cut(txn: Transaction, place: Place, uids: set[str]) -> None:
    entry = txn.get(*place)
    if entry is None:
        return
    obj = entry.decode()
    references = obj["metadata"].get("ownerReferences") or ()
    obj["metadata"]["ownerReferences"] = [r for r in references if r.get("uid") not in uids]
    txn.put(place[0], obj)


def _release(txn: Transaction, place: Place, owner: Entry, finalizer: str) -> None:
    obj = owner.decode()
    obj["metadata"]["finalizers"] = [f for f in owner.finalizers if f != finalizer]
    if is_finished(obj):
        txn.remove(place[0], obj)
    else:
        txn.put(place[0], obj)
