"""Connections as rows: both sides made one, filtered, the most recent first."""

import numpy as np
import pytest
from connections import CLIENT, NOW_NS, POD, VIP, Flow

from cairn.abi.records import CONNECTION, TUPLE
from cairn.abi.structs import State
from cairn.net import Protocol, parse_address
from cairn.observe.connection_rows import ConnectionRow, Filter
from cairn.observe.connection_view import collect

SIX = parse_address("2001:db8::7")


def rows(
    *flows: Flow, wanted: Filter | None = None, limit: int | None = None
) -> tuple[list[ConnectionRow], int]:
    batches = [
        (np.frombuffer(key, TUPLE), np.frombuffer(value, CONNECTION))
        for flow in flows
        for key, value in flow.entries().items()
    ]
    return collect(batches, NOW_NS, wanted or Filter()).rows(limit)


def test_two_entries_make_a_row() -> None:
    (row,), total = rows(Flow(4711, silent_s=20, reverse_silent_s=5, age_s=90))
    assert total == 1
    assert (row.client, row.frontend, row.backend) == (
        "203.0.113.7:4711", "192.0.2.100:80", "10.244.1.5:8080",
    )  # fmt: skip
    assert (row.protocol, row.state, row.handed_over) == ("TCP", "established", False)
    assert (row.age_s, row.idle_s) == (90, 5)
    assert (row.packets, row.octets, row.answer_packets, row.answer_octets) == (3, 300, 3, 300)


def test_one_that_is_handed_over_has_no_answers() -> None:
    (row,), _ = rows(Flow(1, client=SIX, forward=State.CLOSING, reverse=None))
    assert (row.client, row.state, row.handed_over) == ("[2001:db8::7]:1", "closing", True)
    assert row.answer_packets == 0


def test_datagrams_are_answered_or_not() -> None:
    (row,), _ = rows(Flow(1, Protocol.UDP))
    assert (row.protocol, row.state) == ("UDP", "unanswered")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), {1, 2}),
        (Filter(vip=VIP), {1, 2}),
        (Filter(client=CLIENT), {1}),
        (Filter(client=SIX, backend=POD), {2}),
        (Filter(backend=VIP), set()),
        (Filter(vip=POD), set()),
        (Filter(client=VIP), set()),
    ],
)
def test_filters(wanted: Filter, found: set[int]) -> None:
    shown, total = rows(Flow(1), Flow(2, client=SIX), wanted=wanted)
    assert {int(row.client.rpartition(":")[2]) for row in shown} == found
    assert total == len(found)


def test_the_most_recent_first() -> None:
    flows = [Flow(port, silent_s=100 - port) for port in range(1, 20)]
    shown, total = rows(*flows, limit=3)
    assert [row.idle_s for row in shown] == [81, 82, 83]
    assert total == 19
