"""One peer over time: connecting, retrying, and choosing among its connections.

    configuration, connections, octets, time  ->  Peer  ->  connections wanted, peer events

The peer itself is in Idle, Connect or Active; each TCP connection has its own Session from there.

Invariants  At most one session is established.
            Retries begin after half a second and double up to the configured time, with jitter.
Standards   RFC 4271 s6.8 (collision), s8, s10; RFC 4724 s5 (a restarted peer's new connection
            wins); RFC 6286 s2.3 (equal identifiers)
Not here    what happens to its routes (cairn.bgp.speaker).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from cairn.bgp.capability.graceful_restart import GracefulRestart
from cairn.bgp.config import Connect, ConnectionId, PeerConfig
from cairn.bgp.error import Cease, ErrorCode
from cairn.bgp.message.notification import Notification
from cairn.bgp.message.open import Open
from cairn.bgp.message.refresh import Refresh
from cairn.bgp.message.update import Update
from cairn.bgp.negotiate import Negotiated, has
from cairn.bgp.offer import Offer, make_open, next_offer
from cairn.bgp.session import JITTER, Asked, Ended, Opened, Session, Up
from cairn.bgp.transitions import Action, Event, State, transition
from cairn.net import Address

WRONG = (ErrorCode.MESSAGE_HEADER, ErrorCode.OPEN_MESSAGE, ErrorCode.FINITE_STATE_MACHINE)
FIRST_RETRY_S = 0.5
COLLISION = Notification(ErrorCode.CEASE, Cease.CONNECTION_COLLISION_RESOLUTION)


@dataclass(frozen=True, slots=True)
class Established:
    """The peer's session is up."""

    connection: ConnectionId
    """On which connection."""
    local: Address
    """Our address there."""
    negotiated: Negotiated
    """What was agreed on."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The session, or an attempt at one, is over."""

    reason: str
    """Why, in a line."""
    was: State
    """How far it had come."""
    graceful: bool
    """The peer may come back and its routes are to be kept (RFC 4724 s4.2)."""


PeerEvent = Established | Lost | Update | Refresh


