"""The operations of a kind, as the OpenAPI documents list them.

    Kind, reference to its schema  ->  paths of Swagger 2.0; paths of OpenAPI 3.0

Standards   kubectl looks for x-kubernetes-group-version-kind at every operation, for the parameters
            `fieldValidation` and `dryRun` at patch, and for patch's content types.
"""

from collections.abc import Mapping

from cairn.apiserver.kind import Json, Kind

_JSON = "application/json"
_PATCHES = ("application/json-patch+json", "application/merge-patch+json",
            "application/apply-patch+yaml")  # fmt: skip
_STRATEGIC = "application/strategic-merge-patch+json"
# verb -> (method, whether on one object, action)
_OPERATIONS: Mapping[str, tuple[str, bool, str]] = {
    "list": ("get", False, "list"),
    "create": ("post", False, "post"),
    "deletecollection": ("delete", False, "deletecollection"),
    "get": ("get", True, "get"),
    "update": ("put", True, "put"),
    "patch": ("patch", True, "patch"),
    "delete": ("delete", True, "delete"),
}
_WRITES = ("create", "update", "patch")
_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def _collection(kind: Kind) -> str:
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"{kind.path}{scope}/{kind.plural}"


def _operation_id(kind: Kind, verb: str) -> str:
    group = "".join(part.capitalize() for part in (kind.group or "core").split("."))
    scope = "Namespaced" if kind.namespaced else ""
    return f"{verb}{group}{kind.version.capitalize()}{scope}{kind.kind}"


def _common(kind: Kind, verb: str, action: str) -> Json:
    return {
        "operationId": _operation_id(kind, verb),
        "tags": [f"{kind.group or 'core'}_{kind.version}"],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": kind.group,
            "version": kind.version,
            "kind": kind.kind,
        },
    }


def _patch_types(kind: Kind) -> list[str]:
    return [*_PATCHES] if kind.custom else [*_PATCHES, _STRATEGIC]


def paths_v3(kind: Kind, reference: str) -> Json:
    """Return the kind's paths for a document of OpenAPI 3.0."""
    collection = _collection(kind)
    paths: Json = {}
    for verb, (method, one, action) in _OPERATIONS.items():
        if verb not in kind.verbs:
            continue
        path = collection + ("/{name}" if one else "")
        result = reference + ("List" if verb == "list" else "")
        content = {_JSON: {"schema": {"$ref": result}}}
        operation = _common(kind, verb, action)
        operation["responses"] = {"200": {"description": "OK", "content": content}}
        if verb in _WRITES:
            operation["parameters"] = [_query_v3(name) for name in _PARAMETERS]
            operation["requestBody"] = _body_v3(kind, verb, reference)
        item = paths.setdefault(path, {"parameters": _path_parameters(kind, one, v3=True)})
        item[method] = operation
    return paths


def _body_v3(kind: Kind, verb: str, reference: str) -> Json:
    if verb == "patch":
        return {"content": {name: {"schema": {"type": "object"}} for name in _patch_types(kind)}}
    return {"content": {"*/*": {"schema": {"$ref": reference}}}, "required": True}


def _query_v3(name: str) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def _path_parameters(kind: Kind, one: bool, *, v3: bool) -> list[Json]:
    names = (["namespace"] if kind.namespaced else []) + (["name"] if one else [])
    kind_of: Json = {"schema": {"type": "string"}} if v3 else {"type": "string"}
    return [{"name": name, "in": "path", "required": True, **kind_of} for name in names]


def paths_v2(kind: Kind, reference: str) -> Json:
    """Return the kind's paths for a document of Swagger 2.0."""
    collection = _collection(kind)
    paths: Json = {}
    for verb, (method, one, action) in _OPERATIONS.items():
        if verb not in kind.verbs:
            continue
        path = collection + ("/{name}" if one else "")
        result = reference + ("List" if verb == "list" else "")
        operation = _common(kind, verb, action)
        operation |= {"consumes": [_JSON], "produces": [_JSON], "schemes": ["https"]}
        operation["responses"] = {"200": {"description": "OK", "schema": {"$ref": result}}}
        if verb in _WRITES:
            operation["parameters"] = _parameters_v2(verb, reference)
        if verb == "patch":
            operation["consumes"] = _patch_types(kind)
        item = paths.setdefault(path, {"parameters": _path_parameters(kind, one, v3=False)})
        item[method] = operation
    return paths


def _parameters_v2(verb: str, reference: str) -> list[Json]:
    schema: Json = {"type": "object"} if verb == "patch" else {"$ref": reference}
    body: Json = {"name": "body", "in": "body", "required": True, "schema": schema}
    queries = [{"name": n, "in": "query", "type": "string"} for n in _PARAMETERS]
    return [body, *queries]
