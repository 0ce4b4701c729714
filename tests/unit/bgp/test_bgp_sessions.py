"""Sessions under a virtual clock: timers, collisions, loss, restarts."""

from ipaddress import IPv4Address, ip_address, ip_network
from itertools import pairwise
from random import Random

import pytest
from bgp_vectors import session
from bgp_world import VIP, World, peer

from cairn.bgp.attribute.as_path import sequence
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.capability.extended_message import ExtendedMessage
from cairn.bgp.capability.graceful_restart import GracefulRestart
from cairn.bgp.error import Violation
from cairn.bgp.event import EndOfRib, Event, PeerDown, PeerStateChanged, PeerUp, RouteChanged
from cairn.bgp.family import IPV4_UNICAST
from cairn.bgp.framing import MessageType, check_header, write_frame
from cairn.bgp.message.keepalive import KEEPALIVE
from cairn.bgp.message.open import Open, read_open, write_open
from cairn.bgp.message.refresh import Refresh, RefreshType, write_refresh
from cairn.bgp.message.update import read_update, write_announcements
from cairn.bgp.negotiate import has
from cairn.bgp.speaker import Speaker
from cairn.bgp.transitions import State

A, B = "10.0.0.1", "10.0.0.2"
OWN = Attributes(local_pref=100)


def pair(**options: object) -> World:
    """Return two speakers of which the second dials."""
    world = World()
    world.add(A, peer(B, passive=True, **options))
    world.add(B, peer(A, **options))
    world.settle()
    return world


def reasons(world: World, address: str) -> list[str]:
    return [e.reason for e in world.happened(address, PeerDown) if isinstance(e, PeerDown)]


def test_states_are_passed_in_order() -> None:
    world = pair()
    changes = world.happened(B, PeerStateChanged)
    states = [one.now for one in changes if isinstance(one, PeerStateChanged)]
    assert states == sorted(states)
    assert states[-1] is State.ESTABLISHED
    assert world.peer(A, B).state is State.ESTABLISHED


def test_an_idle_session_stays_up_on_keepalives_alone() -> None:
    world = pair(hold_time_s=9)
    before = world.peer(A, B).messages_in
    world.run(600)
    assert not reasons(world, A)
    # a third of nine seconds, an eighth shorter by jitter
    assert world.peer(A, B).messages_in - before == pytest.approx(600 / 2.625, abs=2)


def test_the_smaller_hold_time_counts() -> None:
    world = World()
    world.add(A, peer(B, passive=True, hold_time_s=30))
    world.add(B, peer(A, hold_time_s=180))
    world.settle()
    assert world.peer(A, B).hold_time_s == world.peer(B, A).hold_time_s == 30


def test_without_hold_time_nothing_is_sent_and_nothing_expires() -> None:
    world = pair(hold_time_s=0)
    before = world.peer(A, B).messages_in
    world.run(10_000)
    assert world.peer(A, B).messages_in == before
    assert not reasons(world, A)


def test_silence_ends_a_session_after_the_hold_time() -> None:
    world = pair(hold_time_s=9)
    world.announce(B, {VIP: OWN})
    world.cut.add(B)
    world.run(6)
    assert not reasons(world, A)
    world.run(4)
    assert reasons(world, A) == ["sent NOTIFICATION: hold timer expired"]
    assert not world.speakers[A].rib()


def test_a_peer_that_refuses_is_retried_with_growing_waits() -> None:
    world = World()
    world.add(B, peer(A, connect_retry_s=5))
    attempts: list[float] = []
    for _ in range(8):
        deadline = world.speakers[B].deadline
        world.settle()
        attempts.append(world.clock.now)
        deadline = world.speakers[B].deadline
        assert deadline is not None
        world.run(deadline - world.clock.now)
    waits = [round(b - a, 3) for a, b in pairwise(attempts)]
    assert waits[0] == 0.875
    assert waits == sorted(waits)
    assert waits[-1] == 5 * 0.875
    assert reasons(world, B) == ["connection refused"], "the same failure is reported once"


