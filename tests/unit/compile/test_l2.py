"""Who answers ARP and ND for an address: policies, segments, life; and what a policy says."""

from typing import Any

import pytest
import yaml

from cairn.compile.l2 import L2Node, L2View, neighbours
from cairn.compile.l2_summary import summarize_l2
from cairn.desired.load_balancer import Kind
from cairn.kube.l2_policy import L2Policy, l2_policy_of
from cairn.kube.node import NodeFacts
from cairn.kube.service import Service
from cairn.net import Address, parse_address, parse_network

NETWORKS = (parse_network("192.168.1.0/24"), parse_network("fd00::/64"))
VIP = parse_address("192.168.1.100")
LB, EXTERNAL = Kind.LOAD_BALANCER, Kind.EXTERNAL_IP


def node(number: int, *, alive: bool = True, uplink: str = "eth0", **labels: str) -> L2Node:
    addresses: tuple[Address, ...]
    addresses = (parse_address(f"192.168.1.{number}"), parse_address(f"fd00::{number}"))
    if labels.pop("far", ""):
        addresses = (parse_address(f"10.9.9.{number}"),)
    networks = NETWORKS if addresses[0] in NETWORKS[0] else (parse_network("10.9.9.0/24"),)
    facts = NodeFacts(f"n{number}", addresses, (), "", uplink=uplink, uplink_networks=networks)
    return L2Node(facts, labels, alive)


def service(text: str = "", **spec: Any) -> Service:
    obj = {
        "metadata": {"namespace": "default", "name": "web", **yaml.safe_load(text or "{}")},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": str(VIP)}]}},
    }
    return Service.from_object(obj)


def policy(**spec: Any) -> L2Policy:
    return l2_policy_of({"metadata": {"name": "p", "generation": 1}, "spec": spec})


def candidates(
    nodes: list[L2Node],
    serving: str,
    *policies: L2Policy,
    of: Service | None = None,
    kind: Kind = LB,
    address: str = str(VIP),
) -> str:
    one = of or service()
    view = L2View(policies, {n.facts.name: n for n in nodes}, NETWORKS)
    claims = {one.key: (kind, frozenset(serving.split()))}
    found = view.candidates(parse_address(address), claims, {one.key: one})
    return " ".join(sorted(found))


THREE = [node(1), node(2), node(3)]
ALL = {"loadBalancerIPs": True}
EVERYWHERE = "annotations: {cairn.io/announce: all-nodes}"


def test_without_a_policy_the_nodes_that_serve_answer_for_load_balancers_alone() -> None:
    assert candidates(THREE, "n1 n3") == "n1 n3"
    assert candidates(THREE, "") == ""
    assert candidates(THREE, "n1", kind=EXTERNAL) == ""
    assert candidates(THREE, "n1", address="192.168.2.1") == ""
    assert candidates(THREE, "n1", address="fd00::100") == "n1"


def test_the_dead_do_not_answer_and_others_stand_in() -> None:
    nodes = [node(1, alive=False), node(2), node(3)]
    assert candidates(nodes, "n1 n3") == "n3"
    # All that serve are gone: a living node takes over and can at least refuse, or hand over.
    assert candidates(nodes, "n1") == "n2 n3"
    local = service(externalTrafficPolicy="Local")
    assert candidates(nodes, "n1", of=local) == ""


def test_backends_on_another_segment_are_reached_through_any_node_of_this_one() -> None:
    nodes = [node(1), node(2), node(9, far="yes")]
    assert candidates(nodes, "n9") == "n1 n2"
    assert candidates(nodes, "n1 n9") == "n1"
    assert candidates(nodes, "n9", of=service(externalTrafficPolicy="Local")) == ""


def test_announced_by_all_nodes_is_answered_for_by_any() -> None:
    assert candidates(THREE, "", of=service(EVERYWHERE)) == "n1 n2 n3"
    local = service(EVERYWHERE, externalTrafficPolicy="Local")
    assert candidates(THREE, "n2", of=local) == "n2"


def test_with_a_policy_only_what_it_selects() -> None:
    chosen = policy(**ALL, serviceSelector={"matchLabels": {"app": "web"}})
    assert candidates(THREE, "n1", chosen) == ""
    assert candidates(THREE, "n1", chosen, of=service("labels: {app: web}")) == "n1"
    by_name = policy(**ALL, serviceSelector={"matchLabels": {"io.kubernetes.service.name": "web"}})
    assert candidates(THREE, "n1", by_name) == "n1"
    assert candidates(THREE, "n1", policy(externalIPs=True)) == ""
    assert candidates(THREE, "n1", policy(externalIPs=True), kind=EXTERNAL) == "n1"
    assert candidates(THREE, "n1", policy(), policy(**ALL)) == "n1"


