"""The machine's table against RFC 4271 s8.2.2, written down a second time as text."""

import pytest

from cairn.bgp.error import FsmError
from cairn.bgp.transitions import PEER_ACTIONS, Action, Event, State, transition

# state: next state <- what is sent: event numbers; "-" sends nothing, "drop" closes.
RFC = """
IDLE:         CONNECT      <- connect:     1 3
IDLE:         ACTIVE       <- -:           4 5
IDLE:         IDLE         <- -:           2 8 9 10 11 12 13 16 17 18 19 20 21 22 23 24
IDLE:         IDLE         <- -:           25 26 27 28 29
CONNECT:      CONNECT      <- -:           1 3 4 5
CONNECT:      CONNECT      <- connect:     9
CONNECT:      OPEN_SENT    <- open:        16 17
CONNECT:      IDLE         <- drop:        2 8 10 11 12 13 18 19 20 21 22 23 24 25 26 27 28 29
ACTIVE:       ACTIVE       <- -:           1 3 4 5
ACTIVE:       CONNECT      <- connect:     9
ACTIVE:       OPEN_SENT    <- open:        16 17
ACTIVE:       IDLE         <- drop:        2 8 10 11 12 13 18 19 20 21 22 23 24 25 26 27 28 29
OPEN_SENT:    OPEN_SENT    <- -:           1 3 4 5 16 17
OPEN_SENT:    IDLE         <- cease:       2 8 23
OPEN_SENT:    IDLE         <- hold:        10
OPEN_SENT:    ACTIVE       <- drop:        18
OPEN_SENT:    OPEN_CONFIRM <- keepalive:   19
OPEN_SENT:    IDLE         <- error:       21 22
OPEN_SENT:    IDLE         <- drop:        24 25
OPEN_SENT:    IDLE         <- fsm:         9 11 12 13 20 26 27 28 29
OPEN_CONFIRM: OPEN_CONFIRM <- -:           1 3 4 5 16 17
OPEN_CONFIRM: IDLE         <- cease:       2 8 23
OPEN_CONFIRM: IDLE         <- hold:        10
OPEN_CONFIRM: OPEN_CONFIRM <- keepalive:   11
OPEN_CONFIRM: IDLE         <- drop:        18 24 25
OPEN_CONFIRM: IDLE         <- error:       21 22
OPEN_CONFIRM: ESTABLISHED  <- -:           26
OPEN_CONFIRM: IDLE         <- fsm:         9 12 13 19 20 27 28 29
ESTABLISHED:  ESTABLISHED  <- -:           1 3 4 5 16 17 26 27 29
ESTABLISHED:  IDLE         <- cease:       2 8 23
ESTABLISHED:  IDLE         <- hold:        10
ESTABLISHED:  ESTABLISHED  <- keepalive:   11
ESTABLISHED:  IDLE         <- drop:        18 24 25
ESTABLISHED:  IDLE         <- error:       21 22 28
ESTABLISHED:  IDLE         <- fsm:         9 12 13 19 20
"""
SENDS = {
    "cease": Action.SEND_CEASE,
    "hold": Action.SEND_HOLD_EXPIRED,
    "error": Action.SEND_ERROR,
    "fsm": Action.SEND_FSM_ERROR,
    "open": Action.SEND_OPEN,
    "keepalive": Action.SEND_KEEPALIVE,
}
FINAL = {"cease", "hold", "error", "fsm", "drop"}


def rows() -> list[tuple[State, Event, State, str]]:
    found = []
    for line in RFC.strip().splitlines():
        state, rest, numbers = line.split(":")
        to, what = (part.strip() for part in rest.split("<-"))
        found += [(State[state], Event(int(n)), State[to], what) for n in numbers.split()]
    return found


def test_the_transcription_covers_every_pair_once() -> None:
    pairs = [(state, event) for state, event, _, _ in rows()]
    assert sorted(pairs) == sorted((state, event) for state in State for event in Event)


@pytest.mark.parametrize(("state", "event", "to", "what"), rows())
def test_transition(state: State, event: Event, to: State, what: str) -> None:
    found = transition(state, event)
    assert found.to is to
    sent = [action for action in found.actions if action in SENDS.values()]
    assert sent == ([SENDS[what]] if what in SENDS else [])
    assert (Action.CONNECT in found.actions) == (what == "connect")
    drops = what in FINAL or (state is State.CONNECT and event is Event.CONNECT_RETRY_EXPIRES)
    assert (Action.DROP in found.actions) == drops


def test_unexpected_messages_name_their_state() -> None:
    for state, subcode in [
        (State.OPEN_SENT, FsmError.IN_OPEN_SENT),
        (State.OPEN_CONFIRM, FsmError.IN_OPEN_CONFIRM),
        (State.ESTABLISHED, FsmError.IN_ESTABLISHED),
    ]:
        assert transition(state, Event.OPEN_DELAYED).subcode is subcode


def test_the_peer_owns_retrying_and_nothing_that_is_sent() -> None:
    assert not PEER_ACTIONS & set(SENDS.values())