def test_a_connection_that_hangs_is_dialled_anew() -> None:
    world = World()
    world.delay_connects = True
    world.add(B, peer(A, connect_retry_s=4))
    world.run(10)
    first, *later = [one.connection for _, one in world.pending]
    assert later
    assert first not in later
    assert world.peer(B, A).state is State.CONNECT


def both_dial() -> World:
    world = World()
    world.delay_connects = True
    world.add(A, peer(B))
    world.add(B, peer(A))
    world.settle()
    return world


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("settle", [True, False])
def test_of_two_connections_one_remains(order: tuple[int, int], settle: bool) -> None:
    world = both_dial()
    wanted = list(world.pending)
    world.delay_connects = False
    for at in order:
        world.connect(*wanted[at])
        if settle:
            world.settle()
    world.settle()
    for here, there in ((A, B), (B, A)):
        assert world.peer(here, there).state is State.ESTABLISHED
        assert len(world.happened(here, PeerUp)) == 1
        assert not reasons(world, here), "a collision is no failure"
    world.run(300)
    assert not reasons(world, A)
    assert not reasons(world, B)


def test_the_higher_identifier_keeps_the_connection_it_dialled() -> None:
    world = both_dial()
    wanted = dict(world.pending)
    world.delay_connects = False
    for address in (A, B):
        world.connect(address, wanted[address])
    world.settle()
    octets = world.octets[(A, wanted[A].connection)] + world.octets[(B, wanted[B].connection)]
    assert octets
    cease = bytes.fromhex("ff" * 16 + "0015030607")
    kept = world.octets[(B, wanted[B].connection)]
    assert cease not in kept


def greet(world: World, *messages: bytes, address: str = A, remote: str = B) -> bytes:
    """Connect to `address` by hand, send messages, and return what it sends."""
    speaker, now = world.speakers[address], world.clock.now
    connection = speaker.accepted(ip_address(remote), ip_address(address), now)
    assert isinstance(connection, int)
    said = speaker.output(connection)
    for message in messages:
        speaker.receive(connection, message, now)
    said += speaker.output(connection)
    world.settle()
    return said


def by_hand(**options: object) -> World:
    world = World()
    world.add(A, peer(B, passive=True, **options))
    world.settle()
    return world


def an_open(**options: object) -> bytes:
    fields = {"asn": 64512, "hold_time_s": 90, "router_id": ip_address(B), **options}
    return write_frame(MessageType.OPEN, write_open(Open(**fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"\x00" * 19, "0101"),
        (b"\xff" * 16 + b"\x00\x12\x04", "01020012"),
        (b"\xff" * 16 + b"\x10\x01\x02", "01021001"),
        (b"\xff" * 16 + b"\x00\x14\x04\x00", "01020014"),
        (b"\xff" * 16 + b"\x00\x13\x09", "010309"),
        (an_open(asn=64999), "0202"),
        (an_open(router_id=ip_address(A)), "0203"),
        (an_open(hold_time_s=2), "02060002"),
        (bytes.fromhex("ff" * 16 + "001d0103fc00005a0a00000200"), "02010004"),
        (KEEPALIVE, "0501"),
        (write_frame(MessageType.UPDATE, b"\x00" * 4), "0501"),
        (an_open() + an_open(), "0502"),
        (an_open() + KEEPALIVE + an_open(), "0503"),
        (an_open() + KEEPALIVE + write_frame(MessageType.UPDATE, b"\x00\xff\0\0"), "0301"),
    ],
)
def test_a_violation_is_answered_with_its_code(message: bytes, answer: str) -> None:
    world = by_hand()
    said = greet(world, message)
    length = 19 + len(answer) // 2
    assert said.hex().endswith("ff" * 16 + f"{length:04x}03" + answer)
    (reason,) = reasons(world, A)
    assert reason.startswith("sent NOTIFICATION: ")


