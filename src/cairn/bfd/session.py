"""One BFD session: its state, its timers, what it sends.

    ControlPacket, now  ->  Session  ->  octets, changes of state, deadline

Units       times in seconds, intervals in microseconds where a name says so
Invariants  Sends no more often than once a second while it is not Up (RFC 5880 s6.8.3), but for
            the one packet that tells a change of state (s6.8.7).
            An interval that becomes longer counts once the other side has confirmed it (s6.8.3).
Standards   RFC 5880 s6.2 (states), s6.5 (polls), s6.8.2 to s6.8.7 (timers, reception, sending)
Not here    Which packet belongs to which session (monitor.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from cairn.bfd.packet import ControlPacket, Diagnostic, State, write_packet
from cairn.net import Address

US_PER_S = 1_000_000
SLOW_US = 1_000_000
"""The shortest interval of a session that is not Up (RFC 5880 s6.8.3)."""
JITTER = 0.25
"""Each interval is shortened by up to this share, so that senders do not fall in step (s6.8.7)."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One session as it should be."""

    local: Address
    """Our address on the link."""
    interval_us: int = 200_000
    """Interval at which we would like to send, and can receive."""
    multiplier: int = 3
    """How many of our packets may be missing before the other side gives us up."""


@dataclass(frozen=True, slots=True)
class Change:
    """A session went from one state to another."""

    remote: Address
    """The neighbour."""
    was: State
    """State before."""
    state: State
    """State now."""
    diagnostic: Diagnostic
    """Why, as we found it."""
    remote_state: State
    """State that the neighbour last told: AdminDown means that it left on purpose."""


class _Peer:
    """What the neighbour told last."""

    def __init__(self) -> None:
        self.state = State.DOWN
        self.discriminator = 0
        self.min_rx_us = 1
        self.desired_min_tx_us = 0
        self.multiplier = 0
        self.demand = False


