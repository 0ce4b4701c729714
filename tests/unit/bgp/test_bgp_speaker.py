"""Speakers against each other: routes, multipath, filters, limits, configuration."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from bgp_world import VIP, World, peer

from cairn.bgp.attribute.as_path import sequence
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.communities import NO_ADVERTISE, NO_EXPORT, Community
from cairn.bgp.config import AsnRule, PeerConfig, Refused
from cairn.bgp.event import (
    PeerDown,
    PeerUp,
    PrefixLimit,
    RouteChanged,
    RouteNotAnnounced,
)
from cairn.bgp.transitions import State
from cairn.net import Network

ROUTER = "192.168.1.1"
NODES = ("192.168.1.10", "192.168.1.11", "192.168.1.12")
OWN = Attributes(local_pref=100)


def lab(*, nodes: tuple[str, ...] = NODES, **router_options: object) -> World:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", **router_options))
    for node in nodes:
        world.add(node, peer(ROUTER))
        world.announce(node, {VIP: OWN})
    return world


def hops(world: World, prefix: Network = VIP) -> list[str]:
    return [
        str(one.next_hop)
        for one in world.speakers[ROUTER].rib()
        if one.prefix == prefix and (one.selected or one.multipath)
    ]


def test_three_nodes_make_one_multipath_route() -> None:
    world = lab()
    assert hops(world) == list(NODES)
    changes = world.happened(ROUTER, RouteChanged)
    assert [len(one.paths) for one in changes if isinstance(one, RouteChanged)] == [1, 2, 3]
    rib = world.speakers[ROUTER].rib()
    assert [one.selected for one in rib] == [True, False, False]
    assert [one.multipath for one in rib] == [False, True, True]
    assert all(one.via_ibgp and one.valid and not one.announced for one in rib)


def test_dynamic_peers_are_named_after_template_and_address() -> None:
    world = lab()
    assert [one.name for one in world.speakers[ROUTER].peers()] == [f"nodes/{n}" for n in NODES]


def test_the_router_passes_nothing_on_between_internal_peers() -> None:
    world = lab()
    assert world.peer(ROUTER, NODES[0]).prefixes_announced == 0
    assert [one.peer for one in world.speakers[NODES[0]].rib()] == [""]


def test_a_withdrawal_takes_one_path() -> None:
    world = lab()
    world.happened(ROUTER, RouteChanged)
    world.announce(NODES[0], {})
    assert hops(world) == list(NODES[1:])
    (change,) = world.happened(ROUTER, RouteChanged)
    assert isinstance(change, RouteChanged)
    assert [str(one.next_hop) for one in change.paths] == list(NODES[1:])


def test_multipath_is_limited() -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes"), multipath=2)
    for node in NODES:
        world.add(node, peer(ROUTER))
        world.announce(node, {VIP: OWN})
    assert hops(world) == list(NODES[:2])


def test_equal_announcements_cost_nothing() -> None:
    world = lab(nodes=NODES[:1])
    before = world.peer(NODES[0], ROUTER).messages_out
    world.announce(NODES[0], {VIP: OWN})
    assert world.peer(NODES[0], ROUTER).messages_out == before


def test_routes_with_equal_attributes_share_an_update() -> None:
    world = lab(nodes=NODES[:1])
    before = world.peer(NODES[0], ROUTER).messages_out
    many = {ip_network(f"10.1.{i}.0/24"): OWN for i in range(200)}
    world.announce(NODES[0], {VIP: OWN, **many})
    assert world.peer(NODES[0], ROUTER).messages_out == before + 1
    assert world.peer(ROUTER, NODES[0]).prefixes_received == 201


def test_a_route_that_flaps_before_it_is_sent_costs_nothing() -> None:
    world = lab(nodes=NODES[:1])
    before = world.peer(NODES[0], ROUTER).messages_out
    speaker = world.speakers[NODES[0]]
    speaker.announce({}, world.clock.now)
    assert world.peer(NODES[0], ROUTER).out_queue == 1
    speaker.announce({VIP: OWN}, world.clock.now)
    world.settle()
    assert world.peer(NODES[0], ROUTER).messages_out == before


def test_nobody_unknown_gets_in() -> None:
    world = lab()
    answer = world.speakers[ROUTER].accepted(ip_address("10.9.9.9"), ip_address(ROUTER), 0.0)
    assert answer == Refused("no peer 10.9.9.9 is configured")


def test_the_longest_template_wins() -> None:
    world = World()
    near = peer("192.168.1.8/29", name="near", remote_asn=None)
    world.add(ROUTER, peer("192.168.0.0/16", name="far"), near)
    world.add(NODES[0], peer(ROUTER))
    world.settle()
    assert world.peer(ROUTER, NODES[0]).template == "near"


@pytest.mark.parametrize(
    ("rule", "asn", "up"),
    [
        (AsnRule.INTERNAL, 64512, True),
        (AsnRule.INTERNAL, 64513, False),
        (AsnRule.EXTERNAL, 64513, True),
        (AsnRule.EXTERNAL, 64512, False),
        (64513, 64513, True),
        (64514, 64513, False),
        (None, 70000, True),
    ],
)
def test_who_may_peer(rule: AsnRule | int | None, asn: int, up: bool) -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", remote_asn=rule))
    world.add(NODES[0], peer(ROUTER, local_asn=asn))
    world.settle()
    assert bool(world.happened(ROUTER, PeerUp)) is up
    if not up:
        (down,) = world.happened(NODES[0], PeerDown)
        assert isinstance(down, PeerDown)
        assert down.reason == "received NOTIFICATION: open message: bad peer as"
        assert not world.speakers[ROUTER].peers()


def external(world: World) -> None:
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", remote_asn=AsnRule.EXTERNAL))
    for at, node in enumerate(NODES):
        config = peer(ROUTER, local_asn=65001 + at, remote_asn=64512)
        world.add(node, config)


def test_external_peers_of_different_systems_share_a_route() -> None:
    world = World()
    external(world)
    for node in NODES:
        world.announce(node, {VIP: replace(OWN, med=5)})
    assert hops(world) == list(NODES)
    best = next(one for one in world.speakers[ROUTER].rib() if one.selected)
    assert (str(best.as_path), best.local_pref, best.med) == ("65001", 100, 5)


def test_an_external_route_is_passed_on_with_our_system_in_front() -> None:
    world = World()
    external(world)
    world.announce(NODES[0], {VIP: replace(OWN, med=5, communities=(Community(65001 << 16),))})
    (path,) = world.speakers[NODES[1]].rib()
    assert (str(path.as_path), str(path.next_hop), path.med) == ("64512 65001", ROUTER, None)
    assert path.communities == (Community(65001 << 16),)


@pytest.mark.parametrize("mark", [NO_EXPORT, NO_ADVERTISE])
def test_marks_keep_a_route_back(mark: Community) -> None:
    world = World()
    external(world)
    world.announce(NODES[0], {VIP: replace(OWN, communities=(mark,))})
    assert hops(world) == [NODES[0]]
    assert not world.speakers[NODES[1]].rib()


def test_a_loop_is_seen_and_named() -> None:
    world = lab(nodes=NODES[:1])
    world.announce(NODES[0], {VIP: replace(OWN, as_path=sequence(65001, 64512))})
    (path,) = world.speakers[ROUTER].rib()
    assert (path.valid, path.invalid) == (False, "loop: our AS 64512 is in the path")
    assert not hops(world)


@pytest.mark.parametrize("hop", ["127.0.0.1", "224.0.0.1", "0.0.0.0", ROUTER])
def test_a_next_hop_that_is_none(hop: str) -> None:
    world = lab(nodes=NODES[:1])
    world.announce(NODES[0], {VIP: replace(OWN, next_hop=ip_address(hop))})
    (path,) = world.speakers[ROUTER].rib()
    assert path.invalid.startswith(f"next hop {hop}")


def test_ipv6_needs_a_next_hop_of_its_own() -> None:
    world = lab(nodes=NODES[:1])
    prefix = ip_network("2001:db8::100/128")
    world.announce(NODES[0], {prefix: OWN})
    (said,) = world.happened(NODES[0], RouteNotAnnounced)
    assert isinstance(said, RouteNotAnnounced)
    assert said.reason.startswith("it needs an IPv6 next hop")
    world.announce(NODES[0], {prefix: replace(OWN, next_hop=ip_address("2001:db8::10"))})
    assert hops(world, prefix) == ["2001:db8::10"]
    world.announce(NODES[0], {prefix: replace(OWN, next_hop=ip_address("::ffff:10.0.0.1"))})
    assert not hops(world, prefix)


def only_vip(prefix: Network, attributes: Attributes) -> Attributes | None:
    return replace(attributes, local_pref=200) if prefix == VIP else None


def test_filters_apply_to_routes_that_are_there() -> None:
    world = lab(nodes=NODES[:1])
    other = ip_network("10.0.0.0/8")
    world.announce(NODES[0], {VIP: OWN, other: OWN})
    nodes = peer("192.168.1.0/24", name="nodes", import_filter=only_vip)
    world.speakers[ROUTER].configure({"nodes": nodes}, world.clock.now)
    world.settle()
    paths = {one.prefix: one for one in world.speakers[ROUTER].rib()}
    assert paths[VIP].local_pref == 200
    assert paths[other].invalid == "rejected by the import filter"
    assert not world.happened(ROUTER, PeerDown)
    to_router = peer(ROUTER, export_filter=only_vip)
    world.speakers[NODES[0]].configure({ROUTER: to_router}, world.clock.now)
    world.settle()
    assert [one.prefix for one in world.speakers[ROUTER].rib()] == [VIP]


def test_too_many_prefixes_end_the_session_for_a_while() -> None:
    world = lab(nodes=NODES[:1], max_prefixes=2)
    world.announce(NODES[0], {ip_network(f"10.0.{i}.0/24"): OWN for i in range(3)})
    assert world.happened(ROUTER, PrefixLimit)
    (down,) = world.happened(NODES[0], PeerDown)
    assert isinstance(down, PeerDown)
    assert "maximum number of prefixes reached" in down.reason
    assert not world.speakers[ROUTER].rib()
    world.announce(NODES[0], {VIP: OWN})
    world.run(55)
    assert world.peer(NODES[0], ROUTER).state is not State.ESTABLISHED
    world.run(30)
    assert hops(world) == [NODES[0]]


def configured(world: World, **options: object) -> None:
    world.speakers[NODES[0]].configure({ROUTER: peer(ROUTER, **options)}, world.clock.now)
    world.settle()


def test_a_peer_that_is_no_longer_configured_is_told() -> None:
    world = lab()
    world.speakers[NODES[0]].configure({}, world.clock.now)
    world.settle()
    (down,) = world.happened(ROUTER, PeerDown)
    assert isinstance(down, PeerDown)
    assert down.reason == "received NOTIFICATION: cease: peer de configured"
    assert hops(world) == list(NODES[1:])


@pytest.mark.parametrize(
    ("options", "resets"),
    [
        ({}, False),
        ({"connect_retry_s": 9}, False),
        ({"max_prefixes": 7}, False),
        ({"next_hops": (ip_address("2001:db8::10"),)}, False),
        ({"hold_time_s": 30}, True),
        ({"graceful_restart_s": 60}, True),
        ({"password": "x"}, True),
    ],
)
def test_only_what_must_resets_a_session(options: dict[str, object], resets: bool) -> None:
    world = lab(nodes=NODES[:1])
    configured(world, **options)
    assert bool(world.happened(NODES[0], PeerDown)) is resets
    world.run(6)
    assert hops(world) == [NODES[0]]


def test_goodbye_is_said_in_words() -> None:
    world = lab()
    world.speakers[NODES[0]].shut_down(world.clock.now, said="new kernel")
    world.settle()
    (down,) = world.happened(ROUTER, PeerDown)
    assert isinstance(down, PeerDown)
    assert down.reason.endswith("cease: administrative shutdown (new kernel)")
    assert hops(world) == list(NODES[1:])


def test_a_reset_comes_back() -> None:
    world = lab(nodes=NODES[:1])
    world.speakers[NODES[0]].reset(ROUTER, world.clock.now)
    world.run(1)
    assert world.happened(ROUTER, PeerDown)
    assert hops(world) == [NODES[0]]


def test_calls_for_unknown_connections_are_harmless() -> None:
    speaker = lab().speakers[ROUTER]
    config: PeerConfig = peer("10.0.0.1")
    assert speaker.output(config.port) == b""  # type: ignore[arg-type]
    speaker.receive(999, b"x", 0.0)  # type: ignore[arg-type]
    speaker.closed(999, 0.0)  # type: ignore[arg-type]
    speaker.connect_failed(999, "x", 0.0)  # type: ignore[arg-type]
    assert len(speaker.peers()) == 3


def test_no_export_still_reaches_internal_peers() -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", remote_asn=None))
    world.add(NODES[0], peer(ROUTER, local_asn=65001))
    world.add(NODES[1], peer(ROUTER))
    world.announce(NODES[0], {VIP: replace(OWN, communities=(NO_EXPORT,))})
    (path,) = world.speakers[NODES[1]].rib()
    assert (str(path.next_hop), path.communities) == (NODES[0], (NO_EXPORT,))
    assert path.local_pref == 100
