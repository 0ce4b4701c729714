"""Discovery: which groups, versions and kinds are served.

    Registry  ->  APIVersions, APIGroupList, APIResourceList, APIGroupDiscoveryList

Standards   Kubernetes API concepts, "API Discovery"; KEP-3352 (aggregated discovery, v2)
"""

from collections.abc import Sequence

from cairn.apiserver.kind import Json, Kind
from cairn.apiserver.registry import Registry
from cairn.apiserver.request import Reply, Request, json_reply
from cairn.apiserver.status import no_such_path

VERSION: Json = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0+cairn",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SUBRESOURCES = {
    "status": ("", ["get", "patch", "update"]),
    "scale": ("Scale", ["get", "patch", "update"]),
    "log": ("", ["get"]),
    "exec": ("PodExecOptions", ["create", "get"]),
    "attach": ("PodAttachOptions", ["create", "get"]),
    "portforward": ("PodPortForwardOptions", ["create", "get"]),
    "binding": ("Binding", ["create"]),
    "eviction": ("Eviction", ["create"]),
    "finalize": ("", ["update"]),
}
_SUBRESOURCE_GROUPS = {"Scale": ("autoscaling", "v1"), "Eviction": ("policy", "v1")}


def discover(registry: Registry, request: Request) -> Reply:
    """Return what /api, /apis and the paths below them say; raises Refused (404)."""
    parts = [part for part in request.path.split("/") if part]
    match parts:
        case ["api" | "apis"] if _wants_aggregated(request):
            groups = [""] if parts == ["api"] else registry.groups()
            return json_reply(200, _aggregated(registry, groups), content_type=_AGGREGATED)
        case ["api"]:
            versions = registry.versions("")
            return json_reply(200, {"kind": "APIVersions", "versions": versions})
        case ["apis"]:
            groups_ = [_group(registry, group) for group in registry.groups()]
            whole = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups_}
            return json_reply(200, whole)
        case ["apis", group] if group in registry.groups():
            head = {"kind": "APIGroup", "apiVersion": "v1"}
            return json_reply(200, head | _group(registry, group))
        case ["api", version] if version in registry.versions(""):
            return json_reply(200, _resources(registry, "", version))
        case ["apis", group, version] if group and version in registry.versions(group):
            return json_reply(200, _resources(registry, group, version))
    raise no_such_path()


def _wants_aggregated(request: Request) -> bool:
    offers = [offer.replace(" ", "") for offer in request.header("accept").split(",")]
    return any("as=APIGroupDiscoveryList" in offer and "v=v2;" in f"{offer};" for offer in offers)


def _group(registry: Registry, group: str) -> Json:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for version in registry.versions(group)
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _kinds(registry: Registry, group: str, version: str) -> list[Kind]:
    return [k for k in registry.all() if (k.group, k.version) == (group, version)]


def _resources(registry: Registry, group: str, version: str) -> Json:
    resources: list[Json] = []
    for kind in _kinds(registry, group, version):
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": sorted(kind.verbs),
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
                **({"categories": list(kind.categories)} if kind.categories else {}),
            }
        )
        for name in sorted(kind.subresources):
            other, verbs = _SUBRESOURCES.get(name, ("", ["get"]))
            entry = {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": other or kind.kind,
                "verbs": verbs,
            }
            if other in _SUBRESOURCE_GROUPS:
                entry["group"], entry["version"] = _SUBRESOURCE_GROUPS[other]
            resources.append(entry)
    version_name = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version_name,
        "resources": resources,
    }


def _aggregated(registry: Registry, groups: Sequence[str]) -> Json:
    items = [
        {
            "metadata": {"name": group or None, "creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [_aggregate(k) for k in _kinds(registry, group, version)],
                }
                for version in registry.versions(group)
            ],
        }
        for group in groups
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregate(kind: Kind) -> Json:
    subresources = []
    for name in sorted(kind.subresources):
        other, verbs = _SUBRESOURCES.get(name, ("", ["get"]))
        group, version = _SUBRESOURCE_GROUPS.get(other, (kind.group, kind.version))
        answers = {"group": group, "version": version, "kind": other or kind.kind}
        subresources.append({"subresource": name, "responseKind": answers, "verbs": verbs})
    return {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
        **({"subresources": subresources} if subresources else {}),
    }
