"""Maglev tables: even, stable, and the same wherever they are computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cairn.compile.maglev import TABLE_SIZE, maglev_table


def names(count: int) -> list[str]:
    return [f"10.244.{i // 250}.{i % 250}:8080/TCP" for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 1000])
def test_slots_differ_by_at_most_one(count: int) -> None:
    slots = np.bincount(maglev_table(names(count)), minlength=count)
    assert slots.sum() == TABLE_SIZE
    assert slots.max() - slots.min() <= 1


@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_a_lost_backend_moves_few_others(count: int) -> None:
    before, after = maglev_table(names(count)), maglev_table(names(count - 1))
    others = before != count - 1
    assert (before[others] != after[others]).mean() < 0.015


@settings(max_examples=10, deadline=None)
@given(st.permutations(names(6)))
def test_the_order_of_names_does_not_matter(order: list[str]) -> None:
    reference = np.array(names(6))[maglev_table(names(6))]
    assert (np.array(order)[maglev_table(order)] == reference).all()


def test_the_table_never_changes_between_releases() -> None:
    # Nodes of two releases stand side by side during an upgrade: their tables must agree.
    table = maglev_table(names(3))
    assert table[:16].tolist() == GOLDEN


GOLDEN = [1, 2, 1, 0, 2, 1, 2, 2, 0, 1, 0, 0, 0, 1, 1, 2]


def test_no_backend_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        maglev_table([])
