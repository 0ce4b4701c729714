"""When a map's fill is told of: before it is full, once, and when it is well again."""

import pytest

from cairn.observe.map_fill import CONSEQUENCES, Fill, FillWatch


def told(watch: FillWatch, *entries: int, name: str = "conntrack") -> list[tuple[int, str]]:
    """Return which of these fills (of 100) is told of, and under which reason."""
    found = []
    for number in entries:
        notice = watch.judge(Fill(name, number, 100))
        if notice is not None:
            assert notice.warning is (notice.reason == "MapFilling")
            found.append((number, notice.reason))
    return found


def test_each_mark_is_told_of_once() -> None:
    watch = FillWatch()
    assert told(watch, 0, 74, 75, 80, 74, 76, 89, 90, 95, 100, 89, 91) == [
        (75, "MapFilling"),
        (90, "MapFilling"),
    ]
    assert told(watch, 70, 60) == []
    assert told(watch, 59, 10) == [(59, "MapFillCleared")]
    assert told(watch, 80) == [(80, "MapFilling")]


def test_a_map_that_fills_at_once_is_told_of_once() -> None:
    assert told(FillWatch(), 10, 99, 100) == [(99, "MapFilling")]


def test_maps_are_watched_apart() -> None:
    watch = FillWatch()
    assert told(watch, 80) == [(80, "MapFilling")]
    assert told(watch, 80, name="services") == [(80, "MapFilling")]


def test_a_map_that_forgets_is_never_told_of() -> None:
    watch = FillWatch()
    assert watch.judge(Fill("affinity", 100, 100, evicts=True)) is None


@pytest.mark.parametrize("name", ["conntrack", "services"])
def test_the_message_says_what_and_what_to_do(name: str) -> None:
    notice = FillWatch().judge(Fill(name, 98304, 131072))
    assert notice is not None
    assert f"map {name} holds 98,304 of 131,072 entries (75%)" in notice.message
    assert f"--map-size {name}=262144" in notice.message
    assert CONSEQUENCES.get(name, "the object that does not fit") in notice.message
