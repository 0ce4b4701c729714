"""Tables made together are the tables that each service gets alone."""

import numpy as np
import pytest

from cairn.compile.maglev import SMALL_TABLE_BACKENDS, SMALL_TABLE_SIZE, TABLE_SIZE, maglev_table
from cairn.compile.maglev_bulk import maglev_tables


def names(service: int, count: int) -> list[str]:
    # Not in order: what comes out are positions in this very list.
    return [f"10.{service}.{i * 7 % count}.{i}:8080/TCP" for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 31, SMALL_TABLE_BACKENDS])
def test_each_row_is_the_table_of_its_names(count: int) -> None:
    lists = [names(service, count) for service in range(40)]
    rows = maglev_tables(lists, SMALL_TABLE_SIZE)
    for one, row in zip(lists, rows, strict=True):
        assert row.tolist() == maglev_table(one, SMALL_TABLE_SIZE).tolist()


@pytest.mark.parametrize("count", [33, 100])
def test_so_are_the_large_ones(count: int) -> None:
    lists = [names(service, count) for service in range(3)]
    rows = maglev_tables(lists, TABLE_SIZE)
    for one, row in zip(lists, rows, strict=True):
        assert (row == maglev_table(one)).all()


@pytest.mark.parametrize("count", [1, 2, 10, SMALL_TABLE_BACKENDS])
def test_small_tables_are_even(count: int) -> None:
    slots = np.bincount(maglev_tables([names(1, count)], SMALL_TABLE_SIZE)[0], minlength=count)
    assert slots.sum() == SMALL_TABLE_SIZE
    assert slots.max() - slots.min() <= 1
    assert slots.max() / (SMALL_TABLE_SIZE / count) < 1.01