class Peer:
    """One peer; `next_connection` gives out connection numbers."""

    def __init__(
        self,
        config: PeerConfig,
        name: str,
        remote: Address,
        *,
        router_id: IPv4Address,
        random: Callable[[], float],
        next_connection: Callable[[], ConnectionId],
        restarting: bool = False,
    ) -> None:
        self.config = config
        self.name = name
        self.remote = remote
        self.sessions: dict[ConnectionId, Session] = {}
        self.established: ConnectionId | None = None
        self.last_error = ""
        self.retries = 0
        self.messages_before = (0, 0)
        self._router_id = router_id
        self._random = random
        self._next_connection = next_connection
        self._restarting = restarting
        self._locals: dict[ConnectionId, Address] = {}
        self._base = State.IDLE
        self._dialling: ConnectionId | None = None
        self._retry_at: float | None = None
        self._idle_until: float | None = None
        self._failures = 0
        self._offer = Offer.EVERYTHING
        self._wanted: list[Connect] = []
        self._dropped: list[ConnectionId] = []
        self._events: list[PeerEvent] = []

    # -- what others see --------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The furthest state among the peer and its connections."""
        return max([self._base, *(one.state for one in self.sessions.values())])

    @property
    def session(self) -> Session | None:
        """The established session."""
        return self.sessions[self.established] if self.established is not None else None

    @property
    def messages(self) -> tuple[int, int]:
        """Messages received and sent, over all connections so far."""
        into, out = self.messages_before
        into += sum(one.messages_in for one in self.sessions.values())
        return into, out + sum(one.messages_out for one in self.sessions.values())

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called at the latest."""
        times = [self._retry_at, self._idle_until]
        times += [one.deadline for one in self.sessions.values()]
        return min((at for at in times if at is not None), default=None)

    def wanted(self) -> Sequence[Connect]:
        """Return the connections to open, and forget them."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def dropped(self) -> Sequence[ConnectionId]:
        """Return the connections to close once their output is sent, and forget them."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def events(self) -> Sequence[PeerEvent]:
        """Return what happened since the last call and forget it."""
        events, self._events = self._events, []
        return events

    # -- what the outside does --------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin: dial, or listen if the peer is passive."""
        passive = self.config.passive or self.config.is_dynamic
        self._step(Event.AUTOMATIC_START_PASSIVE if passive else Event.AUTOMATIC_START, now)

    def stop(self, why: Notification, now: float, *, idle_s: float | None = None) -> None:
        """End all sessions; start again after `idle_s`, or never."""
        self._idle_until = now + idle_s if idle_s is not None else None
        self._base, self._retry_at = State.IDLE, None
        self._cancel_dial()
        for connection in list(self.sessions):
            self.sessions[connection].cease(why, now)
            self._pull(connection, now)
        self._base, self._retry_at = State.IDLE, None

    @property
    def resting(self) -> bool:
        """Return whether it was sent away for a while."""
        return self._idle_until is not None

    def refuses(self) -> str:
        """Return why a connection from the peer is refused now; empty if it is not."""
        if self._base is State.IDLE:
            return f"{self.name} is idle" + (f": {self.last_error}" if self.last_error else "")
        return ""

    def connected(self, connection: ConnectionId, local: Address, now: float) -> Session | None:
        """Take a connection that we asked for; None if it is no longer wanted."""
        if connection != self._dialling:
            self._dropped.append(connection)
            return None
        self._dialling = None
        self._base, self._retry_at = State.ACTIVE, None
        return self._open(connection, local, now, dialled=True)

    def accepted(self, connection: ConnectionId, local: Address, now: float) -> Session:
        """Take a connection that the peer opened."""
        return self._open(connection, local, now, dialled=False)

    def connect_failed(self, connection: ConnectionId, reason: str, now: float) -> None:
        """Take note that a connection could not be opened."""
        if connection != self._dialling:
            return
        self._dialling = None
        self._step(Event.TCP_FAILS, now)
        self._again(reason, State.CONNECT, now)

    def closed(self, connection: ConnectionId, reason: str, now: float) -> None:
        """Take note that a connection is gone."""
        if connection == self._dialling:
            self.connect_failed(connection, reason, now)
        elif connection in self.sessions:
            self.sessions[connection].closed(reason, now)
            self._pull(connection, now)

    def receive(self, connection: ConnectionId, data: bytes, now: float) -> None:
        """Take octets that arrived."""
        self.sessions[connection].receive(data, now)
        self._pull(connection, now)

    def expire(self, now: float) -> None:
        """Fire the timers whose time has come."""
        if self._idle_until is not None and now >= self._idle_until:
            self._idle_until = None
            self.start(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._step(Event.CONNECT_RETRY_EXPIRES, now)
        for connection in list(self.sessions):
            self.sessions[connection].expire(now)
            self._pull(connection, now)

    # -- connections ------------------------------------------------------------------------

    def _open(
        self, connection: ConnectionId, local: Address, now: float, *, dialled: bool
    ) -> Session:
        session = Session(
            announced=self._announced(),
            accepts_asn=self.config.accepts_asn,
            random=self._random,
            keepalive_s=self.config.keepalive_s,
            dialled=dialled,
            now=now,
        )
        self.sessions[connection] = session
        self._locals[connection] = local
        self._pull(connection, now)
        return session

    def _announced(self) -> Open:
        return make_open(
            self.config, self.remote, self._router_id, self._offer, restarting=self._restarting
        )

    def _pull(self, connection: ConnectionId, now: float) -> None:
        session = self.sessions.get(connection)
        while session is not None and (events := session.events()):
            for event in events:
                match event:
                    case Opened(received):
                        self._resolve(connection, received, now)
                        session.confirm(now)
                    case Up(negotiated):
                        self._up(connection, negotiated)
                    case Asked(action):
                        self._do(action, now)
                    case Ended():
                        self._ended(connection, event, now)
                    case Update() | Refresh():
                        self._events.append(event)

    def _up(self, connection: ConnectionId, negotiated: Negotiated) -> None:
        self.established = connection
        self._failures = 0
        self._restarting = False
        self._retry_at = None
        self._cancel_dial()
        self._base = State.ACTIVE
        self._events.append(Established(connection, self._locals[connection], negotiated))

    def _ended(self, connection: ConnectionId, ended: Ended, now: float) -> None:
        session = self.sessions.pop(connection)
        self._locals.pop(connection)
        self._dropped.append(connection)
        self._offer = next_offer(self._offer, ended.received)
        into, out = self.messages_before
        self.messages_before = (into + session.messages_in, out + session.messages_out)
        if connection == self.established:
            self.established = None
            kept = session.negotiated is not None and session.negotiated.graceful_restart
            graceful = bool(kept) and not ended.notified
            self.last_error = ended.reason
            self._events.append(Lost(ended.reason, ended.was, graceful))
            if not self.sessions and self._dialling is None and self._idle_until is None:
                self._rest(now)
        elif not self.sessions and self._dialling is None and self._idle_until is None:
            collided = COLLISION in (ended.sent, ended.received)
            self._again(ended.reason, ended.was, now, quiet=collided)
        elif self.established is not None and ended.sent and ended.sent.code in WRONG:
            self._events.append(Lost(f"2nd connection: {ended.reason}", ended.was, graceful=False))

    def _resolve(self, connection: ConnectionId, received: Open, now: float) -> None:
        """Keep one of several connections to the peer (RFC 4271 s6.8).

        Connections in OpenSent are examined too, as the OPEN told us the identifier: otherwise one
        side may be Established on the connection that the other has just given up, and both end.
        For the same reason we stop dialling.
        """
        self._cancel_dial()
        session = self.sessions[connection]
        for other_id, other in list(self.sessions.items()):
            if other_id == connection or other.state < State.OPEN_SENT:
                continue
            if other.state is State.ESTABLISHED:
                if self._restarted(other, received):
                    other.closed("the peer restarted and opened a new connection", now)
                    self._pull(other_id, now)
                    continue
                loser_id = connection
            elif other.dialled == session.dialled:
                loser_id = other_id  # the peer gave up the older one
            else:
                ours_wins = self._outranks(received)
                loser_id = connection if session.dialled != ours_wins else other_id
            self.sessions[loser_id].cease(COLLISION, now)
            if loser_id == connection:
                return
            self._pull(other_id, now)

    def _restarted(self, old: Session, received: Open) -> bool:
        kept = old.negotiated is not None and old.negotiated.graceful_restart is not None
        return kept and has(received.capabilities, GracefulRestart) is not None

    def _outranks(self, received: Open) -> bool:
        ours = (int(self._router_id), self.config.local_asn)
        return ours > (int(received.router_id), received.asn)

    # -- the peer's own machine -------------------------------------------------------------

    def _again(self, reason: str, was: State, now: float, *, quiet: bool = False) -> None:
        self._failures += 1
        if not quiet:
            if reason != self.last_error:
                self._events.append(Lost(reason, was, graceful=False))
            self.last_error = reason
        self._rest(now)

    def _rest(self, now: float) -> None:
        # From Idle at once to Active: in Idle the peer's own attempts would be refused.
        self._base = State.IDLE
        self._step(Event.AUTOMATIC_START_PASSIVE, now)

    def _step(self, event: Event, now: float) -> None:
        step = transition(self._base, event)
        self._base = step.to
        for action in step.actions:
            self._do(action, now)

    def _do(self, action: Action, now: float) -> None:
        match action:
            case Action.CONNECT:
                self._dial()
            case Action.DROP:
                self._cancel_dial()
            case Action.START_CONNECT_RETRY:
                self._retry_at = self._retry_time(now)
            case Action.STOP_CONNECT_RETRY:
                self._retry_at = None
            case Action.COUNT_RETRY:
                self.retries += 1
            case Action.CLEAR_RETRIES:
                self.retries = 0
            case _:
                raise AssertionError(f"{action} is no action of a peer")

    def _retry_time(self, now: float) -> float | None:
        if self.config.passive or self.config.is_dynamic:
            return None
        longest_s = float(self.config.connect_retry_s)
        if self._base is State.ACTIVE:
            longest_s = min(longest_s, FIRST_RETRY_S * 2 ** min(self._failures, 16))
        return now + longest_s * (1 - JITTER * self._random())

    def _dial(self) -> None:
        self._dialling = self._next_connection()
        config = self.config
        self._wanted.append(
            Connect(
                connection=self._dialling,
                peer=self.name,
                remote=self.remote,
                port=config.port,
                local=config.local,
                password=config.password,
                ttl=config.multihop_ttl,
            )
        )

    def _cancel_dial(self) -> None:
        if self._dialling is None:
            return
        asked = [one for one in self._wanted if one.connection == self._dialling]
        if asked:
            self._wanted.remove(asked[0])
        else:
            self._dropped.append(self._dialling)
        self._dialling = None