def test_a_notification_is_never_answered() -> None:
    world = by_hand()
    said = greet(world, write_frame(MessageType.NOTIFICATION, b"\x06\x02"))
    assert said[18] == MessageType.OPEN
    assert len(said) == int.from_bytes(said[16:18], "big")
    assert reasons(world, A) == ["received NOTIFICATION: cease: administrative shutdown"]


def test_octets_may_come_one_by_one() -> None:
    world = by_hand()
    octets = an_open() + KEEPALIVE
    greet(world, *(octets[at : at + 1] for at in range(len(octets))))
    assert world.peer(A, B).state is State.ESTABLISHED


def test_nothing_behind_a_violation_is_read() -> None:
    world = by_hand()
    greet(world, b"\x00" * 19 + an_open() + KEEPALIVE)
    assert not world.happened(A, PeerUp)


def test_a_route_refresh_brings_the_routes_again() -> None:
    world = pair()
    world.announce(A, {VIP: OWN})
    world.happened(B, RouteChanged)
    ((end, _),) = [(e, o) for e, o in world.octets.items() if e[0] == A]
    before = len(world.octets[end])
    request = write_frame(MessageType.ROUTE_REFRESH, write_refresh(Refresh(IPV4_UNICAST)))
    world.speakers[A].receive(end[1], request, world.clock.now)
    world.settle()
    kinds = [one[18] for one in messages(bytes(world.octets[end][before:]))]
    assert kinds == [MessageType.ROUTE_REFRESH, MessageType.UPDATE, MessageType.ROUTE_REFRESH]
    assert len(world.speakers[B].rib()) == 1
    assert not world.happened(B, RouteChanged)


def messages(octets: bytes) -> list[bytes]:
    found = []
    while octets:
        length = int.from_bytes(octets[16:18], "big")
        found.append(octets[:length])
        octets = octets[length:]
    return found


# -- graceful restart ---------------------------------------------------------------------------


def restartable() -> World:
    world = World()
    world.add(A, peer("10.0.0.0/24", name="nodes", graceful_restart_s=120))
    world.add(B, peer(A, graceful_restart_s=120))
    world.announce(B, {VIP: OWN, ip_network("10.9.0.0/16"): OWN})
    world.happened(A, RouteChanged)
    world.happened(A, EndOfRib)
    return world


def test_routes_outlive_a_crash_and_are_confirmed() -> None:
    world = restartable()
    world.kill(B)
    (down,) = world.happened(A, PeerDown)
    assert isinstance(down, PeerDown)
    assert down.graceful
    assert [one.stale for one in world.speakers[A].rib()] == [True, True]
    assert world.peer(A, B).prefixes_stale == 2
    assert not world.happened(A, RouteChanged), "the kernel's routes stay as they are"
    world.run(60)
    world.add(B, peer(A, graceful_restart_s=120)).announce({VIP: OWN}, world.clock.now)
    world.settle()
    kinds = [type(e) for e in world.events[A] if isinstance(e, EndOfRib | RouteChanged)]
    assert kinds == [RouteChanged, EndOfRib, EndOfRib], "who sweeps at the end has seen the routes"
    assert world.happened(A, EndOfRib)
    (path,) = world.speakers[A].rib()
    assert (path.prefix, path.stale) == (VIP, False)
    (change,) = world.happened(A, RouteChanged)
    assert isinstance(change, RouteChanged)
    assert (str(change.prefix), change.paths) == ("10.9.0.0/16", ())


def test_a_peer_that_does_not_return_loses_its_routes() -> None:
    world = restartable()
    world.kill(B)
    world.run(119)
    assert len(world.speakers[A].rib()) == 2
    world.run(2)
    assert not world.speakers[A].rib()
    assert not world.speakers[A].peers(), "a dynamic peer leaves nothing behind"


def test_a_peer_that_returns_without_its_forwarding_loses_its_routes_at_once() -> None:
    world = restartable()
    world.kill(B)
    world.add(B, peer(A))
    world.settle()
    assert not world.speakers[A].rib()


