"""The arithmetic of rollouts: examples, and that every rollout ends within its limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.lab.controllers.rollout import Limits, Size, limits, next_sizes, replaceable

LIMITS = [
    (4, None, None, Limits(1, 1)),
    (3, "25%", "25%", Limits(1, 0)),
    (10, 0, 3, Limits(0, 3)),
    (1, 0, 0, Limits(0, 1)),
    (10, "30%", "0%", Limits(3, 0)),
    (0, "25%", "25%", Limits(0, 1)),
    (3, "1", "0", Limits(1, 0)),
]


@pytest.mark.parametrize(("desired", "surge", "unavailable", "expected"), LIMITS)
def test_limits(
    desired: int, surge: int | str | None, unavailable: int | str | None, expected: Limits
) -> None:
    assert limits(desired, surge, unavailable) == expected


STEPS = [
    # a fresh deployment goes to its size at once
    (3, Limits(1, 0), (0, 0), [], (3,)),
    # one more first, nothing taken while nothing new is available
    (3, Limits(1, 0), (0, 0), [(3, 3)], (1, 3)),
    (3, Limits(1, 0), (1, 0), [(3, 3)], (1, 3)),
    (3, Limits(1, 0), (1, 1), [(3, 3)], (1, 2)),
    # without surge, one goes first
    (3, Limits(0, 1), (0, 0), [(3, 3)], (0, 2)),
    # broken old pods go at once
    (3, Limits(1, 1), (1, 0), [(3, 0)], (1, 2)),
    # scaled down in the middle
    (1, Limits(1, 0), (2, 2), [(2, 2)], (1, 0)),
]


@pytest.mark.parametrize(("desired", "bounds", "new", "olds", "expected"), STEPS)
def test_steps(
    desired: int,
    bounds: Limits,
    new: tuple[int, int],
    olds: list[tuple[int, int]],
    expected: tuple[int, ...],
) -> None:
    old_sizes = [Size(f"old{i}", *old) for i, old in enumerate(olds)]
    sizes = next_sizes(desired, bounds, Size("new", *new), old_sizes)
    assert tuple(sizes[name] for name in ("new", *(s.name for s in old_sizes))) == expected


@given(
    st.integers(0, 12),
    st.integers(0, 4),
    st.integers(0, 4),
    st.lists(st.integers(0, 6), max_size=3),
    st.integers(0, 12),
    st.data(),
)
def test_a_rollout_ends_and_never_breaks_its_limits(
    desired: int, surge: int, fewer: int, olds: list[int], new: int, data: st.DataObject
) -> None:
    bounds = limits(desired, surge, fewer)
    wanted = {f"old{i}": count for i, count in enumerate(olds)} | {"new": new}
    available = {name: data.draw(st.integers(0, count)) for name, count in wanted.items()}
    for _ in range(200):
        total, up = sum(wanted.values()), sum(available.values())
        old_sizes = [Size(n, wanted[n], available[n]) for n in wanted if n != "new"]
        sizes = next_sizes(desired, bounds, Size("new", wanted["new"], available["new"]), old_sizes)
        assert sum(sizes.values()) <= max(total, desired + bounds.surge)
        kept = sum(min(available[name], sizes[name]) for name in sizes)
        assert kept >= min(up, desired - bounds.unavailable)
        if dict(sizes) == wanted and available == wanted:
            break
        wanted = dict(sizes)
        # Pods that are wanted become available in the end.
        available = {
            name: min(count, max(min(available[name], count), count))
            for name, count in wanted.items()
        }
    assert wanted == {name: desired if name == "new" else 0 for name in wanted}


REPLACEABLE = [
    ({"a": True, "b": True}, 0, 1, ["a"]),
    ({"a": True, "b": True}, 1, 1, []),
    ({"a": False, "b": True}, 1, 1, ["a"]),
    ({"a": True, "b": True, "c": True}, 0, 2, ["a", "b"]),
    ({}, 0, 1, []),
]


@pytest.mark.parametrize(("outdated", "unavailable", "budget", "expected"), REPLACEABLE)
def test_daemon_pods_are_replaced_within_the_budget(
    outdated: dict[str, bool], unavailable: int, budget: int, expected: list[str]
) -> None:
    assert replaceable(outdated, unavailable=unavailable, budget=budget) == expected
