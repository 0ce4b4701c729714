"""Pruning, defaulting and checking against schemas."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.apiserver.kind import Kind, Reason
from cairn.apiserver.schema import admit


def thing(schema: dict[str, Any]) -> Kind:
    body = {"type": "object", "properties": {"spec": schema}}
    return Kind("example.org", "v1", "Thing", "things", "thing", True, schema=body, custom=True)


def admitted(schema: dict[str, Any], spec: Any, validation: str = "Strict") -> Any:
    obj = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    before = copy.deepcopy(obj)
    result = admit(thing(schema), obj, validation)
    assert obj == before, "the object given was changed"
    return result


STRING = {"type": "string"}
PAIR = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["port", "protocol"],
    "items": {
        "type": "object",
        "properties": {
            "port": {"type": "integer"},
            "protocol": {"type": "string", "default": "TCP"},
        },
    },
}

BAD = [
    (STRING, 5, Reason.TYPE_INVALID, "must be of type string"),
    ({"type": "integer"}, "5", Reason.TYPE_INVALID, "must be of type integer"),
    ({"type": "integer"}, True, Reason.TYPE_INVALID, "must be of type integer"),
    ({"type": "boolean"}, 0, Reason.TYPE_INVALID, "must be of type boolean"),
    ({"type": "array"}, {}, Reason.TYPE_INVALID, "must be of type array"),
    ({"type": "object"}, [], Reason.TYPE_INVALID, "must be of type object"),
    ({"type": "string", "enum": ["a", "b"]}, "c", Reason.NOT_SUPPORTED, 'values: "a", "b"'),
    ({"type": "string", "pattern": "^a+$"}, "ab", Reason.INVALID, "should match '^a+$'"),
    ({"type": "string", "pattern": "^a+$"}, "a\n", Reason.INVALID, "should match '^a+$'"),
    ({"type": "string", "maxLength": 2}, "abc", Reason.INVALID, "at most 2 chars"),
    ({"type": "string", "minLength": 1}, "", Reason.INVALID, "at least 1 chars"),
    ({"type": "string", "format": "date-time"}, "noon", Reason.INVALID, "of type date-time"),
    ({"type": "string", "format": "ipv4"}, "::1", Reason.INVALID, "of type ipv4"),
    ({"type": "integer", "minimum": 1}, 0, Reason.INVALID, "greater than or equal to 1"),
    ({"type": "integer", "maximum": 9}, 10, Reason.INVALID, "less than or equal to 9"),
    (
        {"type": "integer", "maximum": 9, "exclusiveMaximum": True},
        9,
        Reason.INVALID,
        "should be less than 9",
    ),
    ({"type": "integer", "multipleOf": 5}, 7, Reason.INVALID, "multiple of 5"),
    ({"type": "array", "minItems": 1}, [], Reason.INVALID, "at least 1 items"),
    ({"type": "array", "uniqueItems": True}, [1, 1], Reason.INVALID, "duplicates"),
    ({"type": "object", "required": ["a"]}, {}, Reason.REQUIRED, "Required value"),
    ({"type": "array", "x-kubernetes-list-type": "set"}, ["a", "a"], Reason.DUPLICATE, '"a"'),
    (PAIR, [{"port": 80}, {"port": 80, "protocol": "TCP"}], Reason.DUPLICATE, "port=80"),
    ({"x-kubernetes-int-or-string": True}, [], Reason.TYPE_INVALID, "an integer or a string"),
    (
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "oneOf": [
            {"required": ["a"]}, {"required": ["b"]}]},
        {"a": 1, "b": 2}, Reason.INVALID, "exactly one",
    ),
    (
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "anyOf": [
            {"required": ["a"]}, {"required": ["b"]}]},
        {"c": 1}, Reason.INVALID, "at least one",
    ),
    ({"type": "string", "not": {"enum": ["x"]}}, "x", Reason.INVALID, "must not"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "spec", "reason", "text"), BAD)
def test_what_breaks_a_schema(schema: Any, spec: Any, reason: Reason, text: str) -> None:
    _, errors, _ = admitted(schema, spec)
    assert [error.reason for error in errors] == [reason]
    assert text in str(errors[0])
    assert errors[0].field.startswith("spec")


GOOD = [
    (STRING, "x", "x"),
    ({"type": "integer"}, 5, 5),
    ({"type": "number"}, 5, 5),
    ({"x-kubernetes-int-or-string": True}, "http", "http"),
    ({"x-kubernetes-int-or-string": True}, 80, 80),
    ({"type": "string", "nullable": True}, None, None),
    ({"type": "object", "additionalProperties": STRING}, {"a": "b"}, {"a": "b"}),
    ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"a": [1]}, {"a": [1]}),
    (
        {"type": "object", "properties": {"a": {"type": "integer", "default": 3}}},
        {}, {"a": 3},
    ),
    (
        {"type": "object", "properties": {"a": {"type": "integer", "default": 3}}},
        {"a": None}, {"a": 3},
    ),
    (
        {"type": "object", "properties": {
            "a": {"type": "object", "default": {}, "properties": {
                "b": {"type": "string", "default": "c"}}}}},
        {}, {"a": {"b": "c"}},
    ),
    (PAIR, [{"port": 80}, {"port": 80, "protocol": "UDP"}],
     [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "spec", "expected"), GOOD)
def test_what_fits_a_schema(schema: Any, spec: Any, expected: Any) -> None:
    obj, errors, warnings = admitted(schema, spec)
    assert (errors, warnings) == ([], [])
    assert obj["spec"] == expected
    assert admit(thing(schema), obj, "Strict") == (obj, [], [])


def test_null_where_it_is_not_allowed_means_not_set() -> None:
    obj, errors, _ = admitted(STRING, None)
    assert errors == []
    assert "spec" not in obj


UNKNOWN = {"type": "object", "properties": {"known": STRING}}


def test_unknown_field_is_an_error_when_strict() -> None:
    obj, errors, warnings = admitted(UNKNOWN, {"known": "a", "other": [1]})
    assert [(str(e), e.reason) for e in errors] == [('unknown field "spec.other"', Reason.UNKNOWN)]
    assert warnings == []
    assert obj["spec"] == {"known": "a"}


def test_unknown_field_is_told_when_warning() -> None:
    obj, errors, warnings = admitted(UNKNOWN, {"other": 1}, "Warn")
    assert (errors, warnings) == ([], ['unknown field "spec.other"'])
    assert obj["spec"] == {}


def test_unknown_field_goes_in_silence_only_when_ignored() -> None:
    assert admitted(UNKNOWN, {"other": 1}, "Ignore")[1:] == ([], [])


def test_too_deep_nesting_is_an_error() -> None:
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    obj = {"metadata": {"name": "x"}, "spec": deep}
    kind = thing({"x-kubernetes-preserve-unknown-fields": True})
    assert "nested too deeply" in str(admit(kind, obj, "Strict")[1][0])


METADATA = [
    ({}, "metadata.name", "name or generateName is required"),
    ({"name": "Upper"}, "metadata.name", "RFC 1123"),
    ({"generateName": "-x"}, "metadata.generateName", "RFC 1123"),
    ({"name": "x", "labels": {"a b": "c"}}, "metadata.labels", "name part"),
    ({"name": "x", "labels": {"A.b/": "c"}}, "metadata.labels", "prefix part"),
    ({"name": "x", "labels": {"a": "-c"}}, "metadata.labels", "a valid label"),
    ({"name": "x", "labels": {"a": 5}}, "metadata.labels[a]", "must be of type string"),
    ({"name": "x", "annotations": {"/": "c"}}, "metadata.annotations", "prefix part"),
    ({"name": "x", "annotations": {"a": "c" * 300_000}}, "metadata.annotations", "Too long"),
    ({"name": "x", "lable": "c"}, "metadata.lable", 'unknown field "metadata.lable"'),
]


@pytest.mark.parametrize(("metadata", "field", "text"), METADATA)
def test_metadata_is_checked(metadata: Any, field: str, text: str) -> None:
    _, errors, _ = admit(thing(STRING), {"metadata": metadata}, "Strict")
    assert [error.field for error in errors] == [field]
    assert text in str(errors[0])


@pytest.mark.parametrize(
    ("kind", "name", "good"),
    [
        (("v1", "Service"), "web-1", True),
        (("v1", "Service"), "1-web", False),
        (("v1", "Service"), "web.x", False),
        (("v1", "Namespace"), "a.b", False),
        (("v1", "Pod"), "a.b", True),
        (("v1", "ConfigMap"), "kube-root-ca.crt", True),
        (("rbac.authorization.k8s.io/v1", "ClusterRole"), "system:node", True),
        (("rbac.authorization.k8s.io/v1", "ClusterRole"), "a/b", False),
    ],
)
def test_names_by_kind(kinds: Any, kind: tuple[str, str], name: str, good: bool) -> None:
    _, errors, _ = admit(kinds[kind], {"metadata": {"name": name}}, "Strict")
    assert any(error.field == "metadata.name" for error in errors) is not good


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(spec=JSON, metadata=JSON)
def test_any_json_is_admitted_or_refused_in_words(kinds: Any, spec: Any, metadata: Any) -> None:
    for kind in kinds.values():
        obj, errors, _ = admit(kind, {"metadata": metadata, "spec": spec}, "Warn")
        if not errors:
            again, errors, warnings = admit(kind, obj, "Strict")
            assert (again, errors, warnings) == (obj, [], [])