def test_a_policy_chooses_nodes_and_uplinks() -> None:
    nodes = [node(1, role="edge"), node(2, uplink="bond0"), node(3, role="edge", uplink="bond0")]
    edge = policy(**ALL, nodeSelector={"matchLabels": {"role": "edge"}})
    assert candidates(nodes, "n1 n2", edge) == "n1"
    assert candidates(nodes, "n2", edge) == "n1 n3"
    bond = policy(**ALL, interfaces=["^bond[0-9]$"])
    assert candidates(nodes, "n1 n2 n3", bond) == "n2 n3"
    assert candidates(nodes, "n1 n2 n3", bond, edge) == "n1 n2 n3"
    broken = policy(**ALL, interfaces=["("])
    assert candidates(nodes, "n1 n2 n3", broken) == ""


def test_classes_of_others_are_left_to_them() -> None:
    assert candidates(THREE, "n1", of=service(loadBalancerClass="example.com/lb")) == ""
    bgp = service(loadBalancerClass="io.cilium/bgp-control-plane")
    assert candidates(THREE, "n1", of=bgp) == "n1"
    assert candidates(THREE, "n1", policy(**ALL), of=bgp) == ""
    l2 = service(loadBalancerClass="io.cilium/l2-announcer")
    assert candidates(THREE, "n1", policy(**ALL), of=l2) == "n1"


def test_addresses_spread_over_the_nodes_and_stay_where_they_are() -> None:
    one = service()
    view = L2View((), {n.facts.name: n for n in THREE}, NETWORKS)
    without = L2View((), {n.facts.name: n for n in THREE[:2]}, NETWORKS)
    claims = {one.key: (LB, frozenset({"n1", "n2", "n3"}))}
    addresses = [parse_address(f"192.168.1.{number}") for number in range(100, 200)]
    before = [view.elect(address, claims, {one.key: one}) for address in addresses]
    after = [without.elect(address, claims, {one.key: one}) for address in addresses]
    assert min(before.count(name) for name in ("n1", "n2", "n3")) > 15
    assert all(b == a for b, a in zip(before, after, strict=True) if b != "n3")


def test_neighbours_are_the_other_nodes_of_the_segment() -> None:
    nodes = [node(1).facts, node(2).facts, node(9, far="yes").facts]
    sources = (parse_address("192.168.1.1"), parse_address("fd00::1"))
    (found,) = neighbours("n1", sources, NETWORKS, nodes)
    assert (str(found.address), str(found.source)) == ("192.168.1.2", "192.168.1.1")
    assert (found.interval_ms, found.multiplier) == (200, 3)
    many = [node(number).facts for number in range(1, 102)]
    assert {n.interval_ms for n in neighbours("n1", sources, NETWORKS, many)} == {400}


SUMMARIES: dict[str, tuple[dict[str, Any], bool, str, tuple[str, ...]]] = {
    "selects": (ALL, True, "Selected", ("1 address of 1 Service", "n1, n2, n3")),
    "asks nothing": ({}, False, "NothingAsked", ("neither loadBalancerIPs nor externalIPs",)),
    "no service": (
        {**ALL, "serviceSelector": {"matchLabels": {"app": "no"}}},
        False,
        "NoService",
        ("app=no selects no Service",),
    ),
    "no node": (
        {**ALL, "nodeSelector": {"matchLabels": {"role": "no"}}},
        False,
        "NoNode",
        ("role=no selects no node",),
    ),
    "no uplink": (
        {**ALL, "interfaces": ["^wlan"]},
        False,
        "NoInterface",
        ("(eth0)", "'^wlan' matches no node's uplink"),
    ),
    "bad expression": ({**ALL, "interfaces": ["["]}, False, "NoInterface", ("'['", "regular")),
    "bad selector": (
        {**ALL, "serviceSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
        False,
        "NoService",
        ("'Like'",),
    ),
}


@pytest.mark.parametrize("case", SUMMARIES)
def test_a_policy_says_what_it_comes_to(case: str) -> None:
    spec, selected, reason, words = SUMMARIES[case]
    summary = summarize_l2(policy(**spec), [service()], THREE)
    told = " ".join([summary.message, *(finding.message for finding in summary.findings)])
    assert (summary.selected, summary.reason) == (selected, reason)
    assert all(word in told for word in words), told


def test_addresses_outside_the_subnet_are_named() -> None:
    outside = service(type="LoadBalancer", externalIPs=["203.0.113.7"])
    summary = summarize_l2(policy(**ALL, externalIPs=True), [outside], THREE)
    assert summary.selected
    assert any("203.0.113.7" in finding.message for finding in summary.findings)
    summary = summarize_l2(policy(externalIPs=True), [outside], THREE)
    assert (summary.selected, summary.reason) == (False, "OutsideSubnet")
