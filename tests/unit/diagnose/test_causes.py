"""Causes stand before what follows from them, and keep their symptoms' weight."""

import pytest

from cairn.diagnose.doctor.causes import FOLLOWS, rank
from cairn.diagnose.finding import Finding
from cairn.diagnose.findings import BY_NAME


def found(name: str, subject: str = "", **values: str) -> Finding:
    return Finding(BY_NAME[name], subject, (), values)


def names(*findings: Finding) -> list[str]:
    return [one.finding.kind.name for one in rank(findings)]


def test_rows_name_kinds_and_go_round_in_no_circle() -> None:
    after = {row.cause: set[str]() for row in FOLLOWS}
    for row in FOLLOWS:
        assert BY_NAME[row.cause]
        for name in row.brings:
            assert BY_NAME[name]
        after[row.cause] |= set(row.brings)
    for name in after:
        seen, waiting = set[str](), set(after[name])
        while waiting:
            one = waiting.pop()
            assert one != name, f"{name} follows from itself"
            seen.add(one)
            waiting |= after.get(one, set()) - seen


def test_what_follows_from_a_cause_at_its_node_stands_behind_it() -> None:
    unasked = found("NodeUnasked", "node n3", node="n3")
    hole = found("MtuBlackHole", "node n1", node="n1", peer="n3")
    assert names(unasked, hole) == ["MtuBlackHole", "NodeUnasked"]
    assert rank([unasked, hole])[1].follows is hole


def test_what_is_about_another_node_stays_where_it_was() -> None:
    unasked = found("NodeUnasked", "node n2", node="n2")
    hole = found("MtuBlackHole", "node n1", node="n1", peer="n3")
    assert names(unasked, hole) == ["NodeUnasked", "MtuBlackHole"]


def test_a_light_cause_of_heavy_symptoms_stands_before_them_and_before_others() -> None:
    other = found("WrongPassword", "session", node="n1")
    uneven = found("MtuUneven", "node n2", node="n2")
    hole = found("MtuBlackHole", "node n2", node="n2", peer="n3")
    light = found("EventsLost", "node n1", node="n1")
    assert names(light, hole, uneven, other) == [
        "MtuUneven", "WrongPassword", "MtuBlackHole", "EventsLost",
    ]  # fmt: skip


def test_a_chain_stands_in_its_order() -> None:
    chain = [
        found("NobodyAnnounces", "service a/b", address="192.0.2.1"),
        found("PeerUnreachable", "session", node="n1", peer="192.168.1.1"),
        found("NeighbourFailed", "node n1", node="n1", owner="the router"),
    ]
    assert names(*chain) == ["NeighbourFailed", "PeerUnreachable", "NobodyAnnounces"]


def test_what_no_peer_is_told_its_router_lacks() -> None:
    lacks = found("RouteFiltered", "route", node="n1")
    untold = found("NotAnnounced", "session", node="n1", peer="192.168.1.1")
    assert names(lacks, untold) == ["NotAnnounced", "RouteFiltered"]


@pytest.mark.parametrize(
    ("service", "first"),
    [("kube-system/kube-dns", "NoPodMatches"), ("default/web", "ClusterDnsSilent")],
)
def test_a_row_about_one_subject_is_about_no_other(service: str, first: str) -> None:
    silent = found("ClusterDnsSilent", "DNS 10.96.0.10", nodes="n1, n2")
    assert names(silent, found("NoPodMatches", f"service {service}"))[0] == first


def test_a_server_that_is_not_reached_follows_from_its_own_node() -> None:
    silent = found("ClusterDnsSilent", "DNS 10.96.0.10", nodes="n1, n2", owner="n3")
    assert names(silent, found("ForwardingOff", "node n3", node="n3"))[0] == "ForwardingOff"
    assert names(silent, found("ForwardingOff", "node n4", node="n4"))[0] == "ClusterDnsSilent"
