"""The OpenAPI documents that kubectl explains, validates and computes patches by.

    kinds  ->  Swagger 2.0 document; kinds of one group and version  ->  OpenAPI 3.0 document

Invariants  A schema with a title becomes a definition of its own, which explain can name.
Standards   OpenAPI 3.0.0, Swagger 2.0; x-kubernetes-group-version-kind, x-kubernetes-action
Not here    Paths (openapi_paths), encoding (documents).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping

from cairn.apiserver.kind import Json, Kind
from cairn.apiserver.notation import Schema
from cairn.apiserver.openapi_paths import paths_v2, paths_v3
from cairn.apiserver.schema import full_schema

VERSION = "v1.33.0"
_V2 = "#/definitions/"
_V3 = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_META_TITLES = frozenset({"ObjectMeta", "OwnerReference", "ManagedFieldsEntry", "LabelSelector",
                          "LabelSelectorRequirement", "Condition"})  # fmt: skip
# Words of a schema that Swagger 2.0 lacks, or that kubectl's old reader trips over.
_NOT_IN_V2 = frozenset({"nullable", "oneOf", "anyOf", "allOf", "not", "title"})


def definition_name(kind: Kind) -> str:
    """Return the name of a kind's definition."""
    group = ".".join(reversed(kind.group.split("."))) if kind.custom else ""
    if not kind.custom:
        group = f"io.k8s.api.{kind.group.partition('.')[0] or 'core'}"
    return f"{group}.{kind.version}.{kind.kind}"


def openapi_v2(kinds: Iterable[Kind]) -> Json:
    """Return the one document of Swagger 2.0 for all kinds."""
    kinds = list(kinds)
    names = {id(kind): definition_name(kind) for kind in kinds}
    definitions: Json = {}
    for kind in kinds:
        _define(kind, definitions, _V2)
    return {
        "swagger": "2.0",
        "info": {"title": "Cairn", "version": VERSION},
        "paths": {
            path: item
            for kind in kinds
            for path, item in paths_v2(kind, _V2 + names[id(kind)]).items()
        },
        "definitions": definitions,
    }


def openapi_v3(kinds: Iterable[Kind], group: str, version: str) -> Json:
    """Return the document of OpenAPI 3.0 for one group and version."""
    wanted = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    schemas: Json = {}
    paths: Json = {}
    for kind in wanted:
        _define(kind, schemas, _V3)
        paths |= paths_v3(kind, _V3 + definition_name(kind))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Cairn", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def openapi_v3_index(kinds: Iterable[Kind]) -> Json:
    """Return where each group's document is found; the hash changes with its content."""
    kinds = list(kinds)
    paths: Json = {}
    for group, version in sorted({(kind.group, kind.version) for kind in kinds}):
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        document = json.dumps(openapi_v3(kinds, group, version), sort_keys=True)
        mark = hashlib.sha256(document.encode()).hexdigest()[:32].upper()
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={mark}"}
    return {"paths": paths}


def _define(kind: Kind, definitions: Json, prefix: str) -> None:
    """Add the definitions of a kind and of its list."""
    name = definition_name(kind)
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    translator = _Translator(definitions, prefix, name.rpartition(".")[0] + ".")
    body = translator.body({k: v for k, v in full_schema(kind).items() if k != "title"})
    definitions[name] = body | {"x-kubernetes-group-version-kind": [gvk]}
    definitions[f"{name}List"] = {
        "type": "object",
        "description": f"A list of {kind.kind} objects.",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": _LIST_META},
            "items": {"type": "array", "items": {"$ref": prefix + name}},
        },
        "x-kubernetes-group-version-kind": [gvk | {"kind": f"{kind.kind}List"}],
    }


_LIST_META: Mapping[str, Schema] = {
    "resourceVersion": {"type": "string"},
    "continue": {"type": "string"},
    "remainingItemCount": {"type": "integer", "format": "int64"},
}


class _Translator:
    """Turns structural schemas into a document's own; titled ones move to its definitions."""

    def __init__(self, definitions: Json, prefix: str, package: str) -> None:
        self._definitions = definitions
        self._prefix = prefix
        self._package = package

    def visit(self, schema: Schema) -> Schema:
        """Return a schema, or a reference to it if it has a title."""
        title = schema.get("title")
        if not title or not str(title).isidentifier() or "properties" not in schema:
            return self.body(schema)
        name = (_META if title in _META_TITLES else self._package) + title
        body = self.body({k: v for k, v in schema.items() if k not in ("title", *_LOCAL)})
        if self._prefix == _V3:
            # Here each use describes itself: explain shows both, and nothing of a bare reference.
            body.pop("description", None)
        known = self._definitions.setdefault(name, body)
        if known.get("properties") != body.get("properties"):
            return self.body({k: v for k, v in schema.items() if k != "title"})
        here = {k: v for k, v in schema.items() if k in _LOCAL or k == "description"}
        if self._prefix == _V2:
            return here | {"$ref": self._prefix + name}
        return here | {"allOf": [{"$ref": self._prefix + name}]}

    def body(self, schema: Schema) -> Schema:
        """Return a schema with all that is below it translated."""
        result = dict(schema)
        if self._prefix == _V2:
            if schema.get("x-kubernetes-preserve-unknown-fields"):
                # kubectl's old reader takes what is listed for all there may be.
                return {k: v for k, v in result.items() if k.startswith(("x-", "descr"))}
            result = {k: v for k, v in result.items() if k not in _NOT_IN_V2}
        if schema.get("x-kubernetes-int-or-string"):
            result = self._int_or_string(result)
        if "properties" in schema:
            children = schema["properties"].items()
            result["properties"] = {name: self.visit(child) for name, child in children}
        for word in ("items", "additionalProperties"):
            if isinstance(schema.get(word), dict):
                result[word] = self.visit(schema[word])
        return result

    def _int_or_string(self, schema: Schema) -> Schema:
        # Clients read this sort of value as text, whatever the document's version.
        kept = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf", "allOf", "pattern")}
        return kept | {"type": "string", "format": "int-or-string"}


_LOCAL = ("x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "nullable", "default")
