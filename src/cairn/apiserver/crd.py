"""CustomResourceDefinitions: their own schema and rules, and the kinds they make.

    CRD object, version  ->  Kind

Standards   Kubernetes "Extend the Kubernetes API with CustomResourceDefinitions"
"""

import re
from collections.abc import Mapping
from typing import Any

from cairn.apiserver import dialect, notes
from cairn.apiserver.builtin_meta import CONDITIONS
from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.jsonpath import BadPath, check_path
from cairn.apiserver.kind import Column, Context, FieldError, Json, Kind, Reason, Scale
from cairn.apiserver.naming import is_label, is_subdomain
from cairn.apiserver.notation import (
    anything,
    boolean,
    integer,
    list_of,
    obj,
    string,
)
from cairn.apiserver.policy_rules import policy_errors
from cairn.kube.resource import POLICY_KINDS

_NAMES = obj(
    "Names of the kind.",
    title="CustomResourceDefinitionNames",
    required=("plural", "kind"),
    plural=string("Name in paths."),
    singular=string("Name on kubectl's command line."),
    kind=string("Name in objects."),
    listKind=string("Name of lists of it."),
    shortNames=list_of(string(), "Abbreviations for kubectl."),
    categories=list_of(string(), "Groups of kinds, as all."),
)
_COLUMN = obj(
    "One column of kubectl get.",
    title="CustomResourceColumnDefinition",
    required=("name", "type", "jsonPath"),
    name=string("Head of the column."),
    type=string("Sort of its values.", enum=("string", "integer", "number", "boolean", "date")),
    jsonPath=string("Where the value stands in the object."),
    priority=integer("0 is always shown, more only with -o wide."),
    description=string("What it tells."),
    format=string("How the value is written."),
)
_VERSION = obj(
    "One version of the kind.",
    title="CustomResourceDefinitionVersion",
    required=("name", "served", "storage"),
    name=string("Name of the version, as v1."),
    served=boolean("Whether the API server offers it."),
    storage=boolean("Whether objects are stored in it; true for just one version."),
    deprecated=boolean("Whether clients are warned."),
    deprecationWarning=string("Words of the warning."),
    schema=obj("What objects look like.", openAPIV3Schema=anything("An OpenAPI v3 schema.")),
    subresources=obj(
        "Parts with paths of their own.",
        status=anything("The status."),
        scale=obj(
            "How many there are to be.",
            required=("specReplicasPath", "statusReplicasPath"),
            specReplicasPath=string("Where the wanted number stands."),
            statusReplicasPath=string("Where the present number stands."),
            labelSelectorPath=string("Where the selector stands, as text."),
        ),
    ),
    additionalPrinterColumns=list_of(_COLUMN, "Columns of kubectl get."),
    selectableFields=list_of(
        obj(required=("jsonPath",), jsonPath=string()), "Fields that a selector may name."
    ),
)
CUSTOM_RESOURCE_DEFINITION = obj(
    "A kind of objects that the API server is to offer.",
    required=("spec",),
    spec=obj(
        "The kind.",
        title="CustomResourceDefinitionSpec",
        required=("group", "names", "scope", "versions"),
        group=string("API group of the kind."),
        names=_NAMES,
        scope=string("Where objects live.", enum=("Namespaced", "Cluster")),
        versions=list_of(_VERSION, "Versions of the kind."),
        conversion=anything("How versions become one another; only None is known here."),
        preserveUnknownFields=boolean("Not used any more."),
    ),
    status=obj(
        "Whether the kind is offered.",
        title="CustomResourceDefinitionStatus",
        conditions=CONDITIONS,
        acceptedNames=_NAMES,
        storedVersions=list_of(string(), "Versions in which objects have been stored."),
        observedGeneration=integer("Generation that was looked at.", bits=64),
    ),
)
_NOTED = frozenset({dialect.GROUP, *(known.group for known in POLICY_KINDS)})
_AGE = Column("Age", "date", ".metadata.creationTimestamp")
_VERSION_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_TYPES = ("object", "array", "string", "integer", "number", "boolean")


