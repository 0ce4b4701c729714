"""Peering policies by example: which node peers with whom, and what their authors are told."""

from typing import Any

import pytest
import yaml

from cairn.compile.bgp_nodes import BgpNodes, checked, compile_bgp_nodes
from cairn.compile.bgp_summary import announcers, summarize_policy
from cairn.kube.node import Node
from cairn.kube.peering_policy import peering_policy_of

DOCUMENT = """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: homelab-bgp-peering}
spec:
  nodeSelector: {matchLabels: {node-role.kubernetes.io/worker: ""}}
  virtualRouters:
  - localASN: 64512
    exportPodCIDR: false
    serviceSelector:
      matchExpressions: [{key: somekey, operator: NotIn, values: [never-used-value]}]
    neighbors:
    - peerAddress: "192.168.1.1"
      peerASN: 64512
      eBGPMultihop: 1
      connectRetryTimeSeconds: 120
      holdTimeSeconds: 90
      keepAliveTimeSeconds: 30
      gracefulRestart: {enabled: true, restartTimeSeconds: 120}
"""


def node(name: str, **labels: str) -> dict[str, Any]:
    found = {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()}
    return {"metadata": {"name": name, "labels": found}}


def policy(name: str = "p", created: str = "1", **spec: Any) -> dict[str, Any]:
    router = {"localASN": 64512, "neighbors": [{"peerAddress": "192.0.2.1", "peerASN": 64512}]}
    metadata = {"name": name, "creationTimestamp": created, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"virtualRouters": [router], **spec}}


def with_neighbors(*neighbors: dict[str, Any]) -> dict[str, Any]:
    routers = [{"localASN": 64512, "serviceSelector": {}, "neighbors": list(neighbors)}]
    return policy(virtualRouters=routers)


def run(policies: list[dict[str, Any]], nodes: list[dict[str, Any]]) -> BgpNodes:
    return compile_bgp_nodes(
        (checked(peering_policy_of(p)) for p in policies), map(Node.from_object, nodes)
    )


def peers(obj: dict[str, Any]) -> list[dict[str, Any]]:
    spec = run([obj], [node("n")]).configs["n"].spec
    return list(spec["bgpInstances"][0]["peers"])


def findings(obj: dict[str, Any]) -> dict[str, str]:
    return {finding.reason: finding.message for finding in checked(peering_policy_of(obj)).findings}


def test_the_documents_policy() -> None:
    worker = {"metadata": {"name": "node-1", "labels": {"node-role.kubernetes.io/worker": ""}}}
    obj = yaml.safe_load(DOCUMENT)
    result = run([obj], [worker, node("control-plane")])
    assert set(result.configs) == {"node-1"}
    (instance,) = result.configs["node-1"].spec["bgpInstances"]
    assert instance["localASN"] == 64512
    assert instance["serviceSelector"]["matchExpressions"][0]["operator"] == "NotIn"
    (peer,) = instance["peers"]
    assert peer == {
        "name": "peer-64512-192.168.1.1",
        "peerASN": 64512,
        "peerAddress": "192.168.1.1",
        "peerPort": 179,
        "timers": {
            "connectRetryTimeSeconds": 120,
            "holdTimeSeconds": 90,
            "keepAliveTimeSeconds": 30,
        },
        "gracefulRestart": {"enabled": True, "restartTimeSeconds": 120},
        "families": [{"afi": "ipv4", "safi": "unicast"}],
        "ebgpMultihop": 1,
    }
    assert set(findings(obj)) == {"MultihopIgnored"}


def test_no_selector_is_every_node() -> None:
    assert set(run([policy()], [node("a"), node("b", x="y")]).configs) == {"a", "b"}


def test_items_without_an_address_belong_to_the_neighbor_above() -> None:
    obj = with_neighbors(
        {"peerAddress": "192.0.2.1", "peerASN": 64512, "password": "secret"},
        {"maxPrefixes": 100},
        {"importFilter": "deny any"},
        {"exportFilter": "permit 192.168.1.0/24"},
        {"peerAddress": "192.0.2.2", "peerASN": 64513},
    )
    first, second = peers(obj)
    assert first["maxPrefixes"] == 100
    assert first["importFilter"] == "deny any"
    assert first["exportFilter"] == "permit 192.168.1.0/24"
    assert first["password"] == "secret"
    assert "maxPrefixes" not in second
    found = findings(obj)
    assert set(found) == {"NeighborFragment", "PlainPassword"}
    assert "is read as part of neighbor 192.0.2.1 above it" in found["NeighborFragment"]
    assert "authSecretRef" in found["PlainPassword"]


NEIGHBORS = [
    ({"peerAddress": "192.0.2.1/32", "peerASN": 1}, "192.0.2.1", ""),
    ({"peerAddress": "2001:db8::1", "peerASN": 1, "ipFamily": "ipv6"}, "2001:db8::1", ""),
    ({"peerAddress": "2001:db8::1", "peerASN": 1, "ipFamily": "ipv4"}, "", "does not fit"),
    ({"peerAddress": "router", "peerASN": 1}, "", "not an IP address"),
    ({"peerAddress": "fe80::1", "peerASN": 1}, "", "is link-local: write the router's global"),
    ({"peerAddress": "192.0.2.1"}, "", "peerASN None is not 1 to"),
    ({"maxPrefixes": 3}, "", "peerAddress is missing"),
    (
        {"peerAddress": "192.0.2.1", "peerASN": 1, "exportFilter": "permit x"},
        "",
        "filter rule 'permit x'",
    ),
]


