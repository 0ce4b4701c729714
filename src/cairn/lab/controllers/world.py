"""What the controllers know of the cluster, and how they change it.

    informers, our own answers  ->  objects(resource)  ->  create, patch, delete

Invariants  An object that we wrote is known as written at once: the watch's older news of it are
            passed over. So a reconciler that runs again at once does not act twice.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import NAMESPACES, NODES, Resource

SPECIFIED = (NODES, NAMESPACES)
"""Kinds that may be stored without a spec; here they have an empty one."""

Raw = dict[str, Any]
Follower = Callable[[Key, Raw | None, Raw | None], None]


class World:
    """One copy of the cluster for all controllers."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self.client = client
        """For what the methods here do not do."""
        self.recorder = recorder
        """For Events."""
        self._objects: dict[Resource, dict[Key, Raw]] = {}
        self._owned: dict[Resource, dict[str, set[Key]]] = {}
        self._followers: dict[Resource, list[Follower]] = {}
        self._informers: dict[Resource, Informer] = {}

    def follow(self, resource: Resource, follower: Follower) -> None:
        """Have `follower` told of every change; before `run`."""
        if resource not in self._informers:
            self._objects[resource] = {}
            self._owned[resource] = defaultdict(set)
            self._followers[resource] = []

            def changed(key: Key, old: Raw | None, new: Raw | None) -> None:
                self._take(resource, key, old, new)

            self._informers[resource] = Informer(self.client, resource, on_change=changed)
        self._followers[resource].append(follower)

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    async def synced(self) -> None:
        """Wait until everything has been listed once."""
        for informer in self._informers.values():
            await informer.synced.wait()

    def get(self, resource: Resource, key: Key) -> Raw | None:
        """Return one object as known, or None."""
        return self._objects[resource].get(key)

    def all(self, resource: Resource) -> list[Raw]:
        """Return all objects of a resource as known."""
        return list(self._objects[resource].values())

    def keys(self, resource: Resource) -> list[Key]:
        """Return the keys of all objects of a resource."""
        return list(self._objects[resource])

    def owned(self, resource: Resource, uid: str) -> list[Raw]:
        """Return the objects whose controller has that uid, by name."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(self._owned[resource].get(uid, ()))]

    async def create(self, resource: Resource, obj: Raw) -> Raw:
        """Create an object."""
        return self._wrote(resource, await self.client.create(resource, obj))

    async def replace(self, resource: Resource, obj: Raw) -> Raw:
        """Replace an object, if it is still the one that was read."""
        return self._wrote(resource, await self.client.replace(resource, obj))

    async def patch(self, resource: Resource, key: Key, patch: Raw, *, sub: str = "") -> Raw:
        """Merge a patch into an object."""
        return self._wrote(resource, await self.client.patch(resource, key, patch, subresource=sub))

    async def set_status(self, resource: Resource, obj: Raw, status: Raw) -> None:
        """Write those fields of a status that differ."""
        have = obj.get("status") or {}
        changes = {name: value for name, value in status.items() if have.get(name) != value}
        if changes:
            with ignore_gone():
                await self.patch(resource, key_of(obj), {"status": changes}, sub="status")

    async def delete(self, resource: Resource, obj: Raw, *, now: bool = False) -> None:
        """Delete this very object; with `now`, without grace. One that is gone is no error."""
        grace = 0 if now else None
        key, uid = key_of(obj), obj["metadata"].get("uid")
        with ignore_gone():
            await self.client.delete(resource, key, grace_period_s=grace, uid=uid)
        known = self._objects[resource].get(key)
        if known and known["metadata"].get("uid") == uid and not is_deleting(known):
            marked = {**known["metadata"], "deletionTimestamp": "now"}
            self._objects[resource][key] = {**known, "metadata": marked}

    def assume(self, resource: Resource, obj: Raw) -> None:
        """Count a change of ours as known that the server answered without the object.

        If the watch was quicker and brought something newer, that stays.
        """
        known = self._objects[resource].get(key_of(obj))
        if known is not None and _version(known) <= _version(obj):
            self._objects[resource][key_of(obj)] = obj

    def _wrote(self, resource: Resource, stored: Raw) -> Raw:
        stored.setdefault("apiVersion", resource.api_version)
        stored.setdefault("kind", resource.kind)
        if resource in self._objects:
            key = key_of(stored)
            known = self._objects[resource].get(key)
            if known is None or _version(stored) >= _version(known):
                self._put(resource, key, stored)
        return stored

    def _take(self, resource: Resource, key: Key, old: Raw | None, new: Raw | None) -> None:
        known = self._objects[resource].get(key)
        if new is None:
            other = known and old and known["metadata"].get("uid") != old["metadata"].get("uid")
            if not other:
                self._drop(resource, key)
        elif known is None or _version(new) >= _version(known):
            new.setdefault("apiVersion", resource.api_version)
            new.setdefault("kind", resource.kind)
            self._put(resource, key, new)
        for follower in self._followers[resource]:
            follower(key, old, new)

    def _put(self, resource: Resource, key: Key, obj: Raw) -> None:
        if resource in SPECIFIED:
            obj.setdefault("spec", {})
        self._drop(resource, key)
        self._objects[resource][key] = obj
        if uid := controller_uid(obj):
            self._owned[resource][uid].add(key)

    def _drop(self, resource: Resource, key: Key) -> None:
        known = self._objects[resource].pop(key, None)
        uid = controller_uid(known) if known else ""
        if uid:
            owned = self._owned[resource][uid]
            owned.discard(key)
            if not owned:
                del self._owned[resource][uid]


@contextlib.contextmanager
def ignore_gone() -> Iterator[None]:
    """Let pass that an object is gone, or another of the same name: its watch event will come."""
    try:
        yield
    except ApiError as error:
        if error.status not in (404, 409):
            raise


def controller(obj: Raw) -> Raw:
    """Return the owner reference of an object's controller; empty if it has none."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return {}


def controller_uid(obj: Raw) -> str:
    """Return the uid of an object's controller, or ""."""
    return str(controller(obj).get("uid") or "")


def owner_reference(owner: Raw) -> Raw:
    """Return the reference that makes `owner` an object's controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleting(obj: Raw) -> bool:
    """Return whether an object's deletion was asked for."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def _version(obj: Raw) -> int:
    text = obj["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0