def complete_crd(obj: Json, context: Context) -> None:
    """Fill in what a definition leaves open."""
    names = obj["spec"]["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    obj["spec"].setdefault("conversion", {"strategy": "None"})


def crd_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with a definition."""
    spec = new["spec"]
    errors = []
    expected = f"{spec['names'].get('plural')}.{spec.get('group')}"
    if new["metadata"].get("name") != expected:
        text = f'Invalid value: "{new["metadata"].get("name")}": must be spec.names.plural+"."+'
        errors.append(FieldError("metadata.name", Reason.INVALID, f"{text}spec.group: {expected}"))
    if not is_subdomain(spec["group"]) or "." not in spec["group"]:
        text = f'Invalid value: "{spec["group"]}": should be a domain with at least one dot'
        errors.append(FieldError("spec.group", Reason.INVALID, text))
    if not is_label(spec["names"]["plural"]):
        text = f'Invalid value: "{spec["names"]["plural"]}": must be a DNS label'
        errors.append(FieldError("spec.names.plural", Reason.INVALID, text))
    strategy = (spec.get("conversion") or {}).get("strategy", "None")
    if strategy != "None":
        text = f'Unsupported value: "{strategy}": supported values: "None"'
        errors.append(FieldError("spec.conversion.strategy", Reason.NOT_SUPPORTED, text))
    stored = [version["name"] for version in spec["versions"] if version["storage"]]
    if len(stored) != 1:
        text = f"Invalid value: {stored}: must have exactly one version marked as storage version"
        errors.append(FieldError("spec.versions", Reason.INVALID, text))
    for index, version in enumerate(spec["versions"]):
        errors += _version_errors(version, f"spec.versions[{index}]")
    return errors + (_frozen_errors(spec, old["spec"]) if old else [])


def _frozen_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    if spec["scope"] != before["scope"]:
        text = f'Invalid value: "{spec["scope"]}": field is immutable'
        errors.append(FieldError("spec.scope", Reason.INVALID, text))
    if spec["names"]["kind"] != before["names"]["kind"]:
        text = f'Invalid value: "{spec["names"]["kind"]}": field is immutable'
        errors.append(FieldError("spec.names.kind", Reason.INVALID, text))
    return errors


def _version_errors(version: Mapping[str, Any], path: str) -> list[FieldError]:
    errors = []
    if not _VERSION_NAME.match(version["name"]):
        text = f'Invalid value: "{version["name"]}": must be a lowercase DNS label'
        errors.append(FieldError(f"{path}.name", Reason.INVALID, text))
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    where = f"{path}.schema.openAPIV3Schema"
    if schema is None:
        text = "Required value: schemas are required"
        errors.append(FieldError(where, Reason.REQUIRED, text))
    elif schema.get("type") != "object":
        text = f'Invalid value: "{schema.get("type")}": must be object at the root'
        errors.append(FieldError(f"{where}.type", Reason.INVALID, text))
    else:
        errors += _schema_errors(schema, where)
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        try:
            check_path(column["jsonPath"])
        except BadPath as problem:
            field = f"{path}.additionalPrinterColumns[{index}].jsonPath"
            errors.append(FieldError(field, Reason.INVALID, f"Invalid value: {problem}"))
    return errors


def _schema_errors(schema: Any, path: str) -> list[FieldError]:
    """Return what makes a schema unusable: a wrong type, pattern or part."""
    if not isinstance(schema, Mapping):
        text = f"Invalid value: {schema!r}: must be a schema"
        return [FieldError(path, Reason.TYPE_INVALID, text)]
    errors = []
    known = schema.get("type")
    if known is not None and known not in _TYPES:
        words = ", ".join(f'"{word}"' for word in _TYPES)
        text = f'Unsupported value: "{known}": supported values: {words}'
        errors.append(FieldError(f"{path}.type", Reason.NOT_SUPPORTED, text))
    if "$ref" in schema:
        errors.append(FieldError(f"{path}.$ref", Reason.FORBIDDEN, "Forbidden: $ref is not known"))
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except (re.error, TypeError) as problem:
            text = f"Invalid value: {schema['pattern']!r}: {problem}"
            errors.append(FieldError(f"{path}.pattern", Reason.INVALID, text))
    for name, child in (schema.get("properties") or {}).items():
        errors += _schema_errors(child, f"{path}.properties[{name}]")
    for word in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(word), Mapping):
            errors += _schema_errors(schema[word], f"{path}.{word}")
    return errors


def kind_from_crd(crd: dict[str, Any], version: str) -> Kind:
    """Return the kind that a definition makes in one of its versions; raises KeyError."""
    spec = crd["spec"]
    names = spec["names"]
    found = next((v for v in spec["versions"] if v["name"] == version), None)
    if found is None:
        raise KeyError(f"{crd['metadata']['name']} has no version {version}")
    subresources = found.get("subresources") or {}
    scale = subresources.get("scale")
    schema = duplicate((found.get("schema") or {}).get("openAPIV3Schema") or {})
    if spec.get("preserveUnknownFields"):
        schema["x-kubernetes-preserve-unknown-fields"] = True
    columns = tuple(_column(item) for item in found.get("additionalPrinterColumns") or ())
    return Kind(
        group=spec["group"],
        version=version,
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if name in subresources),
        schema=schema,
        columns=columns or (_AGE,),
        validate=policy_errors if _is_policy(spec["group"], names["kind"]) else None,
        warn=notes.warnings if spec["group"] in _NOTED else None,
        scale=_scale(scale) if scale else None,
        custom=True,
    )


def _is_policy(group: str, kind: str) -> bool:
    return any((group, kind) == (known.group, known.kind) for known in POLICY_KINDS)


def _column(item: Mapping[str, Any]) -> Column:
    return Column(
        name=item["name"],
        type=item["type"],
        source=item["jsonPath"],
        priority=item.get("priority") or 0,
        description=item.get("description") or "",
        format=item.get("format") or "",
    )


def _scale(scale: Mapping[str, Any]) -> Scale:
    return Scale(
        spec_replicas=scale["specReplicasPath"],
        status_replicas=scale["statusReplicasPath"],
        selector=scale.get("labelSelectorPath") or "",
    )
