"""Which node a pod gets, as a table; and what taints and networks follow from a node's state."""

from typing import Any

import pytest

from cairn.lab.controllers.node_life import choose_network, patience_s, with_taint
from cairn.lab.controllers.placement import Load, choose_node, tolerates
from cairn.lab.controllers.pod_state import template_hash
from cairn.lab.controllers.replica_set import surplus
from cairn.net import parse_network

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def node(name: str, *, ready: bool = True, labels: Any = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": spec, "status": READY if ready else {}}


def affinity(operator: str, *values: str, field: str = "matchExpressions") -> dict[str, Any]:
    key = "zone" if field == "matchExpressions" else "metadata.name"
    term = {field: [{"key": key, "operator": operator, "values": list(values)}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
NODES = [
    node("a", labels={"zone": "1"}),
    node("b", labels={"zone": "2"}, taints=[TAINT]),
    node("c", labels={"zone": "3"}, ready=False),
    node("d", labels={"zone": "4"}, unschedulable=True),
]
GPU = [{"key": "gpu", "operator": "Exists"}]
ALL = [{"operator": "Exists"}]
EMPTY = Load({}, {})
CHOICES = [
    ({}, EMPTY, "a"),
    ({"tolerations": GPU}, Load({"a": 1}, {}), "b"),
    ({"tolerations": GPU}, Load({}, {"a": 5, "b": 3}), "b"),
    ({"tolerations": GPU}, Load({}, {}, frozenset({"a"})), "b"),
    ({"tolerations": ALL}, Load({"a": 1, "b": 1, "c": 1}, {}), "d"),
    ({"tolerations": ALL, "nodeSelector": {"zone": "3"}}, EMPTY, "c"),
    ({"tolerations": GPU, "affinity": affinity("In", "2", "9")}, EMPTY, "b"),
    ({"tolerations": ALL, "affinity": affinity("Gt", "3")}, EMPTY, "d"),
    ({"tolerations": ALL, "affinity": affinity("In", "c", field="matchFields")}, EMPTY, "c"),
]


@pytest.mark.parametrize(("spec", "load", "chosen"), CHOICES)
def test_choices(spec: dict[str, Any], load: Load, chosen: str) -> None:
    assert choose_node({"spec": spec}, NODES, load) == (chosen, "")


def test_why_there_is_none() -> None:
    name, why = choose_node({"spec": {"nodeSelector": {"zone": "2"}}}, NODES, EMPTY)
    assert name == ""
    assert why == (
        "0/4 nodes are available: 3 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {gpu=yes}."
    )
    assert choose_node({"spec": {}}, [], EMPTY) == ("", "0/0 nodes are available.")


TOLERATIONS = [
    ({"key": "gpu", "operator": "Equal", "value": "yes"}, True),
    ({"key": "gpu", "value": "yes", "effect": "NoSchedule"}, True),
    ({"key": "gpu", "value": "no"}, False),
    ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
    ({"operator": "Exists"}, True),
    ({"key": "other", "operator": "Exists"}, False),
]


@pytest.mark.parametrize(("toleration", "expected"), TOLERATIONS)
def test_tolerations(toleration: dict[str, Any], expected: bool) -> None:
    assert tolerates({"tolerations": [toleration]}, TAINT) is expected


def test_taints_follow_a_nodes_health() -> None:
    mine = {"key": "mine", "effect": "NoSchedule"}
    sick = with_taint([mine], "node.kubernetes.io/not-ready", "now")
    assert [(t["key"].split("/")[-1], t["effect"]) for t in sick] == [
        ("mine", "NoSchedule"),
        ("not-ready", "NoSchedule"),
        ("not-ready", "NoExecute"),
    ]
    assert with_taint(sick, "node.kubernetes.io/not-ready", "later") == sick
    lost = with_taint(sick, "node.kubernetes.io/unreachable", "later")
    assert {t["key"].split("/")[-1] for t in lost} == {"mine", "unreachable"}
    assert with_taint(lost, "", "later") == [mine]


def test_how_long_a_pod_stays() -> None:
    taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    exists = {"key": taint["key"], "operator": "Exists"}
    assert patience_s({}, taint) == 300
    assert patience_s({"tolerations": [exists]}, taint) == float("inf")
    assert patience_s({"tolerations": [{**exists, "tolerationSeconds": 5}]}, taint) == 5
    assert patience_s({}, {"key": "mine", "effect": "NoExecute"}) == 0


NETWORKS = [
    ("10.244.0.0/16", "node-2", [], "10.244.2.0/24"),
    ("10.244.0.0/16", "node-2", ["10.244.2.0/24"], "10.244.1.0/24"),
    ("10.244.0.0/16", "control-plane", ["10.244.1.0/24"], "10.244.2.0/24"),
    ("10.244.0.0/16", "node-900", [], "10.244.1.0/24"),
    ("fd00:10:244::/48", "node-2", [], "fd00:10:244:2::/64"),
    ("fd00:10:244::/48", "node-900", ["fd00:10:244:384::/64"], "fd00:10:244:1::/64"),
    ("fd00:10:244::/48", "other", ["fd00:10:244:1::/64"], "fd00:10:244:2::/64"),
]


@pytest.mark.parametrize(("whole", "name", "taken", "network"), NETWORKS)
def test_networks_of_nodes(whole: str, name: str, taken: list[str], network: str) -> None:
    assert choose_network(name, parse_network(whole), taken) == network


def test_no_network_is_left() -> None:
    whole = parse_network("10.0.0.0/24")
    assert choose_network("n", whole, ["10.0.0.0/24"]) == ""


def pod(name: str, node_name: str, *, ready: bool = True, created: str = "1") -> dict[str, Any]:
    status = READY if ready else {}
    metadata = {"name": name, "namespace": "n", "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"nodeName": node_name}, "status": status}


SURPLUS = [
    ([pod("a", "x"), pod("b", ""), pod("c", "y")], 1, ["b"]),
    ([pod("a", "x"), pod("b", "y", ready=False)], 1, ["b"]),
    ([pod("a", "x"), pod("b", "y"), pod("c", "y")], 1, ["b"]),
    ([pod("a", "x", created="1"), pod("b", "y", created="2")], 1, ["b"]),
    ([pod("a", "x"), pod("b", "x"), pod("c", "y"), pod("d", "y")], 2, ["a", "c"]),
]


@pytest.mark.parametrize(("pods", "count", "names"), SURPLUS)
def test_which_pods_go(pods: list[dict[str, Any]], count: int, names: list[str]) -> None:
    assert [p["metadata"]["name"] for p in surplus(pods, count)] == names


def test_template_hashes_follow_content_alone() -> None:
    one = {"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}
    other = {"spec": {"x": 1}, "metadata": {"labels": {"a": "b"}}}
    assert template_hash(one) == template_hash(other)
    assert template_hash(one) != template_hash({**one, "spec": {"x": 2}})
