"""The OpenAPI documents: complete, closed, and with what kubectl looks for."""

from collections.abc import Iterator
from typing import Any

import pytest

from cairn.apiserver.openapi import definition_name, openapi_v2, openapi_v3, openapi_v3_index

GVK = "x-kubernetes-group-version-kind"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def follow(document: Any, reference: str) -> Any:
    for step in reference.removeprefix("#/").split("/"):
        document = document[step]
    return document


def groups(kinds: Any) -> set[tuple[str, str]]:
    return {(kind.group, kind.version) for kind in kinds.values()}


def test_index_names_every_group(kinds: Any) -> None:
    paths = openapi_v3_index(kinds.values())["paths"]
    assert set(paths) == {f"apis/{g}/{v}" if g else f"api/{v}" for g, v in groups(kinds)}
    assert all("?hash=" in entry["serverRelativeURL"] for entry in paths.values())


def test_every_reference_leads_somewhere(kinds: Any) -> None:
    documents = [openapi_v2(kinds.values())]
    documents += [openapi_v3(kinds.values(), *group) for group in sorted(groups(kinds))]
    for document in documents:
        found = set(references(document))
        assert found
        assert all(follow(document, reference)["type"] for reference in found)


def test_every_kind_is_found_by_path_and_by_type(kinds: Any) -> None:
    for kind in kinds.values():
        document = openapi_v3(kinds.values(), kind.group, kind.version)
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        operations = document["paths"][f"{kind.path}{scope}/{kind.plural}/{{name}}"]
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        assert operations["get"][GVK] == gvk
        schema = document["components"]["schemas"][definition_name(kind)]
        assert schema[GVK] == [gvk]
        assert {"apiVersion", "kind", "metadata"} <= set(schema["properties"])
        names = {parameter["name"] for parameter in operations["patch"]["parameters"]}
        assert {"fieldValidation", "dryRun"} <= names
        strategic = "application/strategic-merge-patch+json"
        assert (strategic in operations["patch"]["requestBody"]["content"]) is not kind.custom


def resolved(document: Any, schema: Any) -> Any:
    for part in (schema, *schema.get("allOf", ())):
        if "$ref" in part:
            return follow(document, part["$ref"])
    return schema


@pytest.mark.parametrize(
    ("group", "kind", "path", "key"),
    [
        ("", "Service", "spec/ports", "port"),
        ("", "Pod", "spec/containers", "name"),
        ("", "Pod", "spec/containers/items/env", "name"),
        ("", "Pod", "spec/containers/items/volumeMounts", "mountPath"),
        ("apps", "Deployment", "spec/template/spec/containers/items/ports", "containerPort"),
        ("apps", "DaemonSet", "spec/template/spec/volumes", "name"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_merge_keys(kinds: Any, group: str, kind: str, path: str, key: str, version: int) -> None:
    found = kinds[f"{group}/v1" if group else "v1", kind]
    if version == 2:
        document = openapi_v2(kinds.values())
        schema = document["definitions"][definition_name(found)]
    else:
        document = openapi_v3(kinds.values(), group, "v1")
        schema = document["components"]["schemas"][definition_name(found)]
    for step in path.split("/"):
        schema = resolved(document, schema)
        schema = schema["items"] if step == "items" else schema["properties"][step]
    assert schema["x-kubernetes-patch-merge-key"] == key
    assert schema["x-kubernetes-patch-strategy"].startswith("merge")


def test_fields_people_ask_about_are_described(kinds: Any) -> None:
    document = openapi_v3(kinds.values(), "", "v1")
    schemas = document["components"]["schemas"]
    for name in ("ServiceSpec", "ServicePort", "PodSpec", "Container", "Probe"):
        properties = schemas[f"io.k8s.api.core.v1.{name}"]["properties"]
        assert properties
        assert all(
            field.get("description") or resolved(document, field).get("description")
            for field in properties.values()
        ), name


def test_v2_lists_no_fields_where_others_are_kept(kinds: Any) -> None:
    definitions = openapi_v2(kinds.values())["definitions"]
    status = definitions["io.cilium.v2.CiliumNode"]["properties"]["status"]
    assert status["x-kubernetes-preserve-unknown-fields"] is True
    assert {"type", "properties"}.isdisjoint(status)