@pytest.mark.parametrize(("raw", "address", "words"), NEIGHBORS)
def test_neighbors(raw: dict[str, Any], address: str, words: str) -> None:
    obj = with_neighbors(raw)
    assert [peer["peerAddress"] for peer in peers(obj)] == ([address] if address else [])
    told = findings(obj).get("InvalidNeighbor", "")
    assert words in told
    assert bool(told) is bool(words)


def test_ipv6_neighbors_speak_ipv6() -> None:
    (peer,) = peers(with_neighbors({"peerAddress": "2001:db8::1", "peerASN": 64512}))
    assert peer["families"] == [{"afi": "ipv6", "safi": "unicast"}]


@pytest.mark.parametrize(
    ("addresses", "neighbor", "versions"),
    [
        (["192.0.2.10"], {}, "4"),
        (["192.0.2.10", "2001:db8::10"], {}, "46"),
        (["192.0.2.10", "2001:db8::10"], {"peerAddress": "2001:db8::1"}, "6"),
        (["192.0.2.10"], {"families": [{"afi": "ipv6", "safi": "unicast"}]}, "6"),
    ],
)
def test_families_are_those_that_fit_the_node_unless_they_are_named(
    addresses: list[str], neighbor: dict[str, Any], versions: str
) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": a} for a in addresses]}
    obj = with_neighbors({"peerAddress": "192.0.2.1", "peerASN": 64512, **neighbor})
    spec = run([obj], [{**node("n"), "status": status}]).configs["n"].spec
    (peer,) = spec["bgpInstances"][0]["peers"]
    assert peer["families"] == [{"afi": f"ipv{v}", "safi": "unicast"} for v in versions]


def test_the_older_of_two_policies_keeps_the_node() -> None:
    young = policy("young", "2")
    old = policy("old", "1", nodeSelector={"matchLabels": {"a": "b"}})
    nodes = [node("n1", a="b"), node("n2")]
    for policies in ([young, old], [old, young]):
        result = run(policies, nodes)
        assert {name: config.policy for name, config in result.configs.items()} == {
            "n1": "old",
            "n2": "young",
        }
        assert result.policies["young"].conflicts == {"n1": "old"}
        assert result.policies["old"].conflicts == {}


def test_a_policy_that_selects_nothing_is_told_the_nodes_labels() -> None:
    obj = policy(nodeSelector={"matchLabels": {"role": "worker"}})
    result = run([obj], [node("a", kind="small"), node("b"), node("c")])
    text = "selects 0 of 3 nodes by role=worker; nodes have labels kind=small"
    assert result.policies["p"].nothing == text
    assert result.configs == {}


def report(state: str, *prefixes: str) -> dict[str, Any]:
    peer = {"peerAddress": "192.0.2.1", "peeringState": state}
    return {
        "status": {
            "bgpInstances": [{"peers": [peer]}],
            "announcements": [{"prefix": prefix} for prefix in prefixes],
        }
    }


SESSIONS = [
    ({"a": report("established"), "b": report("established")}, ("a", "b"), 2, ""),
    ({"a": report("established"), "b": report("active")}, ("a", "b"), 1, "b to 192.0.2.1 (active)"),
    ({"a": report("established")}, ("a", "b"), 1, "b to 192.0.2.1 (not reported)"),
    (
        {"a": report("established"), "b": report("established")},
        ("a",),
        1,
        "b to 192.0.2.1 (node is not ready)",
    ),
]


@pytest.mark.parametrize(("configs", "ready", "established", "down"), SESSIONS)
def test_sessions_are_summed_up(
    configs: dict[str, Any], ready: tuple[str, ...], established: int, down: str
) -> None:
    result = run([policy()], [node("a"), node("b")])
    view = peering_policy_of(policy())
    summary = summarize_policy(view, result.policies["p"], configs, ready)
    assert (summary.established, summary.configured) == (established, 2)
    assert summary.down == ((down,) if down else ())
    (condition,) = [c for c in summary.conditions if c.type == "cairn.io/Established"]
    assert condition.status is not bool(down)
    assert down in condition.message


def test_who_announces_what_is_in_order() -> None:
    configs = {
        "b": report("established", "192.0.2.100/32", "192.0.2.20/32"),
        "a": report("established", "192.0.2.100/32"),
    }
    found = announcers(["b", "a"], configs)
    assert list(found.items()) == [("192.0.2.20/32", ["b"]), ("192.0.2.100/32", ["a", "b"])]


def test_a_peer_that_is_written_as_a_network_is_not_guessed_at() -> None:
    obj = with_neighbors(
        {"peerAddress": "192.0.2.0/24", "peerASN": 64512},
        {"peerAddress": "192.0.2.1/32", "peerASN": 64512},
    )
    assert [peer["peerAddress"] for peer in peers(obj)] == ["192.0.2.1"]
    assert "'192.0.2.0/24' is a network: write one address" in findings(obj)["InvalidNeighbor"]
