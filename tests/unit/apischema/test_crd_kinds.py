"""Definitions: Cairn's own are valid, broken ones are refused, and kinds come out of them."""

import copy
from typing import Any

import pytest

from cairn.apiserver.crd import complete_crd, crd_errors, kind_from_crd
from cairn.apiserver.schema import admit
from cairn.kube import resource
from cairn.kube.crds import load

DEFINITIONS = {crd["metadata"]["name"]: crd for crd in load()}


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_own_definitions_are_valid(kinds: Any, allocator: Any, name: str) -> None:
    kind = kinds["apiextensions.k8s.io/v1", "CustomResourceDefinition"]
    obj, errors, _ = admit(kind, DEFINITIONS[name], "Strict")
    assert errors == []
    complete_crd(obj, allocator())
    assert crd_errors(obj, None) == []
    assert crd_errors(obj, obj) == []


def structural_faults(schema: Any, path: str, inside: bool = False) -> list[str]:
    """What a real API server's rules of structural schemas forbid."""
    faults = []
    free = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if "type" not in schema and not free:
        faults.append(f"{path}: no type")
    if schema.get("type") == "array" and "items" not in schema:
        faults.append(f"{path}: no items")
    if "properties" in schema and schema.get("additionalProperties"):
        faults.append(f"{path}: properties beside additionalProperties")
    for name, child in (schema.get("properties") or {}).items():
        faults += structural_faults(child, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            faults += structural_faults(schema[word], f"{path}.{word}")
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    items = schema.get("items") or {}
    faults += [f"{path}: key {k} not required" for k in keys if k not in items.get("required", ())]
    return faults


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_own_schemas_are_structural(name: str) -> None:
    versions = DEFINITIONS[name]["spec"]["versions"]
    assert versions
    for version in versions:
        assert structural_faults(version["schema"]["openAPIV3Schema"], name) == []


def test_every_resource_cairn_speaks_of_has_its_kind(kinds: Any) -> None:
    known = [r for r in vars(resource).values() if isinstance(r, resource.Resource)]
    assert known
    for item in known:
        kind = kinds[item.api_version, item.kind]
        assert (kind.plural, kind.namespaced) == (item.plural, item.namespaced)


def test_names_and_abbreviations_are_unique(kinds: Any) -> None:
    by_name: dict[str, set[tuple[str, str]]] = {}
    for kind in kinds.values():
        for name in (kind.plural, *kind.short_names):
            by_name.setdefault(name, set()).add((kind.group, kind.kind))
    assert {name: found for name, found in by_name.items() if len(found) > 1} == {}


def widget() -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object"}},
                        }
                    },
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.n",
                            "statusReplicasPath": ".status.n",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1}
                    ],
                }
            ],
        },
    }


def test_kind_of_a_definition() -> None:
    kind = kind_from_crd(widget(), "v1")
    assert (kind.api_version, kind.kind, kind.plural) == ("example.org/v1", "Widget", "widgets")
    assert (kind.singular, kind.namespaced, kind.short_names) == ("widget", True, ("wd",))
    assert kind.subresources == {"status", "scale"}
    assert kind.scale is not None
    assert kind.scale.spec_replicas == ".spec.n"
    assert [(c.name, c.type, c.source, c.priority) for c in kind.columns] == [
        ("N", "integer", ".spec.n", 1)
    ]
    assert kind.custom


def test_a_version_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"widgets\.example\.org has no version v2"):
        kind_from_crd(widget(), "v2")


def at(obj: Any, path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for name in parents:
        obj = obj[int(name) if name.isdigit() else name]
    obj[last] = value


V = "spec/versions/0"
BROKEN = [
    ("metadata/name", "widget.example.org", "metadata.name", "widgets.example.org"),
    ("spec/group", "example", "spec.group", "at least one dot"),
    ("spec/conversion", {"strategy": "Webhook"}, "spec.conversion.strategy", '"None"'),
    (f"{V}/storage", False, "spec.versions", "exactly one"),
    (f"{V}/name", "V1", "spec.versions[0].name", "DNS label"),
    (f"{V}/schema", {}, "spec.versions[0].schema.openAPIV3Schema", "schemas are required"),
    (
        f"{V}/schema/openAPIV3Schema/type",
        "string",
        "spec.versions[0].schema.openAPIV3Schema.type",
        "must be object",
    ),
    (
        f"{V}/schema/openAPIV3Schema/properties/spec",
        {"type": "map"},
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].type",
        "Unsupported",
    ),
    (
        f"{V}/schema/openAPIV3Schema/properties/spec",
        {"type": "string", "pattern": "["},
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].pattern",
        "Invalid",
    ),
    (
        f"{V}/additionalPrinterColumns",
        [{"name": "N", "type": "string", "jsonPath": ".a["}],
        "spec.versions[0].additionalPrinterColumns[0].jsonPath",
        "not understood",
    ),
]


@pytest.mark.parametrize(("path", "value", "field", "text"), BROKEN)
def test_broken_definitions(path: str, value: Any, field: str, text: str) -> None:
    crd = widget()
    at(crd, path, value)
    errors = {error.field: error.message for error in crd_errors(crd, None)}
    assert text in errors[field]


def test_scope_and_kind_are_immutable() -> None:
    new = copy.deepcopy(widget())
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"]["kind"] = "Gadget"
    assert [error.field for error in crd_errors(new, widget())] == ["spec.scope", "spec.names.kind"]


def test_each_load_gives_objects_of_its_own() -> None:
    first = load()
    first[0]["spec"]["group"] = "changed"
    assert load()[0]["spec"]["group"] == "cilium.io"
