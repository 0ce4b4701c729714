"""From a path to what it names: a kind, a namespace, an object, a subresource.

    "/apis/apps/v1/namespaces/default/deployments/web/scale"  ->  Route

Standards   Kubernetes API concepts, "Resource URIs"
"""

from dataclasses import dataclass

from cairn.apiserver.kind import Kind
from cairn.apiserver.registry import Registry
from cairn.apiserver.status import no_such_path


@dataclass(frozen=True, slots=True)
class Route:
    """What a resource's path names."""

    kind: Kind
    """The kind, in the path's version."""
    namespace: str
    """Empty: none, or all of them."""
    name: str
    """Empty: the collection."""
    subresource: str
    """Empty: the object itself."""
    watch: bool = False
    """Whether it is an old `/watch/` path."""


def route_of(registry: Registry, path: str) -> Route:
    """Return what a path below /api or /apis names; raises Refused (404)."""
    parts = [part for part in path.split("/") if part]
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    watch = rest[0] == "watch" and len(rest) > 1
    if watch:
        rest = rest[1:]
    namespace = ""
    # /namespaces/x and its subresources are about the namespace, /namespaces/x/pods is in it.
    if rest[0] == "namespaces" and len(rest) >= 3 and registry.find(group, version, rest[2]):
        namespace, rest = rest[1], rest[2:]
    kind = registry.find(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    if name and kind.namespaced and not namespace:
        raise no_such_path()
    if subresource and subresource not in kind.subresources:
        raise no_such_path()
    return Route(kind, namespace, name, subresource, watch)
