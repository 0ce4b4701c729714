"""Server-side apply: what goes, what stays, and who is in the way."""

import copy
from typing import Any

import pytest

from cairn.apiserver.apply import ApplyConflict, server_side_apply
from cairn.apiserver.patch import PatchError


def service(**spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    return copy.deepcopy(head | ({"spec": spec} if spec else {}))


def bare(obj: dict[str, Any]) -> dict[str, Any]:
    return obj | {"metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


@pytest.fixture
def kind(kinds: Any) -> Any:
    return kinds["v1", "Service"]


def test_first_apply_is_the_configuration_with_its_manager(kind: Any) -> None:
    applied = service(ports=[{"port": 80}], selector={"app": "web"})
    result = server_side_apply(kind, None, applied, "kubectl", False)
    assert bare(result) == applied
    (mark,) = result["metadata"]["managedFields"]
    assert (mark["manager"], mark["operation"]) == ("kubectl", "Apply")
    assert mark["fieldsV1"] == {
        "f:spec": {
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
            "f:selector": {"f:app": {}},
        }
    }


def test_apply_again_changes_nothing(kind: Any) -> None:
    applied = service(ports=[{"port": 80, "name": "http"}], type="NodePort")
    once = server_side_apply(kind, None, applied, "kubectl", False)
    assert server_side_apply(kind, once, applied, "kubectl", False) == once


def test_fields_left_out_go_and_those_of_others_stay(kind: Any) -> None:
    current = server_side_apply(
        kind,
        None,
        service(ports=[{"port": 80}, {"port": 443, "name": "tls"}], selector={"a": "1", "b": "2"}),
        "kubectl",
        False,
    )
    current["spec"]["clusterIP"] = "10.96.0.7"
    current["spec"]["ports"][0]["nodePort"] = 30080
    result = server_side_apply(
        kind, current, service(ports=[{"port": 80}], selector={"a": "1"}), "kubectl", False
    )
    assert result["spec"] == {
        "ports": [{"port": 80, "nodePort": 30080}],
        "selector": {"a": "1"},
        "clusterIP": "10.96.0.7",
    }


def test_an_object_goes_with_its_last_field(kind: Any) -> None:
    current = server_side_apply(
        kind, None, service(type="NodePort", selector={"a": "1"}), "k", False
    )
    result = server_side_apply(kind, current, service(type="NodePort"), "k", False)
    assert result["spec"] == {"type": "NodePort"}


def test_another_value_for_another_ones_field_is_a_conflict(kind: Any) -> None:
    current = server_side_apply(kind, None, service(type="NodePort"), "helm", False)
    with pytest.raises(ApplyConflict) as caught:
        server_side_apply(kind, current, service(type="ClusterIP"), "kubectl", False)
    assert caught.value.fields == {".spec.type": "helm"}
    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "helm": .spec.type'
    assert caught.value.causes == [{"field": ".spec.type", "message": 'conflict with "helm"'}]


def test_force_takes_the_field_over(kind: Any) -> None:
    current = server_side_apply(kind, None, service(type="NodePort"), "helm", False)
    result = server_side_apply(kind, current, service(type="ClusterIP"), "kubectl", True)
    assert result["spec"] == {"type": "ClusterIP"}
    assert [mark["manager"] for mark in result["metadata"]["managedFields"]] == ["kubectl"]


def test_the_same_value_is_shared(kind: Any) -> None:
    current = server_side_apply(kind, None, service(type="NodePort"), "helm", False)
    both = server_side_apply(kind, current, service(type="NodePort"), "kubectl", False)
    managers = {mark["manager"] for mark in both["metadata"]["managedFields"]}
    assert managers == {"helm", "kubectl"}
    left = server_side_apply(kind, both, service(), "kubectl", False)
    assert left["spec"] == {"type": "NodePort"}


def test_set_lists_merge_value_by_value(kind: Any) -> None:
    first = service()
    first["metadata"]["finalizers"] = ["a.example/x"]
    second = service()
    second["metadata"]["finalizers"] = ["b.example/y"]
    one = server_side_apply(kind, None, first, "one", False)
    two = server_side_apply(kind, one, second, "two", False)
    assert two["metadata"]["finalizers"] == ["a.example/x", "b.example/y"]
    gone = server_side_apply(kind, two, service(), "one", False)
    assert gone["metadata"]["finalizers"] == ["b.example/y"]


def test_managed_fields_cannot_be_applied(kind: Any) -> None:
    applied = service(type="NodePort")
    applied["metadata"]["managedFields"] = [{"manager": "x"}]
    with pytest.raises(PatchError, match="managedFields must be nil"):
        server_side_apply(kind, None, applied, "kubectl", False)


def test_custom_resources_apply_by_their_own_list_keys(kinds: Any) -> None:
    mesh = kinds["cilium.io/v2alpha1", "CiliumClusterMesh"]

    def config(*names: str) -> dict[str, Any]:
        clusters = [{"name": name, "address": f"{name}:1"} for name in names]
        return {"metadata": {"name": "m"}, "spec": {"clusters": clusters}}

    one = server_side_apply(mesh, None, config("a", "b"), "one", False)
    two = server_side_apply(mesh, one, config("c"), "two", False)
    three = server_side_apply(mesh, two, config("a"), "one", False)
    assert [cluster["name"] for cluster in three["spec"]["clusters"]] == ["a", "c"]


def test_too_deep_nesting_is_refused(kinds: Any) -> None:
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(PatchError, match="nested too deeply"):
        server_side_apply(kinds["v1", "Pod"], None, {"metadata": {}, "spec": deep}, "k", False)
