"""Faults in the objects of the API: what a person could write, and should not have.

    object  ->  patched, deleted, or one more of it;  as it was  ->  put back

Invariants  What an object was (labels, annotations, spec) is part of the record.
            Objects that a fault adds bear the label `cairn.io/fault`, and are deleted with it.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key, Object
from cairn.kube.resource import Resource
from cairn.lab.fault import Active
from cairn.lab.state import Lab, LabError, WrongUsage

FAULT_LABEL = "cairn.io/fault"
_NOT_FOUND = 404
T = TypeVar("T")
Made = tuple[Resource, Object]


def change(lab: Lab, target: str, value: str, *, resource: Resource, patch: Any) -> Object:
    """Merge a patch into an object; return its labels, annotations and spec from before."""
    key = _key(resource, target)

    async def run(client: Client) -> Object:
        found = await client.get(resource, key)
        await client.patch(resource, key, patch)
        return _kept(found)

    return _with_client(lab, run)


def edit(
    lab: Lab, target: str, value: str, *, resource: Resource, by: Callable[[dict[str, Any]], None]
) -> Object:
    """Change an object by a function, where a merge cannot (lists); return what it was."""
    key = _key(resource, target)

    async def run(client: Client) -> Object:
        found = await client.get(resource, key)
        before = copy.deepcopy(_kept(found))
        by(found)
        await client.replace(resource, found)
        return before

    return _with_client(lab, run)


def put_back(lab: Lab, active: Active, *, resource: Resource) -> None:
    """Give an object the labels, annotations and spec that it had."""
    key = _key(resource, active.target)

    async def run(client: Client) -> None:
        now = await client.get(resource, key)
        before = active.before
        metadata = {k: v for k, v in now["metadata"].items() if k not in ("labels", "annotations")}
        metadata |= {k: before[k] for k in ("labels", "annotations") if before.get(k)}
        await client.replace(resource, {**now, "metadata": metadata, "spec": before["spec"]})

    _with_client(lab, run)


def remove(lab: Lab, target: str, value: str, *, resource: Resource) -> Object:
    """Delete an object; return what it takes to make it again."""
    key = _key(resource, target)

    async def run(client: Client) -> Object:
        found = await client.get(resource, key)
        await client.delete(resource, key)
        return {"metadata": _name(key), "kind": resource.kind, **_kept(found)}

    return _with_client(lab, run)


def make_again(lab: Lab, active: Active, *, resource: Resource) -> None:
    """Make the object that was deleted, unless somebody has."""
    raw = dict(active.before)
    metadata = raw.pop("metadata")
    metadata |= {k: raw.pop(k) for k in ("labels", "annotations") if k in raw}
    obj = {"apiVersion": resource.api_version, **raw, "metadata": metadata}
    _with_client(lab, lambda client: client.apply(resource, obj, manager="cairn-lab-fault"))


def add(lab: Lab, target: str, value: str, *, made: Callable[[str], Sequence[Made]]) -> list[str]:
    """Make the objects of a fault in a namespace; return their names."""
    if "/" in target or not target:
        raise WrongUsage(f"{target!r}: use the name of a namespace")

    async def run(client: Client) -> list[str]:
        names = []
        for resource, obj in made(target):
            await client.apply(resource, obj, manager="cairn-lab-fault")
            names.append(str(obj["metadata"]["name"]))
        return names

    return _with_client(lab, run)


def take_away(lab: Lab, active: Active, *, made: Callable[[str], Sequence[Made]]) -> None:
    """Delete the objects of a fault."""

    async def run(client: Client) -> None:
        for resource, obj in reversed(list(made(active.target))):
            metadata = obj["metadata"]
            key = Key(metadata.get("namespace") or "", metadata["name"])
            try:
                await client.delete(resource, key, grace_period_s=0)
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise

    _with_client(lab, run)


def _kept(obj: Object) -> Object:
    metadata = obj["metadata"]
    kept = {k: metadata[k] for k in ("labels", "annotations") if k in metadata}
    return kept | {"spec": obj.get("spec")}


def _key(resource: Resource, target: str) -> Key:
    namespace, slash, name = target.rpartition("/")
    if not name or bool(slash) != resource.namespaced:
        form = "NAMESPACE/NAME" if resource.namespaced else "NAME"
        raise WrongUsage(f"{target!r}: write the {resource.kind} as {form}")
    return Key(namespace, name)


def _name(key: Key) -> dict[str, str]:
    return {"namespace": key.namespace, "name": key.name} if key.namespace else {"name": key.name}


def _with_client(lab: Lab, run: Callable[[Client], Awaitable[T]]) -> T:
    async def body() -> T:
        async with Client.connect(str(lab.kubeconfig)) as client:
            return await run(client)

    try:
        return asyncio.run(body())
    except ApiError as error:
        raise LabError(f"the API of lab {lab.name}: {error.message or error}") from None
