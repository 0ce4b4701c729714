"""The guard of a node: what it lets through, and when there is one."""

from dataclasses import replace

import pytest

from cairn.compile.host_guard import GUARD, HostNeeds, guard_policy, wants_guard
from cairn.kube.policy.rule import Action, CidrPeer, Direction, Policy, PolicyRef, PortMatch, Tier
from cairn.kube.selector import Selector
from cairn.net import parse_address, parse_l4_address, parse_network

ROUTER, NODE, ADMIN = (parse_address(a) for a in ("192.168.1.1", "192.168.1.11", "fd00:50::a"))
NEEDS = HostNeeds(
    api_servers=(parse_l4_address("192.168.1.5:6443/TCP"),),
    segments=(parse_network("192.168.1.0/24"),),
    bgp_peers=((ROUTER, 179),),
    nodes=(NODE,),
    sessions=(ADMIN,),
)


def ways(needs: HostNeeds, direction: Direction) -> dict[str, tuple[set[str], set[int]]]:
    """Return peers and ports of the guard's rules that name peers by address, by their path."""
    found = {}
    for rule in guard_policy(needs).rules:
        networks = {str(p.network) for p in rule.peers if isinstance(p, CidrPeer)}
        ports = {m.first for m in rule.matches if isinstance(m, PortMatch)}
        if rule.direction is direction and networks:
            found[rule.path] = networks, ports
    return found


def test_who_is_logged_in_and_who_runs_the_network_gets_in() -> None:
    assert ways(NEEDS, Direction.INGRESS) == {
        "administrator's session": ({"fd00:50::a/128"}, {22}),
        "API server to kubelet": ({"192.168.1.5/32", "192.168.1.0/24"}, {10250}),
        "BGP": ({"192.168.1.1/32"}, {179}),
        "BFD": ({"192.168.1.1/32", "192.168.1.11/32"}, {3784}),
        "overlay": ({"192.168.1.11/32"}, {8472}),
    }


def test_the_node_gets_out_to_what_it_lives_by() -> None:
    assert ways(NEEDS, Direction.EGRESS) == {
        "API server 192.168.1.5": ({"192.168.1.5/32"}, {6443}),
        "BGP 192.168.1.1": ({"192.168.1.1/32"}, {179}),
        "BFD": ({"192.168.1.1/32", "192.168.1.11/32"}, {3784}),
        "overlay": ({"192.168.1.11/32"}, {8472}),
    }


def test_what_nobody_needs_makes_no_rule() -> None:
    assert ways(HostNeeds(), Direction.INGRESS) == {}
    assert ways(HostNeeds(), Direction.EGRESS) == {}


def test_the_guard_allows_before_all_others_and_isolates_nobody() -> None:
    policy = guard_policy(NEEDS)
    assert (policy.tier, policy.isolates, policy.subject) == (Tier.ADMIN, frozenset(), None)
    assert policy.priority < 0
    assert {(rule.action, rule.implied) for rule in policy.rules} == {(Action.ALLOW, True)}
    assert all(
        peer.inside for rule in policy.rules for peer in rule.peers if isinstance(peer, CidrPeer)
    )


HOST = Policy(
    ref=PolicyRef("CiliumClusterwideNetworkPolicy", "", "nodes"),
    uid="1",
    subject=None,
    nodes=Selector(),
)


@pytest.mark.parametrize(
    ("policies", "guarded"),
    [
        ((), False),
        ((replace(HOST, subject=Selector(), nodes=None),), False),
        ((HOST,), True),
        ((HOST, replace(HOST, guarded=False)), False),
        ((HOST, replace(HOST, guarded=False, disabled=True)), True),
        ((replace(HOST, disabled=True),), False),
    ],
)
def test_a_guard_stands_where_host_policies_do(policies: tuple[Policy, ...], guarded: bool) -> None:
    assert wants_guard(policies) is guarded


def test_the_guard_has_a_name_for_events() -> None:
    assert str(GUARD) == "HostGuard/cairn"
