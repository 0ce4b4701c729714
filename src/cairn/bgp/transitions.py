"""The finite state machine of RFC 4271 as data.

    (State, Event)  ->  Transition(next state, actions, error subcode)

A pair that is not in the table falls under its state's "any other event" rule.

Invariants  Every state has such a rule, so every pair has a transition.
Standards   RFC 4271 s8.2.2; RFC 6608 (subcodes for unexpected messages); RFC 2918 (refresh,
            our event 29). Where we differ: a NOTIFICATION in OpenSent closes without an answer,
            as it does in OpenConfirm, because its sender has closed already; a header or OPEN
            error in Established is answered with its own code (s6.1) instead of an FSM error; a
            second OPEN on one connection is an unexpected message, as collisions arrive as event
            23 from cairn.bgp.peer.
Not here    DelayOpen and damping timers, which we do not run: their events fall under the rules.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from cairn.bgp.error import FsmError


class State(IntEnum):
    """The states of RFC 4271 s8.2.2."""

    IDLE = 1
    CONNECT = 2
    ACTIVE = 3
    OPEN_SENT = 4
    OPEN_CONFIRM = 5
    ESTABLISHED = 6

    def __str__(self) -> str:
        return self.name.title().replace("_", "")


class Event(IntEnum):
    """The events of RFC 4271 s8.1, by their numbers there."""

    MANUAL_START = 1
    MANUAL_STOP = 2
    AUTOMATIC_START = 3
    MANUAL_START_PASSIVE = 4
    AUTOMATIC_START_PASSIVE = 5
    AUTOMATIC_STOP = 8
    CONNECT_RETRY_EXPIRES = 9
    HOLD_EXPIRES = 10
    KEEPALIVE_EXPIRES = 11
    DELAY_OPEN_EXPIRES = 12
    IDLE_HOLD_EXPIRES = 13
    TCP_ACKED = 16
    TCP_CONFIRMED = 17
    TCP_FAILS = 18
    OPEN = 19
    OPEN_DELAYED = 20
    HEADER_ERROR = 21
    OPEN_ERROR = 22
    COLLISION_DUMP = 23
    NOTIFICATION_VERSION = 24
    NOTIFICATION = 25
    KEEPALIVE = 26
    UPDATE = 27
    UPDATE_ERROR = 28
    REFRESH = 29


class Action(Enum):
    """What a transition does besides changing the state."""

    CONNECT = auto()
    START_CONNECT_RETRY = auto()
    STOP_CONNECT_RETRY = auto()
    CLEAR_RETRIES = auto()
    COUNT_RETRY = auto()
    SEND_OPEN = auto()
    SEND_KEEPALIVE = auto()
    SEND_ERROR = auto()
    """The NOTIFICATION that the event carries."""
    SEND_CEASE = auto()
    """The Cease that the event carries."""
    SEND_HOLD_EXPIRED = auto()
    SEND_FSM_ERROR = auto()
    START_LARGE_HOLD = auto()
    START_HOLD = auto()
    START_KEEPALIVE = auto()
    PROCESS_UPDATE = auto()
    PROCESS_REFRESH = auto()
    DROP = auto()
    """Close the connection and release what it held."""


PEER_ACTIONS = frozenset(
    {
        Action.CONNECT,
        Action.START_CONNECT_RETRY,
        Action.STOP_CONNECT_RETRY,
        Action.CLEAR_RETRIES,
        Action.COUNT_RETRY,
    }
)
"""Actions that concern the peer, not one connection of it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What an event leads to."""

    to: State
    """The next state."""
    actions: tuple[Action, ...] = ()
    """What is done, in order."""
    subcode: FsmError | None = None
    """Subcode for SEND_FSM_ERROR."""


A = Action
_FAIL = (A.STOP_CONNECT_RETRY, A.DROP, A.COUNT_RETRY)
_STOP = (A.STOP_CONNECT_RETRY, A.DROP, A.CLEAR_RETRIES)
_START = (A.CLEAR_RETRIES, A.START_CONNECT_RETRY)
_IDLE_ON_FAIL = Transition(State.IDLE, _FAIL)
_CEASE_AND_STOP = Transition(State.IDLE, (A.SEND_CEASE, *_STOP))
_CEASE_AND_FAIL = Transition(State.IDLE, (A.SEND_CEASE, *_FAIL))
_ERROR_AND_FAIL = Transition(State.IDLE, (A.SEND_ERROR, *_FAIL))
_HOLD_EXPIRED = Transition(State.IDLE, (A.SEND_HOLD_EXPIRED, *_FAIL))
_VERSION = Transition(State.IDLE, (A.STOP_CONNECT_RETRY, A.DROP))
_OPENED = Transition(State.OPEN_SENT, (A.STOP_CONNECT_RETRY, A.SEND_OPEN, A.START_LARGE_HOLD))

STARTS = (
    Event.MANUAL_START,
    Event.AUTOMATIC_START,
    Event.MANUAL_START_PASSIVE,
    Event.AUTOMATIC_START_PASSIVE,
)


def _ignore(state: State, *events: Event) -> dict[tuple[State, Event], Transition]:
    return {(state, event): Transition(state) for event in events}


TRANSITIONS: dict[tuple[State, Event], Transition] = {
    # Idle: only a start leaves it.
    (State.IDLE, Event.MANUAL_START): Transition(State.CONNECT, (*_START, A.CONNECT)),
    (State.IDLE, Event.AUTOMATIC_START): Transition(State.CONNECT, (*_START, A.CONNECT)),
    (State.IDLE, Event.MANUAL_START_PASSIVE): Transition(State.ACTIVE, _START),
    (State.IDLE, Event.AUTOMATIC_START_PASSIVE): Transition(State.ACTIVE, _START),
    # Connect: our connection is on its way.
    **_ignore(State.CONNECT, *STARTS),
    (State.CONNECT, Event.MANUAL_STOP): Transition(State.IDLE, _STOP),
    (State.CONNECT, Event.CONNECT_RETRY_EXPIRES): Transition(
        State.CONNECT, (A.DROP, A.START_CONNECT_RETRY, A.CONNECT)
    ),
    (State.CONNECT, Event.TCP_ACKED): _OPENED,
    (State.CONNECT, Event.TCP_CONFIRMED): _OPENED,
    (State.CONNECT, Event.TCP_FAILS): Transition(State.IDLE, (A.STOP_CONNECT_RETRY, A.DROP)),
    # Active: we listen, and dial when the retry timer expires.
    **_ignore(State.ACTIVE, *STARTS),
    (State.ACTIVE, Event.MANUAL_STOP): Transition(State.IDLE, _STOP),
    (State.ACTIVE, Event.CONNECT_RETRY_EXPIRES): Transition(
        State.CONNECT, (A.START_CONNECT_RETRY, A.CONNECT)
    ),
    (State.ACTIVE, Event.TCP_ACKED): _OPENED,
    (State.ACTIVE, Event.TCP_CONFIRMED): _OPENED,
    (State.ACTIVE, Event.TCP_FAILS): Transition(
        State.IDLE, (A.START_CONNECT_RETRY, A.DROP, A.COUNT_RETRY)
    ),
    # OpenSent: our OPEN is out.
    **_ignore(State.OPEN_SENT, *STARTS, Event.TCP_ACKED, Event.TCP_CONFIRMED),
    (State.OPEN_SENT, Event.MANUAL_STOP): _CEASE_AND_STOP,
    (State.OPEN_SENT, Event.AUTOMATIC_STOP): _CEASE_AND_FAIL,
    (State.OPEN_SENT, Event.HOLD_EXPIRES): _HOLD_EXPIRED,
    (State.OPEN_SENT, Event.TCP_FAILS): Transition(State.ACTIVE, (A.START_CONNECT_RETRY, A.DROP)),
    (State.OPEN_SENT, Event.OPEN): Transition(
        State.OPEN_CONFIRM,
        (A.STOP_CONNECT_RETRY, A.SEND_KEEPALIVE, A.START_KEEPALIVE, A.START_HOLD),
    ),
    (State.OPEN_SENT, Event.HEADER_ERROR): _ERROR_AND_FAIL,
    (State.OPEN_SENT, Event.OPEN_ERROR): _ERROR_AND_FAIL,
    (State.OPEN_SENT, Event.COLLISION_DUMP): _CEASE_AND_FAIL,
    (State.OPEN_SENT, Event.NOTIFICATION_VERSION): _VERSION,
    (State.OPEN_SENT, Event.NOTIFICATION): _IDLE_ON_FAIL,
    # OpenConfirm: both OPENs are fine; a KEEPALIVE is missing.
    **_ignore(State.OPEN_CONFIRM, *STARTS, Event.TCP_ACKED, Event.TCP_CONFIRMED),
    (State.OPEN_CONFIRM, Event.MANUAL_STOP): _CEASE_AND_STOP,
    (State.OPEN_CONFIRM, Event.AUTOMATIC_STOP): _CEASE_AND_FAIL,
    (State.OPEN_CONFIRM, Event.HOLD_EXPIRES): _HOLD_EXPIRED,
    (State.OPEN_CONFIRM, Event.KEEPALIVE_EXPIRES): Transition(
        State.OPEN_CONFIRM, (A.SEND_KEEPALIVE, A.START_KEEPALIVE)
    ),
    (State.OPEN_CONFIRM, Event.TCP_FAILS): _IDLE_ON_FAIL,
    (State.OPEN_CONFIRM, Event.HEADER_ERROR): _ERROR_AND_FAIL,
    (State.OPEN_CONFIRM, Event.OPEN_ERROR): _ERROR_AND_FAIL,
    (State.OPEN_CONFIRM, Event.COLLISION_DUMP): _CEASE_AND_FAIL,
    (State.OPEN_CONFIRM, Event.NOTIFICATION_VERSION): _VERSION,
    (State.OPEN_CONFIRM, Event.NOTIFICATION): _IDLE_ON_FAIL,
    (State.OPEN_CONFIRM, Event.KEEPALIVE): Transition(State.ESTABLISHED, (A.START_HOLD,)),
    # Established: routes flow.
    **_ignore(State.ESTABLISHED, *STARTS, Event.TCP_ACKED, Event.TCP_CONFIRMED),
    (State.ESTABLISHED, Event.MANUAL_STOP): _CEASE_AND_STOP,
    (State.ESTABLISHED, Event.AUTOMATIC_STOP): _CEASE_AND_FAIL,
    (State.ESTABLISHED, Event.HOLD_EXPIRES): _HOLD_EXPIRED,
    (State.ESTABLISHED, Event.KEEPALIVE_EXPIRES): Transition(
        State.ESTABLISHED, (A.SEND_KEEPALIVE, A.START_KEEPALIVE)
    ),
    (State.ESTABLISHED, Event.TCP_FAILS): _IDLE_ON_FAIL,
    (State.ESTABLISHED, Event.HEADER_ERROR): _ERROR_AND_FAIL,
    (State.ESTABLISHED, Event.OPEN_ERROR): _ERROR_AND_FAIL,
    (State.ESTABLISHED, Event.COLLISION_DUMP): _CEASE_AND_FAIL,
    (State.ESTABLISHED, Event.NOTIFICATION_VERSION): _IDLE_ON_FAIL,
    (State.ESTABLISHED, Event.NOTIFICATION): _IDLE_ON_FAIL,
    (State.ESTABLISHED, Event.KEEPALIVE): Transition(State.ESTABLISHED, (A.START_HOLD,)),
    (State.ESTABLISHED, Event.UPDATE): Transition(
        State.ESTABLISHED, (A.START_HOLD, A.PROCESS_UPDATE)
    ),
    (State.ESTABLISHED, Event.UPDATE_ERROR): _ERROR_AND_FAIL,
    (State.ESTABLISHED, Event.REFRESH): Transition(State.ESTABLISHED, (A.PROCESS_REFRESH,)),
}

OTHERWISE: dict[State, Transition] = {
    State.IDLE: Transition(State.IDLE),
    State.CONNECT: _IDLE_ON_FAIL,
    State.ACTIVE: _IDLE_ON_FAIL,
    State.OPEN_SENT: Transition(State.IDLE, (A.SEND_FSM_ERROR, *_FAIL), FsmError.IN_OPEN_SENT),
    State.OPEN_CONFIRM: Transition(
        State.IDLE, (A.SEND_FSM_ERROR, *_FAIL), FsmError.IN_OPEN_CONFIRM
    ),
    State.ESTABLISHED: Transition(State.IDLE, (A.SEND_FSM_ERROR, *_FAIL), FsmError.IN_ESTABLISHED),
}


def transition(state: State, event: Event) -> Transition:
    """Return what `event` leads to in `state`."""
    return TRANSITIONS.get((state, event), OTHERWISE[state])