class Session:
    """One neighbour."""

    def __init__(
        self,
        remote: Address,
        config: SessionConfig,
        *,
        discriminator: int,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self.remote = remote
        self.config = config
        self.discriminator = discriminator
        self.state = State.DOWN
        self.was_up = False
        self.diagnostic = Diagnostic.NONE
        self._random = random
        self._peer = _Peer()
        self._polling = False
        self._confirmed = SLOW_US, config.interval_us
        self._last_sent = now - SLOW_US / US_PER_S
        self._gap = self._random()
        self._expires: float | None = None
        self._out: list[bytes] = []
        self._changes: list[Change] = []

    @property
    def remote_state(self) -> State:
        """The state that the neighbour last told."""
        return self._peer.state

    @property
    def detection_time_s(self) -> float:
        """How long the neighbour may be silent; 0 before it was heard (s6.8.4)."""
        _, receive_us = self._in_force()
        peer = self._peer
        return peer.multiplier * max(receive_us, peer.desired_min_tx_us) / US_PER_S

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        times = [time for time in (self._next_send(), self._expires) if time is not None]
        return min(times, default=None)

    def configure(self, config: SessionConfig, now: float) -> None:
        """Take other intervals; the neighbour is asked to confirm them."""
        before, self.config = self._wanted(), config
        if before == self._wanted():
            return
        if self.state is State.UP:
            self._begin_poll()
        else:
            self._confirmed = self._wanted()
        self._send(now)

    def receive(self, packet: ControlPacket, now: float) -> None:
        """Take a packet that was found to be for this session (s6.8.6)."""
        peer = self._peer
        peer.discriminator = packet.my_discriminator
        peer.state = packet.state
        peer.demand = packet.demand
        peer.min_rx_us = packet.required_min_rx_us
        peer.desired_min_tx_us = packet.desired_min_tx_us
        peer.multiplier = packet.detect_multiplier
        if self._polling and packet.final:
            self._end_poll()
        if self.state is State.ADMIN_DOWN:
            return
        self._expires = now + self.detection_time_s
        self._follow(packet.state, now)
        if packet.poll:
            self._send(now, final=True)

    def expire(self, now: float) -> None:
        """Take the time: give a silent neighbour up, send what is due."""
        if self._expires is not None and now >= self._expires:
            self._expires = None
            self._peer.discriminator = 0
            if self.state in (State.INIT, State.UP):
                self._turn(State.DOWN, Diagnostic.DETECTION_TIME_EXPIRED, now)
        due = self._next_send()
        if due is not None and now >= due:
            self._send(now)

    def leave(self, now: float) -> None:
        """Tell the neighbour that we go on purpose; it does not count as a failure (s6.8.16)."""
        if self.state is not State.ADMIN_DOWN:
            self._turn(State.ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN, now)

    def output(self) -> list[bytes]:
        """Return the packets to send and forget them."""
        out, self._out = self._out, []
        return out

    def changes(self) -> list[Change]:
        """Return the changes of state and forget them."""
        changes, self._changes = self._changes, []
        return changes

    def _follow(self, told: State, now: float) -> None:
        """Go where the neighbour's state leads (s6.2, s6.8.6)."""
        match self.state, told:
            case (State.INIT | State.UP, State.ADMIN_DOWN) | (State.UP, State.DOWN):
                self._turn(State.DOWN, Diagnostic.NEIGHBOUR_SIGNALED_DOWN, now)
            case State.DOWN, State.DOWN:
                self._turn(State.INIT, self.diagnostic, now)
            case (State.DOWN, State.INIT) | (State.INIT, State.INIT | State.UP):
                self._turn(State.UP, Diagnostic.NONE, now)

    def _turn(self, state: State, diagnostic: Diagnostic, now: float) -> None:
        was, self.state, self.diagnostic = self.state, state, diagnostic
        self._changes.append(Change(self.remote, was, state, diagnostic, self._peer.state))
        if state is State.UP:
            self.was_up = True
            self._begin_poll()  # our interval changes from the slow one
        elif was is State.UP:
            self._polling = False
            self._confirmed = self._wanted()
        self._send(now)

    def _wanted(self) -> tuple[int, int]:
        """Return the intervals that we tell: desired for sending, required for receiving."""
        slow = self.state is not State.UP
        sending = max(SLOW_US, self.config.interval_us) if slow else self.config.interval_us
        return sending, self.config.interval_us

    def _in_force(self) -> tuple[int, int]:
        """Return the intervals that count: sooner sending and later giving up need no consent."""
        sending, receiving = self._wanted()
        if self._polling:
            return min(sending, self._confirmed[0]), max(receiving, self._confirmed[1])
        return sending, receiving

    def _begin_poll(self) -> None:
        if not self._polling:
            self._polling = True
        else:
            # A poll under way carried other values: what counts is the more careful of both.
            self._confirmed = self._in_force()

    def _end_poll(self) -> None:
        self._polling = False
        self._confirmed = self._wanted()

    def _next_send(self) -> float | None:
        peer = self._peer
        if self.state is State.ADMIN_DOWN or peer.min_rx_us == 0:
            return None
        quiet = peer.demand and self.state is State.UP and peer.state is State.UP
        if quiet and not self._polling:
            return None
        sending_us, _ = self._in_force()
        interval_us = max(sending_us, peer.min_rx_us)
        # With a multiplier of 1 the packet must come before 90 % of the interval (s6.8.7).
        least = 0.1 if self.config.multiplier == 1 else 0.0
        share = 1.0 - least - self._gap * (JITTER - least)
        return self._last_sent + share * interval_us / US_PER_S

    def _send(self, now: float, *, final: bool = False) -> None:
        sending_us, receiving_us = self._wanted()
        packet = ControlPacket(
            state=self.state,
            my_discriminator=self.discriminator,
            your_discriminator=self._peer.discriminator,
            diagnostic=self.diagnostic,
            detect_multiplier=self.config.multiplier,
            desired_min_tx_us=sending_us,
            required_min_rx_us=receiving_us,
            poll=self._polling and not final,
            final=final,
        )
        self._out.append(write_packet(packet))
        if not final:
            self._last_sent = now
            self._gap = self._random()
