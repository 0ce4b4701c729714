"""Both families over one session: next hops, peers that lack one, restarts family by family."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from bgp_world import VIP, World, peer

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.capability.multiprotocol import Multiprotocol
from cairn.bgp.event import EndOfRib, FamilyCount, PeerDown, RouteNotAnnounced
from cairn.bgp.family import IPV4_UNICAST, IPV6_UNICAST, Family
from cairn.bgp.framing import MessageType, write_frame
from cairn.bgp.message.open import Open, read_open, write_open
from cairn.net import Address, Network

ROUTER, ROUTER6 = "192.168.1.1", "fd00:1::1"
NODES = ("192.168.1.10", "192.168.1.11", "192.168.1.12")
NODES6 = ("fd00:1::10", "fd00:1::11", "fd00:1::12")
OWN = Attributes(local_pref=100)
VIP6 = ip_network("2001:db8:f::1/128")
BOTH = {VIP: OWN, VIP6: OWN}
ONLY_IPV4 = (IPV4_UNICAST,)


def own(number: int) -> tuple[Address, ...]:
    return ip_address(NODES[number]), ip_address(NODES6[number])


def over_ipv4(**router_options: object) -> World:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", **router_options))
    for number, node in enumerate(NODES):
        world.add(node, peer(ROUTER, next_hops=own(number)))
        world.announce(node, BOTH)
    return world


def over_ipv6(**router_options: object) -> World:
    world = World()
    options = {"name": "nodes", **router_options}
    world.add(ROUTER6, peer("fd00:1::/64", **options), router_id=ROUTER)
    for number, node in enumerate(NODES6):
        config = peer(ROUTER6, next_hops=own(number))
        world.add(node, config, router_id=NODES[number])
        world.announce(node, BOTH)
    return world


def hops(world: World, router: str, prefix: Network) -> tuple[str, ...]:
    rib = world.speakers[router].rib()
    used = [one for one in rib if one.prefix == prefix and (one.selected or one.multipath)]
    return tuple(sorted(str(one.next_hop) for one in used))


@pytest.mark.parametrize(("make", "router"), [(over_ipv4, ROUTER), (over_ipv6, ROUTER6)])
def test_each_family_has_the_nodes_address_of_that_family(
    make: Callable[..., World], router: str
) -> None:
    world = make()
    assert hops(world, router, VIP) == NODES
    assert hops(world, router, VIP6) == NODES6
    state = world.speakers[router].peers()[0]
    assert state.counts == {
        IPV4_UNICAST: FamilyCount(received=1, announced=0),
        IPV6_UNICAST: FamilyCount(received=1, announced=0),
    }


def test_external_peers_get_the_nodes_address_too() -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", remote_asn=64513))
    world.add(NODES[0], peer(ROUTER, local_asn=64513, next_hops=own(0)))
    world.announce(NODES[0], BOTH)
    assert hops(world, ROUTER, VIP6) == NODES6[:1]


def test_a_peer_without_ipv6_gets_ipv4_and_is_named_once() -> None:
    world = over_ipv4(families=ONLY_IPV4)
    node = NODES[0]
    assert hops(world, ROUTER, VIP) == NODES
    assert not hops(world, ROUTER, VIP6)
    more = {ip_network(f"2001:db8:f::{n}/128"): OWN for n in range(2, 9)}
    world.announce(node, {**BOTH, **more})
    (said,) = world.happened(node, RouteNotAnnounced)
    assert isinstance(said, RouteNotAnnounced)
    assert "does not take IPv6 unicast" in said.reason
    assert world.peer(node, ROUTER).not_announced == {said.reason: 8}
    world.announce(node, {VIP: OWN})
    assert world.peer(node, ROUTER).not_announced == {}


def test_a_family_that_we_do_not_offer_is_not_missed() -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes"))
    world.add(NODES[0], peer(ROUTER, families=ONLY_IPV4))
    world.announce(NODES[0], BOTH)
    assert not world.happened(NODES[0], RouteNotAnnounced)
    assert world.peer(NODES[0], ROUTER).not_announced == {}


def test_another_own_address_is_told_without_a_reset() -> None:
    world = over_ipv4()
    moved = (ip_address(NODES[0]), ip_address("fd00:1::99"))
    config = peer(ROUTER, next_hops=moved)
    world.speakers[NODES[0]].configure({ROUTER: config}, world.clock.now)
    world.settle()
    assert not world.happened(NODES[0], PeerDown)
    assert hops(world, ROUTER, VIP6) == (*NODES6[1:], "fd00:1::99")


def test_without_an_own_address_of_the_family_nothing_is_invented() -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes"))
    world.add(NODES[0], peer(ROUTER, next_hops=(ip_address("fe80::10"),)))
    world.announce(NODES[0], BOTH)
    assert not hops(world, ROUTER, VIP6)
    (said,) = world.happened(NODES[0], RouteNotAnnounced)
    assert isinstance(said, RouteNotAnnounced)
    assert "needs an IPv6 next hop" in said.reason


@pytest.mark.parametrize("hop", ["fe80::10", "ff02::1", "::1", "::", "::ffff:192.168.1.10"])
def test_an_ipv6_next_hop_that_is_none(hop: str) -> None:
    world = over_ipv4()
    attributes = Attributes(local_pref=100, next_hop=ip_address(hop))
    world.announce(NODES[0], {VIP6: attributes})
    assert hops(world, ROUTER, VIP6) == NODES6[1:]
    (wrong,) = [one for one in world.speakers[ROUTER].rib() if one.invalid]
    assert wrong.invalid.startswith("next hop ")


def test_the_link_local_address_behind_the_global_one_changes_nothing() -> None:
    world = over_ipv4()
    attributes = Attributes(
        local_pref=100, next_hop=ip_address(NODES6[0]), link_local=IPv6Address("fe80::10")
    )
    world.announce(NODES[0], {VIP6: attributes})
    assert hops(world, ROUTER, VIP6) == NODES6


def test_a_restart_keeps_and_confirms_each_family_by_itself() -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", graceful_restart_s=120))
    config = peer(ROUTER, next_hops=own(0), graceful_restart_s=120)
    world.add(NODES[0], config)
    world.announce(NODES[0], BOTH)
    world.kill(NODES[0])
    assert [one.stale for one in world.speakers[ROUTER].rib()] == [True, True]
    world.happened(ROUTER, EndOfRib)
    world.add(NODES[0], config).announce({VIP6: OWN}, world.clock.now)
    world.run(5)
    ended = [e.family for e in world.happened(ROUTER, EndOfRib) if isinstance(e, EndOfRib)]
    assert sorted(ended) == [IPV4_UNICAST, IPV6_UNICAST]
    assert not hops(world, ROUTER, VIP)
    assert hops(world, ROUTER, VIP6) == NODES6[:1]
    assert [one.stale for one in world.speakers[ROUTER].rib()] == [False]


@pytest.mark.parametrize("families", [(IPV4_UNICAST,), (IPV6_UNICAST,)])
def test_a_family_that_does_not_return_is_swept_at_once(families: tuple[Family, ...]) -> None:
    world = World()
    world.add(ROUTER, peer("192.168.1.0/24", name="nodes", graceful_restart_s=120))
    world.add(NODES[0], peer(ROUTER, next_hops=own(0), graceful_restart_s=120))
    world.announce(NODES[0], BOTH)
    world.kill(NODES[0])
    again = peer(ROUTER, next_hops=own(0), graceful_restart_s=120, families=families)
    world.add(NODES[0], again).announce(BOTH, world.clock.now)
    world.run(5)
    assert bool(hops(world, ROUTER, VIP)) is (IPV4_UNICAST in families)
    assert bool(hops(world, ROUTER, VIP6)) is (IPV6_UNICAST in families)


REFUSED = write_frame(MessageType.NOTIFICATION, b"\x02\x07")
NO_PARAMETERS = write_frame(MessageType.NOTIFICATION, b"\x02\x04")


def offered(world: World, answer: bytes) -> tuple[set[Family], int]:
    """Return which families and how many capabilities an OPEN offers; answer it."""
    speaker, now = world.speakers[ROUTER], world.clock.now
    connection = speaker.accepted(ip_address(NODES[0]), ip_address(ROUTER), now)
    assert isinstance(connection, int)
    said = read_open(speaker.output(connection)[19:])
    speaker.receive(connection, answer, now)
    world.run(1)
    found = {one.family for one in said.capabilities if isinstance(one, Multiprotocol)}
    return found, len(said.capabilities)


@pytest.mark.parametrize("answer", [REFUSED, NO_PARAMETERS])
def test_a_router_of_old_that_refuses_a_family_is_offered_less(answer: bytes) -> None:
    """RFC 5492 s3: try again without what the peer refused."""
    world = World()
    world.add(ROUTER, peer(NODES[0], passive=True, graceful_restart_s=120))
    everything, many = offered(world, answer)
    assert everything == {IPV4_UNICAST, IPV6_UNICAST}
    own, fewer = offered(world, answer)
    assert (own, fewer) == ({IPV4_UNICAST}, many - 1)
    assert offered(world, answer) == (set(), 0)
    assert offered(world, answer) == (everything, many)


def test_other_answers_change_no_offer() -> None:
    world = World()
    world.add(ROUTER, peer(NODES[0], passive=True))
    first = offered(world, write_frame(MessageType.NOTIFICATION, b"\x02\x02"))
    assert offered(world, write_frame(MessageType.NOTIFICATION, b"\x06\x02")) == first


def test_whom_less_is_offered_gets_its_own_family_and_the_rest_is_named() -> None:
    world = World()
    world.add(NODES[0], peer(ROUTER, passive=True, next_hops=own(0)))
    world.announce(NODES[0], BOTH)
    speaker, now = world.speakers[NODES[0]], world.clock.now
    for answer in (REFUSED, an_open() + write_frame(MessageType.KEEPALIVE, b"")):
        connection = speaker.accepted(ip_address(ROUTER), ip_address(NODES[0]), now)
        assert isinstance(connection, int)
        speaker.receive(connection, answer, now)
        speaker.output(connection)
        world.settle()
    state = world.peer(NODES[0], ROUTER)
    assert state.families == ONLY_IPV4
    assert state.counts == {IPV4_UNICAST: FamilyCount(announced=1)}
    assert list(state.not_announced.values()) == [1]


def an_open() -> bytes:
    capabilities = tuple(Multiprotocol(one) for one in (IPV4_UNICAST, IPV6_UNICAST))
    sent = Open(64512, 90, IPv4Address(ROUTER), capabilities)
    return write_frame(MessageType.OPEN, write_open(sent))
