"""What a filter costs over a full ring, and what an event costs on its way into it.

    columns of a node's flows  ->  rows; run by itself, JSON

    python bench/flow_query.py [--flows N]

The filter's baseline is a plain Python loop over a part of the same rows, told as if it were all.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace

import numpy as np
from row import Aim, Row, at_most, compare

from cairn.abi.event import Event
from cairn.abi.records import EVENT
from cairn.flow.columns import FLOW, Batch, Dictionaries, End
from cairn.flow.filter import FlowFilter, compile_filters
from cairn.flow.store import FlowStore
from cairn.flow.view import rows
from cairn.observe.flow_records import FlowRecords, Known

FLOWS = 1_000_000
PODS = 5000
PART = 20_000
WANTED = 100
ROUNDS = 5
QUERY_MS = 50.0
EVENT_US = 1.0


def query(count: int) -> list[Row]:
    """Return what it takes to find WANTED flows among so many."""
    store, records = full_store(count)
    pairs = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        mask = compile_filters([FlowFilter(source_pod=("shop/wanted",))], [], store.dictionaries)
        found = len(store.find(mask).records)
        taken_s = time.perf_counter() - start
        start = time.perf_counter()
        sum(row.source.pod == "wanted" for row in rows(records[:PART], store.dictionaries))
        pairs.append((taken_s * 1e3, (time.perf_counter() - start) * count / PART * 1e3))
        assert found == WANTED
    usual = sorted(taken for taken, _ in pairs)[len(pairs) // 2]
    text = f"{WANTED} of {count:,} flows by the pod's name"
    return [
        compare(text, "ms", pairs, "beside a loop over rows", Aim(0.1)),
        at_most("the same", usual, "ms", QUERY_MS, "the aim of GetFlows"),
    ]


def full_store(count: int) -> "tuple[FlowStore, np.ndarray[tuple[int], np.dtype[np.void]]]":
    """Return a store of so many flows, and the flows."""
    rng = np.random.default_rng(1)
    records = np.zeros(count, FLOW)
    records["time_ns"] = np.arange(count)
    for side in ("source_end", "destination_end"):
        records[side] = rng.integers(1, PODS, count)
    records["verdict"] = 1
    records["source_end"][rng.choice(count, WANTED, replace=False)] = PODS
    ends = {k: End(f"ns-{k % 50}", f"pod-{k}") for k in range(1, PODS)}
    ends[PODS] = End("shop", "wanted")
    store = FlowStore(count)
    for at in range(0, count, 1000):
        added = Dictionaries(ends=ends) if not at else Dictionaries()
        store.append(Batch(records[at : at + 1000], added))
    return store, records


def pipeline(count: int) -> list[Row]:
    """Return what an event costs in batches of 10,000."""
    blank = Event.read(bytes(Event.SIZE))
    events = np.frombuffer(replace(blank, kind=1).write() * 10_000, EVENT).copy()
    rng = np.random.default_rng(2)
    hosts = np.frombuffer(
        b"".join(b"\0" * 10 + b"\xff\xff\x0a\0" + n.to_bytes(2, "big") for n in range(500)), "V16"
    )
    events["source"], events["destination"] = (hosts[rng.integers(0, 500, 10_000)] for _ in "sd")

    def who(octets: bytes) -> Known:
        return Known(End(pod=octets.hex()), 300)

    maker = FlowRecords("node-1", who, lambda _: None, lambda *_: None)
    store = FlowStore(65_536)
    start = time.process_time()
    for at in range(0, count, 10_000):
        store.append(maker.of_events(events, offset_ns=0, now_ns=at * 10_000))
    each_us = (time.process_time() - start) / count * 1e6
    meaning = f"named and stored; {each_us * 10:.0f} % of a core at 100,000 a second"
    return [at_most("an event into the store", each_us, "us", EVENT_US, meaning)]


def run(count: int = FLOWS) -> list[Row]:
    """Measure both."""
    return [*query(count), *pipeline(count)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flows", type=int, default=FLOWS)
    json.dump([asdict(row) for row in run(parser.parse_args().flows)], sys.stdout, indent=1)
