"""Lists and watches: pages, selections, history, bookmarks."""

from typing import Any

import pytest
from apiserver_bed import Core

from cairn.apiserver.status import Refused
from cairn.apiserver.watch import HISTORY_CHANGES

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


def config(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def label(core: Core, name: str, **labels: str) -> None:
    answer = core.send(
        "PATCH", f"{MAPS}/{name}", {"metadata": {"labels": labels}}, content_type=MERGE
    )
    assert answer.code == 200


def seen(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def test_a_watch_tells_everything_after_its_revision_in_order(core: Core) -> None:
    core.create(MAPS, config("before"))
    revision = core.send("GET", MAPS).value["metadata"]["resourceVersion"]
    core.create(MAPS, config("a"))
    _, events = core.watch(f"{MAPS}?watch=true&resourceVersion={revision}")
    label(core, "a", x="1")
    core.send("DELETE", f"{MAPS}/a")
    core.create("/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    core.create("/api/v1/namespaces/elsewhere/configmaps", config("far"))
    assert seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize("query", ["watch=1", "watch=1&resourceVersion=0"])
def test_a_watch_without_a_revision_begins_with_what_is_there(core: Core, query: str) -> None:
    core.create(MAPS, config("a"))
    _, events = core.watch(f"{MAPS}?{query}")
    core.create(MAPS, config("b"))
    assert seen(events) == [("ADDED", "a"), ("ADDED", "b")]


def test_initial_events_end_with_a_bookmark(core: Core) -> None:
    core.create(MAPS, config("a"))
    _, events = core.watch(f"{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true")
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    end = events[1]["object"]["metadata"]
    assert end["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert end["resourceVersion"] == str(core.server.store.revision)


def test_an_object_enters_and_leaves_a_selection(core: Core) -> None:
    _, events = core.watch(f"{MAPS}?watch=1&labelSelector=app%3Dweb")
    core.create(MAPS, config("a"))
    label(core, "a", app="web")
    label(core, "a", more="x")
    label(core, "a", app="db")
    label(core, "a", more="y")
    assert seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_one_object_is_watched_by_name(core: Core) -> None:
    core.create(MAPS, config("a"))
    _, events = core.watch(f"{MAPS}?watch=1&fieldSelector=metadata.name%3Db")
    _, old_style = core.watch("/api/v1/watch/namespaces/default/configmaps/b")
    core.create(MAPS, config("b"))
    assert seen(events) == seen(old_style) == [("ADDED", "b")]


def test_a_closed_watch_hears_nothing(core: Core) -> None:
    watcher, events = core.watch(f"{MAPS}?watch=1")
    core.server.broadcast.unsubscribe(watcher)
    core.create(MAPS, config("a"))
    assert events == []
    assert len(core.server.broadcast) == 0


def test_history_is_bounded_and_says_so(core: Core) -> None:
    revision = core.server.store.revision
    core.create(MAPS, config("a"))
    for number in range(HISTORY_CHANGES + 1):
        label(core, "a", n=str(number))
    with pytest.raises(Refused) as refused:
        core.watch(f"{MAPS}?watch=1&resourceVersion={revision}")
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    _, events = core.watch(f"{MAPS}?watch=1&resourceVersion={core.server.store.revision - 5}")
    assert len(events) == 5


def test_a_revision_of_the_future_is_not_taken(core: Core) -> None:
    future = core.server.store.revision + 10
    with pytest.raises(Refused):
        core.watch(f"{MAPS}?watch=1&resourceVersion={future}")
    assert core.send("GET", f"{MAPS}?resourceVersion={future}").code == 504


def test_pages_show_one_state(core: Core) -> None:
    for number in range(7):
        core.create(MAPS, config(f"c{number}"))
    first = core.send("GET", f"{MAPS}?limit=3").value
    assert first["metadata"]["remainingItemCount"] == 4
    core.send("DELETE", f"{MAPS}/c5")
    core.create(MAPS, config("c55"))
    names = [item["metadata"]["name"] for item in first["items"]]
    page = first
    while token := page["metadata"].get("continue"):
        page = core.send("GET", f"{MAPS}?limit=3&continue={token}").value
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
    assert names == [f"c{number}" for number in range(7)]


def test_a_page_that_is_no_longer_kept_is_expired(core: Core) -> None:
    for number in range(3):
        core.create(MAPS, config(f"c{number}"))
    token = core.send("GET", f"{MAPS}?limit=1").value["metadata"]["continue"]
    for _ in range(40):
        core.send("GET", f"{MAPS}?limit=1")
    expired = core.send("GET", f"{MAPS}?limit=1&continue={token}")
    assert (expired.code, expired.value["reason"]) == (410, "Expired")


def test_tables(core: Core) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    core.create(MAPS, config("a"))
    core.create(MAPS, config("b"))
    table = core.send("GET", f"{MAPS}?limit=1", accept=accept).value
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][0] == "a"
    assert table["metadata"]["continue"]
    plain = core.send("GET", MAPS, accept="application/vnd.kubernetes.protobuf,application/json")
    assert plain.value["kind"] == "ConfigMapList"


def test_a_definition_serves_its_kind_at_once(core: Core) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == "v1",
            "schema": {"openAPIV3Schema": schema},
        }
        for name in ("v1alpha1", "v1")
    ]
    names = {"plural": "boxes", "kind": "Box", "singular": "box"}
    spec = {"group": "x.io", "scope": "Namespaced", "names": names, "versions": versions}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = core.create(crds, {"metadata": {"name": "boxes.x.io"}, "spec": spec})
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert [g["name"] for g in core.send("GET", "/apis").value["groups"]].count("x.io") == 1
    boxes = "/apis/x.io/v1/namespaces/default/boxes"
    assert core.send("POST", boxes, {"metadata": {"name": "b"}, "spec": {"size": "x"}}).code == 422
    core.create(boxes, {"metadata": {"name": "b"}, "spec": {"size": 3}})
    other = core.send("GET", boxes.replace("/v1/", "/v1alpha1/") + "/b").value
    assert (other["apiVersion"], other["spec"]["size"]) == ("x.io/v1alpha1", 3)
    assert core.send("GET", "/openapi/v3/apis/x.io/v1").code == 200
    _, events = core.watch(f"{boxes}?watch=1")
    core.send("DELETE", f"{crds}/boxes.x.io")
    assert core.send("GET", boxes).code == 404
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
