"""What a filter costs over a full ring, and what an event costs on its way into it.

    python bench/flow_query.py [--flows N]

The filter's time is told beside that of a plain Python loop over a part of the same rows.
"""

import argparse
import time
from dataclasses import replace

import numpy as np

from cairn.abi.event import Event
from cairn.abi.records import EVENT
from cairn.flow.columns import FLOW, Batch, Dictionaries, End
from cairn.flow.filter import FlowFilter, compile_filters
from cairn.flow.store import FlowStore
from cairn.flow.view import rows
from cairn.observe.flow_records import FlowRecords, Known

PODS = 5000
PART = 20_000
WANTED = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=1_000_000)
    count = parser.parse_args().flows
    query(count)
    pipeline(count)


def query(count: int) -> None:
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
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        mask = compile_filters([FlowFilter(source_pod=("shop/wanted",))], [], store.dictionaries)
        found = len(store.find(mask).records)
        taken.append(time.perf_counter() - start)
    start = time.perf_counter()
    sum(row.source.pod == "wanted" for row in rows(records[:PART], store.dictionaries))
    loop_s = (time.perf_counter() - start) * count / PART
    usual_s = sorted(taken)[2]
    times = loop_s / usual_s
    print(f"{found} of {count:,} flows: {usual_s * 1e3:.1f} ms, a loop {times:.0f} times that")


def pipeline(count: int) -> None:
    blank = Event.read(bytes(Event.SIZE))
    events = np.frombuffer(replace(blank, kind=1).write() * 10_000, EVENT).copy()
    rng = np.random.default_rng(2)
    hosts = np.frombuffer(
        b"".join(b"\0" * 10 + b"\xff\xff\x0a\0" + n.to_bytes(2, "big") for n in range(500)), "V16"
    )
    events["source"], events["destination"] = (hosts[rng.integers(0, 500, 10_000)] for _ in "sd")
    maker = FlowRecords(
        "node-1", lambda octets: Known(End(pod=octets.hex()), 300), lambda _: None, lambda _: None
    )
    store = FlowStore(65_536)
    start = time.process_time()
    for at in range(0, count, 10_000):
        store.append(maker.of_events(events, offset_ns=0, now_ns=at * 10_000))
    each_us = (time.process_time() - start) / count * 1e6
    print(f"an event costs {each_us:.2f} us: {each_us * 10:.0f} % of a core at 100,000 a second")


if __name__ == "__main__":
    main()
