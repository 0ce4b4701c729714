"""Patches: the examples of the RFCs, the directives of strategic merge, and their laws."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.apiserver.patch import PatchError, apply_patch, json_patch, merge_patch

# RFC 7396, appendix A: original, patch, result.
MERGE = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), MERGE)
def test_merge_patch_examples(target: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == expected
    assert target == before


JSON = st.recursive(
    st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_merge_patch_twice_is_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(JSON)
def test_empty_merge_patch_changes_nothing(value: Any) -> None:
    assert merge_patch({"a": value}, {}) == {"a": value}


# RFC 6902, appendix A, by section: document, operations, result.
OPERATIONS = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [
            {"op": "test", "path": "/baz", "value": "qux"},
            {"op": "test", "path": "/foo/1", "value": 2},
        ],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    (
        {"/": 9, "~1": 10},
        [{"op": "test", "path": "/~01", "value": 10}],
        {"/": 9, "~1": 10},
    ),
    (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
    ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
]


@pytest.mark.parametrize(("document", "operations", "expected"), OPERATIONS)
def test_json_patch_examples(document: Any, operations: Any, expected: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch(document, operations) == expected
    assert document == before


REFUSED = [
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], 422),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], 422),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], 422),
    ({"a": True}, [{"op": "test", "path": "/a", "value": 1}], 422),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], 422),
    ({"a": [1]}, [{"op": "remove", "path": "/a/01"}], 422),
    ({"a": [1]}, [{"op": "remove", "path": "/a/-1"}], 422),
    ({"a": [1]}, [{"op": "replace", "path": "/b", "value": 1}], 422),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}], 422),
    ({}, [{"op": "add", "path": "a", "value": 1}], 400),
    ({}, [{"op": "add", "path": "/a"}], 400),
    ({}, [{"op": "jump", "path": "/a"}], 400),
    ({}, {"op": "add"}, 400),
    ({}, ["add"], 400),
]


@pytest.mark.parametrize(("document", "operations", "code"), REFUSED)
def test_json_patch_refusals(document: Any, operations: Any, code: int) -> None:
    with pytest.raises(PatchError) as caught:
        json_patch(document, operations)
    assert caught.value.code == code


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1", **more}


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


STRATEGIC_TYPE = "application/strategic-merge-patch+json"
STRATEGIC = [
    # an item with the same key merges, another one joins
    (
        pod(container("a"), container("b")),
        {"spec": {"containers": [{"name": "b", "image": "b:2"}, container("c")]}},
        pod(container("a"), container("b") | {"image": "b:2"}, container("c")),
    ),
    # $patch: delete takes one item away
    (
        pod(container("a"), container("b")),
        {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}},
        pod(container("b")),
    ),
    # $patch: replace takes the whole list's place
    (
        pod(container("a"), container("b")),
        {"spec": {"containers": [container("c"), {"$patch": "replace"}]}},
        pod(container("c")),
    ),
    # $patch: replace in an object
    (
        {"metadata": {"name": "p", "labels": {"a": "1", "b": "2"}}},
        {"metadata": {"labels": {"c": "3", "$patch": "replace"}}},
        {"metadata": {"name": "p", "labels": {"c": "3"}}},
    ),
    # $setElementOrder moves items; one that the client does not know stays before what it preceded
    (
        pod(container("a"), container("x"), container("b")),
        {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
        pod(container("x"), container("b"), container("a")),
    ),
    # new items in the client's order
    (
        pod(container("a")),
        {"spec": {
            "$setElementOrder/containers": [{"name": "n"}, {"name": "a"}],
            "containers": [container("n")],
        }},
        pod(container("n"), container("a")),
    ),
    # a set of plain values grows, $deleteFromPrimitiveList shrinks it
    (
        {"metadata": {"name": "p", "finalizers": ["a", "b"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}},
        {"metadata": {"name": "p", "finalizers": ["b", "c"]}},
    ),
    # $retainKeys drops the volume's old source
    (
        pod(container("a"), volumes=[{"name": "v", "emptyDir": {}}]),
        {"spec": {"volumes": [
            {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}},
        pod(container("a"), volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
    ),
    # a list without a key is one value
    (
        pod(container("a", args=["1", "2"])),
        {"spec": {"containers": [{"name": "a", "args": ["3"]}]}},
        pod(container("a", args=["3"])),
    ),
    # null deletes
    (pod(container("a"), nodeName="n"), {"spec": {"nodeName": None}}, pod(container("a"))),
]  # fmt: skip


@pytest.mark.parametrize(("current", "patch", "expected"), STRATEGIC)
def test_strategic_merge(kinds: Any, current: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy((current, patch))
    kind = kinds["v1", "Pod"]
    assert apply_patch(kind, current, patch, STRATEGIC_TYPE) == expected
    assert (current, patch) == before


def test_service_ports_merge_by_port(kinds: Any) -> None:
    current = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "nodePort": 30000}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    result = apply_patch(kinds["v1", "Service"], current, patch, STRATEGIC_TYPE)
    assert result["spec"]["ports"] == [{"port": 80, "nodePort": 30000, "targetPort": 8080}]


@pytest.mark.parametrize(
    ("kind", "patch", "content_type", "code"),
    [
        (("v1", "Pod"), {}, "text/plain", 415),
        (("cilium.io/v2", "CiliumNode"), {}, STRATEGIC_TYPE, 415),
        (("v1", "Pod"), [], "application/merge-patch+json", 400),
        (("v1", "Pod"), {"$patch": "melt"}, STRATEGIC_TYPE, 400),
        (("v1", "Pod"), {"$turn": 1}, STRATEGIC_TYPE, 400),
        (("v1", "Pod"), {"spec": {"containers": [{"image": "x"}]}}, STRATEGIC_TYPE, 400),
        (("v1", "Pod"), {"metadata": None}, "application/merge-patch+json", 422),
        (("v1", "Pod"), {"$patch": "delete"}, STRATEGIC_TYPE, 422),
    ],
)
def test_patches_that_are_refused(
    kinds: Any, kind: Any, patch: Any, content_type: str, code: int
) -> None:
    with pytest.raises(PatchError) as caught:
        apply_patch(kinds[kind], pod(container("a")), patch, content_type)
    assert caught.value.code == code
