"""BFD sessions back to back on a virtual clock: the states of RFC 5880, its timers, its checks."""

import itertools
import random as stdlib_random
from dataclasses import replace

import pytest

from cairn.bfd.monitor import Discard, Monitor
from cairn.bfd.packet import ControlPacket, Diagnostic, State, read_packet, write_packet
from cairn.bfd.session import Change, SessionConfig
from cairn.machine import VirtualClock
from cairn.net import Address, parse_address

A, B = parse_address("192.0.2.1"), parse_address("192.0.2.2")
TTL = 255


class Segment:
    """Two monitors on one link, with a log of what was sent and when."""

    def __init__(self, *, seed: int = 1, **configs: SessionConfig) -> None:
        self.clock = VirtualClock()
        chance = stdlib_random.Random(seed)
        self.monitors = {A: Monitor(chance.random), B: Monitor(chance.random)}
        self.sent: list[tuple[float, Address, ControlPacket]] = []
        self.changes: list[tuple[float, Change]] = []
        self.cut: set[Address] = set()
        self.loss = 0.0
        self._chance = chance
        self.monitors[A].configure({B: configs.get("a", SessionConfig(A))}, self.clock.now)
        self.monitors[B].configure({A: configs.get("b", SessionConfig(B))}, self.clock.now)

    def run(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while True:
            times = [m.deadline for m in self.monitors.values() if m.deadline is not None]
            due = min(times, default=end)
            if due > end:
                self.clock.advance(end - self.clock.now)
                return
            self.clock.advance(max(0.0, due - self.clock.now))
            for monitor in self.monitors.values():
                monitor.expire(self.clock.now)
            self.deliver()

    def deliver(self) -> None:
        for _ in range(50):
            moved = [out for monitor in self.monitors.values() for out in monitor.output()]
            for local, remote, octets in moved:
                self.sent.append((self.clock.now, local, read_packet(octets)))
                if local not in self.cut and self._chance.random() >= self.loss:
                    self.monitors[remote].receive(octets, local, TTL, self.clock.now)
            for monitor in self.monitors.values():
                self.changes += [(self.clock.now, change) for change in monitor.events()]
            if not moved:
                return
        raise AssertionError("the two answer each other without end")

    def state(self, of: Address) -> State:
        (session,) = self.monitors[of].sessions.values()
        return session.state

    def gaps(self, of: Address) -> list[float]:
        times = [at for at, sender, packet in self.sent if sender == of and not packet.final]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_two_neighbours_come_up_and_send_at_the_agreed_interval() -> None:
    segment = Segment(b=SessionConfig(B, 300_000))
    segment.run(5)
    assert segment.state(A) is segment.state(B) is State.UP
    segment.sent.clear()
    segment.run(30)
    for address in (A, B):
        gaps = segment.gaps(address)
        # The slower of both decides; each interval is shortened by up to a quarter (s6.8.7).
        assert 0.225 - 1e-6 <= min(gaps) < 0.24
        assert 0.285 < max(gaps) <= 0.3 + 1e-6
        assert len({round(gap, 6) for gap in gaps}) > 20


def test_a_neighbour_that_falls_silent_is_down_after_the_detection_time() -> None:
    segment = Segment()
    segment.run(5)
    segment.changes.clear()
    segment.cut.add(B)
    silent_since = segment.clock.now
    segment.run(2)
    at, change = next((at, c) for at, c in segment.changes if c.remote == B)
    assert (change.was, change.state) == (State.UP, State.DOWN)
    assert change.diagnostic is Diagnostic.DETECTION_TIME_EXPIRED
    # Three intervals after the last packet, which came up to one interval before the cut.
    assert 0.4 <= at - silent_since <= 0.6
    # The other still hears us: it learns that we hear nothing (s6.2).
    assert any(
        c.diagnostic is Diagnostic.NEIGHBOUR_SIGNALED_DOWN
        for _, c in segment.changes
        if c.remote == A
    )


def test_the_session_comes_back() -> None:
    segment = Segment()
    segment.run(5)
    segment.cut.update((A, B))
    segment.run(5)
    assert segment.state(A) is segment.state(B) is State.DOWN
    segment.sent.clear()
    segment.run(20)
    # Not Up: no more than one packet a second, and none sooner than three quarters (s6.8.3).
    assert min(segment.gaps(A)) >= 0.75 - 1e-6
    segment.cut.clear()
    segment.run(3)
    assert segment.state(A) is segment.state(B) is State.UP


def test_one_lost_packet_in_five_ends_no_session() -> None:
    segment = Segment(seed=7, a=SessionConfig(A, multiplier=8), b=SessionConfig(B, multiplier=8))
    segment.loss = 0.2
    segment.run(10)
    segment.changes.clear()
    segment.run(120)
    assert segment.state(A) is segment.state(B) is State.UP
    assert segment.changes == []


def test_who_leaves_on_purpose_says_so() -> None:
    segment = Segment()
    segment.run(5)
    segment.changes.clear()
    segment.monitors[B].shut_down(segment.clock.now)
    segment.deliver()
    (change,) = (c for _, c in segment.changes if c.remote == B)
    assert change.state is State.DOWN
    assert change.remote_state is State.ADMIN_DOWN
    assert segment.monitors[B].sessions == {}
    assert segment.monitors[B].deadline is None


def test_a_longer_interval_counts_after_the_neighbour_has_confirmed_it() -> None:
    segment = Segment()
    segment.run(5)
    slower = SessionConfig(A, 1_000_000)
    segment.cut.add(B)  # nothing confirms it yet
    segment.sent.clear()
    segment.monitors[A].configure({B: slower}, segment.clock.now)
    segment.run(0.35)
    polls = [packet for _, sender, packet in segment.sent if sender == A]
    assert len(polls) >= 2, "it went on at the old interval while it asked"
    assert all(packet.poll and packet.desired_min_tx_us == 1_000_000 for packet in polls)
    segment.cut.clear()
    segment.run(3)
    segment.sent.clear()
    segment.run(20)
    assert min(segment.gaps(A)) >= 0.75 - 1e-6
    assert segment.state(A) is segment.state(B) is State.UP
    assert not any(packet.poll for _, _, packet in segment.sent)


def test_an_unchanged_configuration_sends_nothing() -> None:
    segment = Segment()
    segment.run(5)
    monitor = segment.monitors[A]
    monitor.configure({B: SessionConfig(A)}, segment.clock.now)
    assert monitor.output() == []


def test_a_neighbour_that_wants_no_packets_gets_none() -> None:
    monitor, now = Monitor(stdlib_random.Random(2).random), 0.0
    monitor.configure({B: SessionConfig(A)}, now)
    monitor.expire(now)
    monitor.output()
    quiet = ControlPacket(State.DOWN, 7, required_min_rx_us=0)
    assert monitor.receive(write_packet(quiet), B, TTL, now) is None
    monitor.output()
    monitor.expire(now + 2.0)
    assert monitor.output() == []


def test_demand_mode_stops_periodic_packets() -> None:
    segment = Segment()
    segment.run(5)
    monitor = segment.monitors[A]
    (session,) = monitor.sessions.values()
    told = ControlPacket(State.UP, 9, session.discriminator, demand=True, final=True)
    monitor.receive(write_packet(told), B, TTL, segment.clock.now)
    monitor.output()
    monitor.expire(segment.clock.now + 0.2)
    assert monitor.output() == []


MINE = ControlPacket(State.DOWN, 7)
REFUSED = {
    "ttl": (write_packet(MINE), B, 254, Discard.TTL),
    "version": (b"\x40" + write_packet(MINE)[1:], B, TTL, Discard.MALFORMED),
    "short": (write_packet(MINE)[:23], B, TTL, Discard.MALFORMED),
    "multiplier": (write_packet(replace(MINE, detect_multiplier=0)), B, TTL, Discard.MALFORMED),
    "mine": (write_packet(replace(MINE, my_discriminator=0)), B, TTL, Discard.MALFORMED),
    "stranger": (write_packet(MINE), parse_address("192.0.2.9"), TTL, Discard.UNKNOWN_NEIGHBOUR),
    "number": (
        write_packet(replace(MINE, your_discriminator=1)),
        B,
        TTL,
        Discard.UNKNOWN_DISCRIMINATOR,
    ),
    "no number": (write_packet(replace(MINE, state=State.UP)), B, TTL, Discard.NO_DISCRIMINATOR),
}


@pytest.mark.parametrize("case", REFUSED)
def test_packets_that_are_nobodys_are_counted_by_reason(case: str) -> None:
    octets, source, ttl, why = REFUSED[case]
    monitor = Monitor(stdlib_random.Random(3).random)
    monitor.configure({B: SessionConfig(A)}, 0.0)
    assert monitor.receive(octets, source, ttl, 0.0) is why
    assert monitor.discarded == {why: 1}
    (session,) = monitor.sessions.values()
    assert session.state is State.DOWN


def test_an_authenticated_packet_is_refused() -> None:
    plain = bytearray(write_packet(MINE) + b"\x01\x04\x01x")
    plain[1] |= 0x04
    plain[3] = len(plain)
    monitor = Monitor(stdlib_random.Random(3).random)
    monitor.configure({B: SessionConfig(A)}, 0.0)
    assert monitor.receive(bytes(plain), B, TTL, 0.0) is Discard.AUTHENTICATED


# RFC 5880 s6.2 and s6.8.6: our state, the state told, our next state.
TABLE = {
    (State.DOWN, State.ADMIN_DOWN): State.DOWN,
    (State.DOWN, State.DOWN): State.INIT,
    (State.DOWN, State.INIT): State.UP,
    (State.DOWN, State.UP): State.DOWN,
    (State.INIT, State.ADMIN_DOWN): State.DOWN,
    (State.INIT, State.DOWN): State.INIT,
    (State.INIT, State.INIT): State.UP,
    (State.INIT, State.UP): State.UP,
    (State.UP, State.ADMIN_DOWN): State.DOWN,
    (State.UP, State.DOWN): State.DOWN,
    (State.UP, State.INIT): State.UP,
    (State.UP, State.UP): State.UP,
}
WAY = {State.DOWN: (), State.INIT: (State.DOWN,), State.UP: (State.DOWN, State.INIT)}


@pytest.mark.parametrize(("before", "told"), TABLE)
def test_every_state_goes_where_the_standard_says(before: State, told: State) -> None:
    monitor = Monitor(stdlib_random.Random(4).random)
    monitor.configure({B: SessionConfig(A)}, 0.0)
    (session,) = monitor.sessions.values()
    for state in (*WAY[before], told):
        packet = ControlPacket(state, 7, your_discriminator=session.discriminator)
        assert monitor.receive(write_packet(packet), B, TTL, 0.1) is None
    assert session.state is TABLE[before, told]
