"""How often the ring is emptied: as the rate of events has it, within bounds."""

import pytest

from cairn.agent.flows import AT_ONCE, PAUSE_S, SHORTEST_S, next_pause_s

RING = (1 << 22) // 136
"""Events that the ring has room for."""


@pytest.mark.parametrize("rate", [0, 100, 30_000, 100_000, 150_000])
def test_the_ring_stays_mostly_empty(rate: int) -> None:
    pause_s = PAUSE_S
    for _ in range(5):
        pause_s = next_pause_s(pause_s, int(rate * pause_s))
        assert SHORTEST_S <= pause_s <= PAUSE_S
    assert rate * pause_s < RING / 7


def test_a_pause_is_long_again_when_little_comes() -> None:
    pause_s = next_pause_s(PAUSE_S, 10 * AT_ONCE)
    assert pause_s == SHORTEST_S
    assert next_pause_s(pause_s, 10) == PAUSE_S
