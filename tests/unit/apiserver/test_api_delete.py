"""Deletion: finalizers, grace, and what becomes of dependents."""

from typing import Any

import pytest
from apiserver_bed import Core

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


def pod(name: str = "p", *, node: str = "node-1", **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]} | ({"nodeName": node} if node else {})
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def owner_of(obj: dict[str, Any], *, block: bool = True) -> list[dict[str, Any]]:
    reference = {"apiVersion": "v1", "kind": obj["kind"], "blockOwnerDeletion": block}
    return [reference | {name: obj["metadata"][name] for name in ("name", "uid")}]


def config(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def names(core: Core) -> list[str]:
    return [item["metadata"]["name"] for item in core.send("GET", MAPS).value["items"]]


def test_deletion_says_what_is_gone(core: Core) -> None:
    made = core.create(MAPS, config("c"))
    answer = core.send("DELETE", f"{MAPS}/c")
    assert answer.value["status"] == "Success"
    assert answer.value["details"]["uid"] == made["metadata"]["uid"]
    gone = core.send("DELETE", f"{MAPS}/c")
    assert (gone.code, gone.value["message"]) == (404, 'configmaps "c" not found')


def test_preconditions(core: Core) -> None:
    core.create(MAPS, config("c"))
    assert core.send("DELETE", f"{MAPS}/c", {"preconditions": {"uid": "other"}}).code == 409
    assert core.send("DELETE", f"{MAPS}/c", {"preconditions": {"resourceVersion": "1"}}).code == 409
    assert names(core) == ["c"]


def test_finalizers_hold_an_object(core: Core) -> None:
    core.create(MAPS, config("c", finalizers=["x.io/wait"]))
    held = core.send("DELETE", f"{MAPS}/c").value
    assert held["metadata"]["deletionTimestamp"] == "2030-01-01T00:00:00Z"
    more = {"metadata": {"finalizers": ["x.io/wait", "y.io/more"]}}
    assert core.send("PATCH", f"{MAPS}/c", more, content_type=MERGE).code == 422
    none = {"metadata": {"finalizers": None}}
    _, events = core.watch(f"{MAPS}?watch=1&resourceVersion={held['metadata']['resourceVersion']}")
    assert core.send("PATCH", f"{MAPS}/c", none, content_type=MERGE).code == 200
    assert [event["type"] for event in events] == ["DELETED"]
    assert names(core) == []


def test_a_pod_on_a_node_ends_gracefully(core: Core) -> None:
    core.create(PODS, pod())
    marked = core.send("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 10}).value
    assert marked["metadata"]["deletionTimestamp"] == "2030-01-01T00:00:10Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 10
    longer = core.send("DELETE", f"{PODS}/p?gracePeriodSeconds=20").value
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 10
    shorter = core.send("DELETE", f"{PODS}/p?gracePeriodSeconds=2").value
    assert shorter["metadata"]["deletionTimestamp"] == "2030-01-01T00:00:02Z"
    assert core.send("DELETE", f"{PODS}/p?gracePeriodSeconds=0").value["kind"] == "Pod"
    assert core.send("GET", f"{PODS}/p").code == 404


def test_a_pod_without_a_node_goes_at_once(core: Core) -> None:
    core.create(PODS, pod(node=""))
    core.send("DELETE", f"{PODS}/p")
    assert core.send("GET", f"{PODS}/p").code == 404


def test_background_takes_dependents_after_their_last_owner(core: Core) -> None:
    one, two = (core.create(MAPS, config(name)) for name in ("one", "two"))
    core.create(MAPS, config("both", ownerReferences=owner_of(one) + owner_of(two)))
    child = core.create(MAPS, config("child", ownerReferences=owner_of(one)))
    core.create(MAPS, config("grandchild", ownerReferences=owner_of(child)))
    core.send("DELETE", f"{MAPS}/one")
    assert names(core) == ["both", "two"]
    assert core.send("GET", f"{MAPS}/both").value["metadata"]["ownerReferences"] == owner_of(two)
    core.send("DELETE", f"{MAPS}/two")
    assert names(core) == []


def test_foreground_waits_for_dependents(core: Core) -> None:
    owner = core.create(MAPS, config("owner"))
    references = owner_of(owner)
    core.create(MAPS, config("slow", ownerReferences=references, finalizers=["x.io/wait"]))
    core.create(MAPS, config("quick", ownerReferences=references))
    core.send("DELETE", f"{MAPS}/owner", {"propagationPolicy": "Foreground"})
    assert names(core) == ["owner", "slow"]
    core.send("PATCH", f"{MAPS}/slow", {"metadata": {"finalizers": None}}, content_type=MERGE)
    assert names(core) == []


def test_orphans_are_set_free(core: Core) -> None:
    owner = core.create(MAPS, config("owner"))
    core.create(MAPS, config("child", ownerReferences=owner_of(owner)))
    core.send("DELETE", f"{MAPS}/owner?propagationPolicy=Orphan")
    assert names(core) == ["child"]
    assert not core.send("GET", f"{MAPS}/child").value["metadata"]["ownerReferences"]


def test_an_object_of_an_owner_that_never_was_goes(core: Core) -> None:
    stranger = {"kind": "ConfigMap", "metadata": {"name": "x", "uid": "never"}}
    core.create(MAPS, config("child", ownerReferences=owner_of(stranger)))
    assert names(core) == []


@pytest.mark.parametrize(
    "query",
    ["propagationPolicy=Sideways", "gracePeriodSeconds=soon", "gracePeriodSeconds=-1"],
)
def test_broken_options(core: Core, query: str) -> None:
    core.create(MAPS, config("c"))
    assert core.send("DELETE", f"{MAPS}/c?{query}").code == 400
    assert names(core) == ["c"]


def test_a_collection_by_selector(core: Core) -> None:
    for name in "abc":
        core.create(MAPS, config(name, labels={"keep": str(name == "b")}))
    gone = core.send("DELETE", f"{MAPS}?labelSelector=keep%3DFalse").value
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
    assert names(core) == ["b"]


def test_eviction_deletes(core: Core) -> None:
    core.create(PODS, pod(node=""))
    body = {"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 0}}
    assert core.send("POST", f"{PODS}/p/eviction", body).code == 201
    assert core.send("GET", f"{PODS}/p").code == 404


def test_a_cluster_keeps_its_first_namespaces(core: Core) -> None:
    refused = core.send("DELETE", "/api/v1/namespaces/default")
    assert (refused.code, refused.value["reason"]) == (403, "Forbidden")