def test_a_notification_is_no_graceful_end() -> None:
    world = restartable()
    world.speakers[B].configure({}, world.clock.now)
    world.settle()
    (down,) = world.happened(A, PeerDown)
    assert isinstance(down, PeerDown)
    assert not down.graceful
    assert not world.speakers[A].rib()


def test_a_second_crash_before_the_end_of_rib_takes_what_was_not_confirmed() -> None:
    world = restartable()
    world.kill(B)
    said = greet(
        world,
        write_frame(MessageType.OPEN, write_open(copy_of_open(world))),
        KEEPALIVE,
    )
    assert said
    assert [one.stale for one in world.speakers[A].rib()] == [True, True]
    connection = max(c for a, c in [(A, one) for one in connections(world.speakers[A])])
    world.speakers[A].closed(connection, world.clock.now)  # type: ignore[arg-type]
    world.settle()
    assert not world.speakers[A].rib()


def connections(speaker: Speaker) -> list[int]:
    """Return the numbers given out so far; the next one is one more."""
    answer = speaker.accepted(ip_address("10.0.0.77"), ip_address(A), 0.0)
    assert isinstance(answer, int)
    speaker.closed(answer, 0.0)
    return list(range(1, answer))


def copy_of_open(world: World) -> Open:
    capabilities = world.peer(A, B).capabilities
    if not capabilities:
        probe = World()
        probe.add(A, peer("10.0.0.0/24", name="nodes", graceful_restart_s=120))
        probe.add(B, peer(A, graceful_restart_s=120))
        probe.settle()
        capabilities = probe.peer(A, B).capabilities
    assert has(capabilities, GracefulRestart)
    return Open(64512, 90, ip_address(B), capabilities)  # type: ignore[arg-type]


def test_a_new_connection_replaces_the_old_one_of_a_peer_that_restarted() -> None:
    world = restartable()
    world.cut.add(B)
    said = greet(world, write_frame(MessageType.OPEN, write_open(copy_of_open(world))), KEEPALIVE)
    assert said
    assert world.peer(A, B).state is State.ESTABLISHED
    assert len(world.happened(A, PeerUp)) == 2
    assert [one.stale for one in world.speakers[A].rib()] == [True, True]


# -- anything goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_to_connections_the_routes_come_back(seed: int) -> None:
    """Crashes, losses and simultaneous dialling, in any order; then quiet, and all is well."""
    random = Random(seed)
    world = World()
    graceful = random.choice([None, 30])
    for address, other in ((A, B), (B, A)):
        world.add(address, peer(other, hold_time_s=9, graceful_restart_s=graceful))
        world.announce(address, {ip_network(f"{address}/32"): OWN})
    for _ in range(20):
        address, other = random.choice([(A, B), (B, A)])
        match random.choice(["crash", "cut", "heal", "wait", "deaf", "hear", "shuffle"]):
            case "crash":
                world.kill(address)
                world.add(address, peer(other, hold_time_s=9, graceful_restart_s=graceful))
                world.announce(address, {ip_network(f"{address}/32"): OWN})
            case "cut":
                world.cut.add(address)
            case "heal":
                world.cut.clear()
            case "deaf":
                world.dead.add(address)
            case "hear":
                world.dead.clear()
            case "shuffle":
                random.shuffle(world.pending)
                world.delay_connects = not world.delay_connects
                for late in world.pending:
                    world.connect(*late)
                world.pending.clear()
            case "wait":
                pass
        world.run(random.choice([0.0, 0.3, 2.0, 11.0]))
    world.cut.clear()
    world.dead.clear()
    world.delay_connects = False
    world.pending.clear()
    world.run(400)
    for here, there in ((A, B), (B, A)):
        assert world.peer(here, there).state is State.ESTABLISHED
        learned = [one for one in world.speakers[here].rib() if one.peer]
        assert [(str(one.prefix), one.stale) for one in learned] == [(f"{there}/32", False)]


