"""Puts policies on trial, keeps them, takes them back.

    Resource, manifest, until  ->  server-side apply with the way back in the object
    object on trial            ->  as it was before, or deleted

Invariants  A write carries the version that it was made from: who confirms in the same moment wins,
            or has lost, and never both.
Not here    What the annotations hold (kube.policy.trial), when a trial ends (operator).
"""

from datetime import datetime
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.policy.trial import Trial, confirming_patch, on_trial, taken_back
from cairn.kube.resource import Resource

MANAGER = "cairn-policy"
"""Field manager of what is applied."""


async def current(client: Client, resource: Resource, key: Key) -> dict[str, Any] | None:
    """Return an object, None if there is none; raises ApiError."""
    try:
        found = await client.get(resource, key)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return {"apiVersion": resource.api_version, "kind": resource.kind, **found}


async def put(
    client: Client, resource: Resource, obj: Object, until: datetime | None
) -> dict[str, Any]:
    """Apply a policy, on trial if `until` is given, and return it as stored.

    Server-side apply leaves parts of the spec that others wrote and the manifest has not; a
    policy is what its manifest says, so these are removed.

    Raises ApiError, BadTrial
    """
    key = key_of(obj)
    before = await current(client, resource, key)
    wanted = on_trial(obj, before, until) if until is not None else dict(obj)
    stored = await client.apply(resource, wanted, manager=MANAGER)
    left = [name for name in stored.get("spec") or {} if name not in (obj.get("spec") or {})]
    written = (before or {}).get("spec") or {}
    gone: dict[str, None] = {name: None for name in left if name in written}
    if gone:
        stored = await client.patch(resource, key, {"spec": gone})
    return stored


async def confirm(client: Client, resource: Resource, obj: Object) -> None:
    """Keep a policy that is on trial; raises ApiError, 409 if it has changed meanwhile."""
    await client.patch(resource, key_of(obj), confirming_patch(obj))


async def take_back(client: Client, resource: Resource, obj: Object, trial: Trial) -> None:
    """Give back what stood before a trial; raises ApiError, 409 if it has changed meanwhile."""
    earlier = taken_back(obj, trial)
    if earlier is None:
        await client.delete(resource, key_of(obj), uid=obj["metadata"].get("uid"))
    else:
        await client.replace(resource, earlier)
