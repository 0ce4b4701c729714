"""One TCP connection's machine: from OPEN to the last NOTIFICATION.

    octets, time, routes to send  ->  Session  ->  octets, session events, deadline

Invariants  Once `state` is IDLE nothing more is read or queued; what is queued may still be sent.
            Timers are jittered by up to a quarter downwards (RFC 4271 s10).
Standards   RFC 4271 s6, s8, s10; RFC 6608
Not here    retrying and collisions (cairn.bgp.peer); what routes mean (cairn.bgp.rib).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cairn.bgp.error import Cease, ErrorCode, FsmError, OpenError, Violation
from cairn.bgp.framing import Frame, Framer, MessageType, write_frame
from cairn.bgp.message.keepalive import KEEPALIVE
from cairn.bgp.message.notification import (
    Notification,
    read_notification,
    write_notification,
)
from cairn.bgp.message.open import Open, read_open, write_open
from cairn.bgp.message.refresh import Refresh, read_refresh, write_refresh
from cairn.bgp.message.update import Update, read_update
from cairn.bgp.negotiate import Negotiated, negotiate
from cairn.bgp.transitions import PEER_ACTIONS, Action, Event, State, transition

LARGE_HOLD_S = 240.0
"""How long we wait for the peer's OPEN (RFC 4271 s8.2.2)."""
JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer's OPEN came and is acceptable; nothing more is read until `confirm` is called."""

    received: Open
    """It."""


@dataclass(frozen=True, slots=True)
class Up:
    """The session is established."""

    negotiated: Negotiated
    """What was agreed on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over, or is once its output is sent."""

    reason: str
    """What happened, in a line."""
    was: State
    """State before."""
    notified: bool
    """A NOTIFICATION was sent or received: no graceful restart (RFC 4724 s4)."""
    sent: Notification | None = None
    """What we sent."""
    received: Notification | None = None
    """What the peer sent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The machine wants something done that concerns the peer as a whole."""

    action: Action
    """One of PEER_ACTIONS."""


SessionEvent = Opened | Up | Ended | Asked | Update | Refresh