def test_every_event_kind_is_one_of_the_declared() -> None:
    world = restartable()
    world.kill(B)
    assert {type(one) for one in world.events[A]} <= set(Event.__args__)


def opens_of(world: World, address: str) -> list[Open]:
    """Return the OPENs that `address` has sent, in the order of its connections."""
    ends = sorted(end for end in world.octets if end[0] == address and world.octets[end])
    return [read_open(messages(bytes(world.octets[end]))[0][19:]) for end in ends]


def test_the_restart_state_is_said_until_the_first_session() -> None:
    world = World()
    world.add(A, peer("10.0.0.0/24", name="nodes", graceful_restart_s=120))
    speaker = Speaker(router_id=IPv4Address(B), random=lambda: 0.5, restarting=True)
    world.speakers[B], world.events[B] = speaker, []
    speaker.configure({A: peer(A, graceful_restart_s=120)}, world.clock.now)
    world.settle()
    speaker.reset(A, world.clock.now)
    world.run(1)
    said = [has(one.capabilities, GracefulRestart) for one in opens_of(world, B)]
    assert [one and one.restarting for one in said] == [True, False]


def test_a_marked_refresh_sweeps_what_was_not_repeated() -> None:
    world = by_hand()
    speaker, now = world.speakers[A], world.clock.now
    connection = speaker.accepted(ip_address(B), ip_address(A), now)
    assert isinstance(connection, int)
    agreed = session()
    routes = [ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")]
    value = Attributes(local_pref=100, next_hop=ip_address(B))
    refresh = MessageType.ROUTE_REFRESH

    def send(kind: MessageType, body: bytes) -> None:
        speaker.receive(connection, write_frame(kind, body), now)

    send(MessageType.OPEN, write_open(copy_of_open(world)))
    send(MessageType.KEEPALIVE, b"")
    send(MessageType.UPDATE, write_announcements(routes, value, agreed)[0])
    send(refresh, write_refresh(Refresh(IPV4_UNICAST, RefreshType.BEGIN)))
    assert [one.stale for one in speaker.rib()] == [True, True]
    send(MessageType.UPDATE, write_announcements(routes[:1], value, agreed)[0])
    send(refresh, write_refresh(Refresh(IPV4_UNICAST, RefreshType.END)))
    assert [(one.prefix, one.stale) for one in speaker.rib()] == [(routes[0], False)]


def test_a_peer_of_two_octets_sees_the_true_path_through_us() -> None:
    world = by_hand(remote_asn=64513)
    world.speakers[A].announce({VIP: Attributes(as_path=sequence(70000))}, 0.0)
    said = greet(world, an_open(asn=64513), KEEPALIVE)
    (update,) = [one[19:] for one in messages(said) if one[18] == MessageType.UPDATE]
    (part,) = read_update(update, session(as4=False, ibgp=False)).reachable
    assert str(part.attributes.as_path) == "64512 70000"
    assert bytes.fromhex("fc00 5ba0") in update, "AS_TRANS stands in the old attribute"


@pytest.mark.parametrize("extended", [True, False])
def test_long_messages_only_where_both_read_them(extended: bool) -> None:
    world = by_hand()
    capabilities = (ExtendedMessage(),) if extended else ()
    many = [ip_network((0x0A000000 + i, 32)) for i in range(2000)]
    value = Attributes(local_pref=100, next_hop=ip_address(B))
    (long,) = write_announcements(many, value, session(extended=True))
    update = write_frame(MessageType.UPDATE, long)
    greet(world, an_open(capabilities=capabilities) + KEEPALIVE + update)
    assert world.peer(A, B).prefixes_received == (2000 if extended else 0)
    assert bool(reasons(world, A)) is not extended


@pytest.mark.parametrize("kind", [MessageType.OPEN, MessageType.KEEPALIVE])
def test_some_messages_are_never_long(kind: MessageType) -> None:
    with pytest.raises(Violation, match="of 5000 octets"):
        check_header(5000, kind, 65535)
