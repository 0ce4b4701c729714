"""Objects as they would stand after an apply: what the file says, with what the server keeps.

    object that is there, object of a file  ->  object

Invariants  Status is the server's: a file neither sets nor clears it. What the server gave once
            (uid, creation, cluster address, node ports) stays where the file does not name it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from cairn.diagnose.policy.world import World, name_of
from cairn.kube.metadata import Object

_GIVEN = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
_NEWEST = "9999-12-31T23:59:59Z"


def applied(world: World, files: Iterable[Object]) -> World:
    """Return the World after an apply of the files' objects."""
    return world.changed(_merged(world, files))


def _merged(world: World, files: Iterable[Object]) -> Iterator[Object]:
    for obj in files:
        old = world.objects.get(name_of(obj))
        yield _new(obj) if old is None else _over(old, obj)


def _new(obj: Object) -> Object:
    """Return an object as the server would store it: younger than all that are there."""
    metadata = {"creationTimestamp": _NEWEST, **obj["metadata"]}
    return {**_without_status(obj), "metadata": metadata}


def _over(old: Object, new: Object) -> Object:
    kept = {
        key: old["metadata"][key]
        for key in ("uid", "creationTimestamp", "resourceVersion")
        if key in old["metadata"]
    }
    made: dict[str, Any] = {**_without_status(new), "metadata": {**new["metadata"], **kept}}
    if "status" in old:
        made["status"] = old["status"]
    if new.get("kind") == "Service":
        before, after = old.get("spec") or {}, new.get("spec") or {}
        made["spec"] = {k: before[k] for k in _GIVEN if k in before} | dict(after)
    return made


def _without_status(obj: Object) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key != "status"}