class Session:
    """The machine of one connection; `announced` is our OPEN."""

    def __init__(
        self,
        *,
        announced: Open,
        accepts_asn: Callable[[int], bool],
        random: Callable[[], float],
        keepalive_s: int | None = None,
        dialled: bool,
        now: float,
    ) -> None:
        self.announced = announced
        self.dialled = dialled
        self.state = State.CONNECT if dialled else State.ACTIVE
        self.received: Open | None = None
        self.negotiated: Negotiated | None = None
        self.messages_in = 0
        self.messages_out = 0
        self.queued = 0
        self._accepts_asn = accepts_asn
        self._random = random
        self._keepalive_s = keepalive_s
        self._framer = Framer()
        self._output = bytearray()
        self._events: list[SessionEvent] = []
        self._hold_at: float | None = None
        self._unconfirmed = False
        self._keepalive_at: float | None = None
        self._step(Event.TCP_ACKED if dialled else Event.TCP_CONFIRMED, now)

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called at the latest."""
        times = [at for at in (self._hold_at, self._keepalive_at) if at is not None]
        return min(times, default=None)

    def receive(self, data: bytes, now: float) -> None:
        """Take octets that arrived."""
        self._framer.feed(data)
        self._read(now)

    def confirm(self, now: float) -> None:
        """Go on after Opened: the connection is the one to keep."""
        if self._unconfirmed:
            self._unconfirmed = False
            self._step(Event.OPEN, now)
            self._read(now)

    def _read(self, now: float) -> None:
        while self.state is not State.IDLE and not self._unconfirmed:
            try:
                frame = self._framer.next()
                if frame is None:
                    return
                self.messages_in += 1
                self._take(frame, now)
            except Violation as wrong:
                self._violated(wrong, now)

    def expire(self, now: float) -> None:
        """Fire the timers whose time has come."""
        if self._hold_at is not None and now >= self._hold_at:
            self._step(Event.HOLD_EXPIRES, now)
        elif self._keepalive_at is not None and now >= self._keepalive_at:
            self._step(Event.KEEPALIVE_EXPIRES, now)

    def output(self) -> bytes:
        """Return the octets to send and forget them."""
        octets = bytes(self._output)
        self._output.clear()
        self.queued = 0
        return octets

    def events(self) -> Sequence[SessionEvent]:
        """Return what happened since the last call and forget it."""
        happened, self._events = self._events, []
        return happened

    def send(self, kind: MessageType, body: bytes) -> None:
        """Queue one message."""
        self._queue(write_frame(kind, body))

    def refresh(self, request: Refresh) -> None:
        """Queue a ROUTE-REFRESH."""
        self.send(MessageType.ROUTE_REFRESH, write_refresh(request))

    def closed(self, reason: str, now: float) -> None:
        """Take note that the connection is gone."""
        self._step(Event.TCP_FAILS, now, reason=reason)

    def cease(self, notification: Notification, now: float) -> None:
        """End the session, telling the peer why."""
        collision = notification.subcode == Cease.CONNECTION_COLLISION_RESOLUTION
        event = Event.COLLISION_DUMP if collision else Event.AUTOMATIC_STOP
        self._step(event, now, send=notification)

    # -- messages ---------------------------------------------------------------------------

    def _take(self, frame: Frame, now: float) -> None:
        match frame.type:
            case MessageType.OPEN:
                self._take_open(frame.body, now)
            case MessageType.KEEPALIVE:
                self._step(Event.KEEPALIVE, now)
            case MessageType.NOTIFICATION:
                self._take_notification(read_notification(frame.body), now)
            case MessageType.UPDATE:
                self._take_update(frame.body, now)
            case MessageType.ROUTE_REFRESH:
                self._take_refresh(frame.body, now)

    def _take_open(self, body: bytes, now: float) -> None:
        if self.state is not State.OPEN_SENT:
            self._step(Event.OPEN, now, reason=f"OPEN in {self.state}")
            return
        received = read_open(body)
        if not self._accepts_asn(received.asn):
            raise _open_error(OpenError.BAD_PEER_AS, f"AS {received.asn} is not the configured one")
        internal = received.asn == self.announced.asn
        if internal and received.router_id == self.announced.router_id:
            found = f"identifier {received.router_id} is our own"
            raise _open_error(OpenError.BAD_BGP_IDENTIFIER, found)
        self.received = received
        self.negotiated = negotiate(self.announced, received)
        self._framer.max_bytes = self.negotiated.max_message_bytes
        self._unconfirmed = True
        self._events.append(Opened(received))

    def _take_notification(self, received: Notification, now: float) -> None:
        version = received.code == ErrorCode.OPEN_MESSAGE and (
            received.subcode == OpenError.UNSUPPORTED_VERSION_NUMBER
        )
        event = Event.NOTIFICATION_VERSION if version else Event.NOTIFICATION
        self._step(event, now, received=received)

    def _take_update(self, body: bytes, now: float) -> None:
        if self.state is not State.ESTABLISHED or self.negotiated is None:
            self._step(Event.UPDATE, now, reason=f"UPDATE in {self.state}")
            return
        update = read_update(body, self.negotiated)
        self._step(Event.UPDATE, now)
        self._events.append(update)

    def _take_refresh(self, body: bytes, now: float) -> None:
        if self.state is not State.ESTABLISHED:
            self._step(Event.REFRESH, now, reason=f"ROUTE-REFRESH in {self.state}")
            return
        request = read_refresh(body)
        self._step(Event.REFRESH, now)
        self._events.append(request)

    def _violated(self, wrong: Violation, now: float) -> None:
        event = {
            ErrorCode.OPEN_MESSAGE: Event.OPEN_ERROR,
            ErrorCode.UPDATE_MESSAGE: Event.UPDATE_ERROR,
        }.get(wrong.code, Event.HEADER_ERROR)
        self._step(
            event,
            now,
            send=Notification(wrong.code, wrong.subcode, wrong.data),
            reason=str(wrong),
        )

    # -- the machine ------------------------------------------------------------------------

    def _step(
        self,
        event: Event,
        now: float,
        *,
        send: Notification | None = None,
        received: Notification | None = None,
        reason: str = "",
    ) -> None:
        was = self.state
        if was is State.IDLE:
            return
        step = transition(was, event)
        self.state = step.to
        sent: Notification | None = None
        for action in step.actions:
            sent = self._do(action, now, send, step.subcode) or sent
        if Action.DROP in step.actions:
            self._drop(
                Ended(
                    _why(event, reason, sent, received),
                    was,
                    notified=bool(sent or received),
                    sent=sent,
                    received=received,
                )
            )
        elif step.to is State.ESTABLISHED and was is not State.ESTABLISHED and self.negotiated:
            self._events.append(Up(self.negotiated))

    def _do(
        self, action: Action, now: float, send: Notification | None, subcode: FsmError | None
    ) -> Notification | None:
        match action:
            case Action.SEND_OPEN:
                self.send(MessageType.OPEN, write_open(self.announced))
            case Action.SEND_KEEPALIVE:
                self._queue(KEEPALIVE)
            case Action.SEND_ERROR | Action.SEND_CEASE:
                return self._notify(send or Notification(ErrorCode.CEASE))
            case Action.SEND_HOLD_EXPIRED:
                return self._notify(Notification(ErrorCode.HOLD_TIMER_EXPIRED))
            case Action.SEND_FSM_ERROR:
                code = ErrorCode.FINITE_STATE_MACHINE
                return self._notify(Notification(code, subcode or FsmError.UNSPECIFIC))
            case Action.START_LARGE_HOLD:
                self._hold_at = now + LARGE_HOLD_S
            case Action.START_HOLD:
                hold_s = self.negotiated.hold_time_s if self.negotiated else 0
                self._hold_at = now + hold_s if hold_s else None
            case Action.START_KEEPALIVE:
                self._start_keepalive(now)
            case _ if action in PEER_ACTIONS:
                self._events.append(Asked(action))
            case _:  # DROP and PROCESS_*: done by the caller, who has what they concern
                pass
        return None

    def _start_keepalive(self, now: float) -> None:
        hold_s = self.negotiated.hold_time_s if self.negotiated else 0
        if not hold_s:
            self._keepalive_at = None
            return
        every_s = hold_s / 3
        if self._keepalive_s:
            every_s = min(every_s, self._keepalive_s)
        # RFC 4271 s4.4: no more than one per second.
        every_s = max(1.0, every_s * (1 - JITTER * self._random()))
        self._keepalive_at = now + min(every_s, hold_s / 3)

    def _notify(self, notification: Notification) -> Notification:
        self.send(MessageType.NOTIFICATION, write_notification(notification))
        return notification

    def _drop(self, ended: Ended) -> None:
        self.state = State.IDLE
        self._hold_at = self._keepalive_at = None
        self._events.append(ended)

    def _queue(self, octets: bytes) -> None:
        self._output += octets
        self.messages_out += 1
        self.queued += 1


def _why(
    event: Event, reason: str, sent: Notification | None, received: Notification | None
) -> str:
    if received is not None:
        return f"received NOTIFICATION: {received}"
    if sent is not None:
        return f"sent NOTIFICATION: {sent}" + (f": {reason}" if reason else "")
    return reason or event.name.lower().replace("_", " ")


def _open_error(subcode: OpenError, found: str) -> Violation:
    return Violation(ErrorCode.OPEN_MESSAGE, subcode, found, at=1)
