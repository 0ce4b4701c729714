"""The ring of flows against a list; dictionaries that stay bounded; another's keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.flow.address import Records
from cairn.flow.columns import FLOW, Batch, Dictionaries, End, TlsDetail
from cairn.flow.renumbering import Numberings, Renumbering
from cairn.flow.store import FlowStore
from cairn.flow.view import rows


def flows(*times: int) -> Records:
    records: Records = np.zeros(len(times), FLOW)
    records["time_ns"] = times
    return records


def times_of(arrays: list[Records]) -> list[int]:
    return [time for array in arrays for time in array["time_ns"].tolist()]


def every(records: Records) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.ones(len(records), np.bool_)


@given(st.integers(1, 20), st.lists(st.integers(0, 30), max_size=12), st.integers(0, 200))
def test_the_ring_holds_the_end_of_the_list(capacity: int, sizes: list[int], asked: int) -> None:
    store, model = FlowStore(capacity), list[int]()
    for size in sizes:
        batch = list(range(len(model), len(model) + size))
        model += batch
        store.append(Batch(flows(*batch), Dictionaries()))
    assert times_of(store.records) == model[-capacity:]
    assert store.seen == store.next_sequence == len(model)
    arrays, missed = store.since(asked)
    first = max(0, len(model) - capacity)
    assert times_of(arrays) == model[max(first, asked) :]
    assert missed == max(0, first - asked)


@given(
    st.integers(1, 9000),
    st.lists(st.lists(st.integers(1, 1000), max_size=40), max_size=8),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 5),
)
def test_find_is_what_a_loop_finds(
    capacity: int, batches: list[list[int]], since: int, until: int, most: int
) -> None:
    store, model = FlowStore(capacity), list[int]()
    for batch in batches:
        model += batch
        store.append(Batch(flows(*batch), Dictionaries()))
    kept = [time for time in model[-capacity:] if since <= time <= until]
    found = store.find(every, since_ns=since, until_ns=until)
    assert found.records["time_ns"].tolist() == kept
    last = store.find(every, since_ns=since, until_ns=until, last=most)
    assert last.records["time_ns"].tolist() == (kept[-most:] if most else kept)
    first = store.find(every, since_ns=since, until_ns=until, first=most)
    assert first.records["time_ns"].tolist() == (kept[:most] if most else kept)


def test_a_slow_reader_is_told_what_it_missed() -> None:
    store = FlowStore(10)
    store.append(Batch(flows(*range(7)), Dictionaries()))
    at = store.next_sequence
    store.append(Batch(flows(*range(7, 32)), Dictionaries()))
    arrays, missed = store.since(at)
    assert missed == 15
    assert times_of(arrays) == list(range(22, 32))


def test_dictionaries_stay_bounded_and_whole() -> None:
    store, numberings = FlowStore(500), Numberings(limit=300)
    for number in range(20_000):
        records = flows(number)
        records["source_end"] = numberings.ends.key(End(pod=f"pod-{number}"))
        records["detail"] = numberings.detail(TlsDetail(f"{number}.test"))
        store.append(Batch(records, *numberings.take()))
    assert len(store.dictionaries.ends) < 4000
    assert len(store.dictionaries.details) < 4000
    for array in store.records:
        for row in rows(array, store.dictionaries):
            assert row.source.pod == f"pod-{row.time_ns}"
            assert row.detail == TlsDetail(f"{row.time_ns}.test")


@pytest.mark.parametrize("limit", [3, 100_000])
def test_batches_of_two_nodes_keep_their_names(limit: int) -> None:
    ours, store = Numberings(limit), FlowStore(10_000)
    nodes = {name: (Numberings(limit=40), Renumbering(ours)) for name in ("node-1", "node-2")}
    for number in range(300):
        for name, (theirs, renumbering) in nodes.items():
            records = flows(number)
            records["node"] = theirs.nodes.key(name)
            records["source_end"] = theirs.ends.key(End(pod=f"{name}-{number % 70}"))
            records["detail"] = theirs.detail(TlsDetail(f"{number}.{name}"))
            store.append(renumbering.batch(Batch(records, *theirs.take())))
    told = [row for array in store.records for row in rows(array, store.dictionaries)]
    assert len(told) == 600
    for row in told:
        assert row.source.pod == f"{row.node}-{row.time_ns % 70}"
        assert row.detail == TlsDetail(f"{row.time_ns}.{row.node}")
