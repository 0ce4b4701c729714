"""The World after an apply, as the API server would keep it.

World, objects of files  ->  World

Not here    Defaults, admission: what the server would refuse is refused when it is applied.
"""

from collections.abc import Iterable

from cairn.diagnose.policy.world import World, name_of
from cairn.kube.metadata import Object

KEPT_METADATA = ("uid", "creationTimestamp", "resourceVersion", "generation")
"""What the server writes, and an apply never takes away."""
ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
"""Fields of a Service that the server fills in where a manifest is silent."""


def applied(world: World, objects: Iterable[Object]) -> World:
    """Return the World with the objects applied: status and what the server gave stays."""
    return world.changed([_merged(world.objects.get(name_of(obj)), obj) for obj in objects])


def _merged(stored: Object | None, given: Object) -> Object:
    if stored is None:
        return given
    old, new = stored.get("metadata") or {}, given.get("metadata") or {}
    kept = {name: old[name] for name in KEPT_METADATA if name in old}
    merged = {**given, "metadata": {**new, **kept}}
    if "status" in stored:
        merged["status"] = stored["status"]
    if given.get("kind") == "Service":
        merged["spec"] = _service_spec(stored.get("spec") or {}, given.get("spec") or {})
    return merged


def _service_spec(old: Object, new: Object) -> Object:
    filled = {name: old[name] for name in ALLOCATED if name in old and name not in new}
    return {**new, **filled}
