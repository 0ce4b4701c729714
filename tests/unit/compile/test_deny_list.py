"""The deny list: all groups together, without what would cut the cluster off."""

from cairn.compile.deny_list import compile_deny_list
from cairn.kube.cidr_group import CidrGroup
from cairn.net import parse_address, parse_network

NODES = {parse_address("192.168.1.10"), parse_address("fd00:1::a")}


def group(name: str, deny: str | None, *networks: str) -> CidrGroup:
    annotations = {} if deny is None else {"cairn.io/deny": deny}
    return CidrGroup.from_object(
        {
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"externalCIDRs": list(networks)},
        }
    )


def test_only_groups_that_deny_count_and_overlaps_are_one() -> None:
    found = compile_deny_list(
        [
            group("one", "true", "203.0.113.0/24", "2001:db8::/32"),
            group("two", "true", "203.0.113.0/24"),
            group("names", None, "198.51.100.0/24"),
        ],
        NODES,
    )
    assert found.networks == {parse_network("203.0.113.0/24"), parse_network("2001:db8::/32")}
    assert found.refused == ()


def test_a_network_with_a_nodes_address_is_refused_by_name() -> None:
    found = compile_deny_list(
        [group("all", "true", "0.0.0.0/0", "fd00:1::/64", "192.168.1.11/32")], NODES
    )
    assert found.networks == {parse_network("192.168.1.11/32")}
    assert len(found.refused) == 2
    assert (
        "all: 0.0.0.0/0 is not denied: it holds the node's address 192.168.1.10" in found.refused[0]
    )


def test_what_cannot_be_read_and_what_does_not_deny_is_said() -> None:
    found = compile_deny_list([group("a", "true", "x"), group("b", "yes", "203.0.113.0/24")], NODES)
    assert found.networks == frozenset()
    assert ["'x'" in found.refused[0], "cairn.io/deny=true" in found.refused[1]] == [True, True]


def test_order_does_not_matter() -> None:
    groups = [group("a", "true", "x", "10.1.0.0/16"), group("b", "yes"), group("c", "true", "::/0")]
    assert compile_deny_list(groups, NODES) == compile_deny_list(reversed(groups), NODES)
