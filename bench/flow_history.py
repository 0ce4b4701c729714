"""What the history of flows costs, and how long answers take.

    N flows of seven days  ->  rows; run by itself, JSON

    python bench/flow_history.py [--flows N] [--dir DIR] [--keep]

The flows take the way that those of a cluster take: log, Parquet, merged files. Questions are asked
as `cairn flows` asks them, the process that answers included. The baseline is SQLite with the
columns in question alone and an index by time, holding a twentieth of the flows: its time and size
are told as if it held all.

Units       a flow: one record of 152 octets as it comes from a node
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from row import Row, at_most

from cairn.flow.columns import (
    FLOW,
    Decision,
    Dictionaries,
    End,
    FlowFlag,
    FlowKind,
    FlowVerdict,
    HttpDetail,
)
from cairn.relay.history.jobs import Done, Failed, Rows
from cairn.relay.history.keeper import History
from cairn.relay.history.places import Places
from cairn.relay.history.question import Question
from cairn.relay.history.state import Rules

FLOWS = 3_000_000
DAYS = 7
PIECE = 100_000
PODS, POLICIES, REQUESTS = 200, 30, 2000
SHARE = 20
"""Of the flows, one in so many is in the baseline."""
ROUNDS = 5
LAST_DAY_S = 1.0
_DAY_US = 86_400_000_000


def names(rng: np.random.Generator) -> Dictionaries:
    """Return the pods, policies and requests of a small cluster."""
    known = Dictionaries()
    for number in range(1, PODS + 1):
        app = f"app-{number % 17}"
        known.ends[number] = End(
            namespace=f"ns{number % 9}",
            pod=f"{app}-{number:05x}",
            labels=(f"k8s:app={app}", f"k8s:io.kubernetes.pod.namespace=ns{number % 9}"),
            workload_kind="Deployment",
            workload=app,
        )
    for number in range(1, POLICIES + 1):
        rule = f"ingress[{number % 3}]" if number % 3 else ""
        known.decisions[number] = Decision(
            "CiliumNetworkPolicy", f"ns{number % 9}", f"policy-{number}", rule
        )
    for number in range(1, REQUESTS + 1):
        status, latency_ns = 200 if number % 10 else 503, int(rng.integers(100_000, 100_000_000))
        known.details[number] = HttpDetail(
            "GET", f"http://app/{number}", "HTTP/1.1", status, latency_ns
        )
    known.nodes.update({number: f"node-{number}" for number in (1, 2, 3)})
    return known


def piece(rng: np.random.Generator, count: int, start_ns: int, span_ns: int) -> Any:
    """Return flows of that time: one in fifty is dropped, few pods have most of them."""
    made = np.zeros(count, FLOW)
    made["time_ns"] = start_ns + np.sort(rng.integers(0, span_ns, count))
    for side, slope in (("source", 1.3), ("destination", 1.2)):
        pod = rng.zipf(slope, count) % PODS + 1
        octets = np.zeros((count, 16), np.uint8)
        octets[:, 10:12] = 255
        octets[:, 12:14] = (10, 244)
        octets[:, 14], octets[:, 15] = pod % 3, pod
        made[side] = octets.reshape(-1).view("V16")
        made[f"{side}_end"], made[f"{side}_identity"] = pod, pod % 17 * 1000 + 70_000
    made["source_port"] = rng.integers(32768, 60999, count)
    made["destination_port"] = rng.choice([80, 443, 5432, 53, 8080], count)
    made["protocol"] = np.where(made["destination_port"] == 53, 17, 6)
    made["node"] = rng.integers(1, 4, count)
    kinds = (FlowKind.DROP, FlowKind.NEW, FlowKind.CLOSED, FlowKind.HTTP)
    kind = rng.choice([int(kind) for kind in kinds], count, p=[0.02, 0.48, 0.45, 0.05])
    drop, new, closed = (kind == k for k in kinds[:3])
    made["kind"] = kind
    made["verdict"] = np.where(drop, int(FlowVerdict.DROPPED), int(FlowVerdict.FORWARDED))
    made["reason"] = np.where(drop, rng.choice([64, 65, 36], count), 0)
    made["decision"] = np.where(drop | new, rng.integers(1, POLICIES + 1, count), 0)
    made["detail"] = np.where(kind == FlowKind.HTTP, rng.integers(1, REQUESTS + 1, count), 0)
    made["packets"] = np.where(closed, rng.zipf(1.5, count) % 10_000 + 3, 0)
    made["octets"] = made["packets"] * rng.integers(60, 1400, count).astype(np.uint64)
    made["packets_back"], made["octets_back"] = made["packets"], made["octets"] * 2
    flags = [int(FlowFlag.TO_POD), int(FlowFlag.FROM_POD)]
    made["flags"] = rng.choice(flags, count)
    made["length"] = np.where(closed, 0, rng.choice([60, 74, 1400], count))
    return made


async def measure(root: Path, count: int) -> list[Row]:
    """Write the flows, ask, and return the rows."""
    history = History(root, Rules(keep_days=30, keep_bytes=1 << 40, pending_rows=1 << 30))
    await history.open()
    task = asyncio.create_task(history.run())
    now_ns = time.time_ns()
    baseline = Baseline(root / "baseline.sqlite")
    writing_s, began = await fill(history, count, now_ns, baseline), time.monotonic()
    while Places(root).files().segments:
        await history.flush()
        await asyncio.sleep(0.2)
    behind_s = time.monotonic() - began
    size = history.status().bytes
    since = now_ns // 1000 - _DAY_US
    drops = Question(
        since_us=since, verdicts=("DROPPED",), by=("policy_namespace", "policy"), limit=1000
    )
    seconds, answer = await best(history, drops)
    every_s, _ = await best(history, Question(top="policies", limit=1000), rounds=2)
    base_s = min(baseline.drops(since) for _ in range(ROUNDS)) * SHARE
    base_b = baseline.size * SHARE / count
    status = history.status()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await history.close()
    text = f"{status.flows:,} flows of {DAYS} days"
    row = at_most(
        f"history of {text}: the last day's drops by policy",
        seconds,
        "s",
        LAST_DAY_S,
        f"process included; {answer} policies; SQLite with an index: {base_s:.2f} s",
    )
    return [
        row,
        Row(f"history of {text}: policies of all days", every_s, "s", "every flow is looked at"),
        Row(
            "flow on disk",
            size / status.flows,
            "B",
            f"152 as it comes; SQLite: {base_b:.0f}",
        ),
        Row("flows written to the log", count / writing_s, "1/s", "synced"),
        Row(
            "flows made Parquet", count / (writing_s + behind_s), "1/s", "one core, beside the rest"
        ),
    ]


async def fill(history: History, count: int, now_ns: int, baseline: "Baseline") -> float:
    """Write all flows; return the time that the history took for it."""
    rng = np.random.default_rng(5)
    known = names(rng)
    span_ns = DAYS * 86_400 * 10**9 * PIECE // count
    took = 0.0
    for number in range(count // PIECE):
        made = piece(rng, PIECE, now_ns - (count // PIECE - number) * span_ns, span_ns)
        baseline.add(made, known)
        began = time.monotonic()
        history.add(made, known)
        await history.flush()
        took += time.monotonic() - began
    return took


async def best(history: History, question: Question, rounds: int = ROUNDS) -> tuple[float, int]:
    """Return the shortest time of an answer, and how many rows it had."""
    times, rows = [], 0
    for _ in range(rounds):
        began, rows = time.monotonic(), 0
        async with contextlib.aclosing(history.ask(question)) as replies:
            async for reply in replies:
                rows += len(reply.rows) if isinstance(reply, Rows) else 0
                if isinstance(reply, Failed):
                    raise RuntimeError(reply.text)
                if isinstance(reply, Done):
                    times.append(time.monotonic() - began)
    return min(times), rows


class Baseline:
    """A table that people would make: one row for each flow, an index by time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base = sqlite3.connect(path)
        self._base.execute(
            "CREATE TABLE flows (time INT, source TEXT, destination TEXT, port INT,"
            " verdict TEXT, policy_namespace TEXT, policy TEXT)"
        )
        self._base.execute("CREATE INDEX by_time ON flows (time)")

    @property
    def size(self) -> int:
        """Octets on disk."""
        return self._path.stat().st_size

    def add(self, records: Any, known: Dictionaries) -> None:
        """Add one in SHARE of the flows."""
        some = records[::SHARE]
        none = Decision("", "", "")
        rows = (
            (
                t // 1000,
                known.ends[s].pod,
                known.ends[d].pod,
                p,
                FlowVerdict(v).name,
                one.namespace,
                one.name,
            )
            for t, s, d, p, v, one in zip(
                some["time_ns"].tolist(),
                some["source_end"].tolist(),
                some["destination_end"].tolist(),
                some["destination_port"].tolist(),
                some["verdict"].tolist(),
                (known.decisions.get(key, none) for key in some["decision"].tolist()),
                strict=True,
            )
        )
        self._base.executemany("INSERT INTO flows VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._base.commit()

    def drops(self, since_us: int) -> float:
        """Return how long the last day's drops by policy take."""
        began = time.monotonic()
        self._base.execute(
            "SELECT policy_namespace, policy, count(*) FROM flows"
            " WHERE time >= ? AND verdict = 'DROPPED' GROUP BY 1, 2",
            (since_us,),
        ).fetchall()
        return time.monotonic() - began


def run(count: int = FLOWS, folder: str | None = None, *, keep: bool = False) -> list[Row]:
    """Return the rows."""
    root = Path(tempfile.mkdtemp(dir=folder))
    try:
        return asyncio.run(measure(root, count))
    finally:
        if not keep:
            shutil.rmtree(root)


def main() -> int:
    """Print the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=FLOWS)
    parser.add_argument("--dir")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    rows = run(options.flows, options.dir, keep=options.keep)
    json.dump([asdict(row) for row in rows], sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
