"""The history: written, asked, killed, filled up, damaged, let go."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_flows import T0_NS, dictionaries, flows

from cairn.flow.columns import interface_key
from cairn.relay.history.jobs import Done, Failed, Heading, Picture, Rows
from cairn.relay.history.keeper import History
from cairn.relay.history.places import Places
from cairn.relay.history.question import Question
from cairn.relay.history.state import Rules

SMALL = Rules(
    keep_days=100_000, segment_rows=1000, segment_s=3600, reserve_bytes=1 << 20, merge_files=4
)


@asynccontextmanager
async def running(root: Path, rules: Rules = SMALL) -> AsyncIterator[History]:
    """A history at work; what is pending is written at its end."""
    history = History(root, rules)
    await history.open()
    task = asyncio.create_task(history.run())
    try:
        yield history
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await history.close()


async def until(condition: Any, within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.02)


async def ask(history: History, **fields: Any) -> tuple[list[dict[str, Any]], Done | Failed]:
    """Return rows by column, and how the answer ended."""
    columns: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = []
    async with aclosing(history.ask(Question(**fields))) as replies:
        async for reply in replies:
            match reply:
                case Heading():
                    columns = reply.columns
                case Rows():
                    rows += [dict(zip(columns, row, strict=True)) for row in reply.rows]
                case Done() | Failed():
                    return rows, reply
    raise AssertionError("an answer without an end")


async def count(history: History, **fields: Any) -> int:
    rows, end = await ask(history, sql="SELECT count(*) AS n FROM flows", **fields)
    assert isinstance(end, Done), end
    return int(rows[0]["n"])


async def test_what_is_taken_is_answered_before_and_after_it_is_parquet(tmp_path: Path) -> None:
    async with running(tmp_path) as history:
        history.add(flows(2500), dictionaries())
        assert await count(history) == 2500
        await until(lambda: len(Places(tmp_path).files().parquet) == 2)
        assert await count(history) == 2500
        rows, _ = await ask(history, sql="SELECT * FROM flows ORDER BY time LIMIT 4 OFFSET 3")
        first = rows[0]
        assert first["source"] == "10.244.1.4"
        assert (first["source_namespace"], first["source_pod"]) == ("default", "database-4")
        assert (first["verdict"], first["reason"]) == ("DROPPED", "POLICY_DEFAULT")
        assert (first["policy_namespace"], first["policy"]) == ("production", "database-only")
        assert first["policy_rule"] is None
        assert rows[1]["http_url"] == "http://web/items"
        assert rows[1]["http_latency_ms"] == 1.5


async def test_drops_of_kernels_have_the_names_of_each(tmp_path: Path) -> None:
    records, known = flows(2000), dictionaries()
    records["kind"], records["kernel_reason"] = 8, 12
    records["node"] = 1 + np.arange(2000) % 2
    known.nodes |= {1: "node-1", 2: "node-2"}
    known.kernel_reasons |= {interface_key(1, 12): "NETFILTER_DROP", interface_key(2, 12): "OTHER"}
    sql = "SELECT node, reason, count(*) AS n FROM flows GROUP BY ALL ORDER BY node"
    async with running(tmp_path) as history:
        history.add(records, known)
        before, _ = await ask(history, sql=sql)
        await until(lambda: len(Places(tmp_path).files().parquet) == 2)
        after, _ = await ask(history, sql=sql)
    assert before == after
    assert [(row["reason"], row["n"]) for row in after] == [
        ("kernel: NETFILTER_DROP", 1000),
        ("kernel: OTHER", 1000),
    ]


async def test_questions(tmp_path: Path) -> None:
    async with running(tmp_path) as history:
        history.add(flows(2000), dictionaries())
        drops, _ = await ask(history, top="drops")
        assert sum(row["drops"] for row in drops) == 200
        policies, _ = await ask(history, top="policies")
        assert {(p["policy"], p["dropped"], p["allowed"]) for p in policies} == {
            ("database-only", 200, 0),
            ("open", 0, 1800),
        }
        names, _ = await ask(history, top="names")
        assert [(n["name"], n["lookups"], n["failed"]) for n in names] == [
            ("example.org.", 100, 100)
        ]
        ports, _ = await ask(history, top="ports")
        assert {p["port"]: p["flows"] for p in ports} == {80: 1000, 5432: 1000}
        talkers, _ = await ask(history, top="talkers", sources=("production/web",))
        assert {t["source"] for t in talkers} == {"production/web"}
        pods, end = await ask(history, top="pods", limit=5)
        assert len(pods) == 5
        assert isinstance(end, Done)
        assert end.cut
        by, _ = await ask(history, by=("node", "verdict"))
        assert sum(row["flows"] for row in by) == 2000


@pytest.mark.parametrize(
    ("fields", "some"),
    [
        ({"sources": ("10.244.1.0/29",)}, 7 / 30),
        ({"sources": ("10.244.1.1",)}, 1 / 30),
        ({"sources": ("default/",)}, 1 / 2),
        ({"sources": ("app=web",)}, 1 / 3),
        ({"sources": ("web-3", "web-6")}, 1 / 15 + 1 / 30),
        ({"ports": (80,)}, 1 / 2),
        ({"protocols": ("udp",)}, 0),
        ({"verdicts": ("dropped",)}, 1 / 10),
        ({"policies": ("production/database-only",)}, 1 / 10),
        ({"policies": ("default/database-only",)}, 0),
        ({"since_us": T0_NS // 1000 + 1_500_000}, 1 / 2),
        ({"until_us": T0_NS // 1000 + 300_000}, 1 / 10),
    ],
)
async def test_filters(tmp_path: Path, fields: dict[str, Any], some: float) -> None:
    async with running(tmp_path) as history:
        history.add(flows(3000), dictionaries())
        assert await count(history, **fields) == round(3000 * some)


async def test_a_picture_over_time_counts_every_flow_once(tmp_path: Path) -> None:
    async with running(tmp_path) as history:
        history.add(flows(1200), dictionaries())
        found = [r async for r in history.ask(Question(picture=True)) if isinstance(r, Picture)]
        assert [sum(found[0].flows), sum(found[0].drops)] == [1200, 120]
        assert found[0].flows == [20] * 60


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM flows",
        "COPY flows TO '/tmp/x'",
        "SET memory_limit = '10GB'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT nothing FROM flows",
        "SELECT",
        "",
    ],
)
async def test_sql_only_reads_flows(tmp_path: Path, sql: str) -> None:
    async with running(tmp_path) as history:
        history.add(flows(10), dictionaries())
        rows, end = await ask(history, sql=sql or ";")
        assert rows == []
        assert isinstance(end, Failed)
        assert end.wrong_question
        assert "\n" not in end.text


async def test_sql_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    rules = Rules(segment_rows=1000, answer_s=0.5, reserve_bytes=0)
    async with running(tmp_path, rules) as history:
        began = time.monotonic()
        _, end = await ask(
            history, sql="SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"
        )
        assert isinstance(end, Failed)
        assert "0 s" in end.text
        assert time.monotonic() - began < 8


async def test_corrupt_files_are_moved_aside_and_the_rest_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as history:
        history.add(flows(3000), dictionaries())
        await history.flush()
        await until(lambda: len(Places(tmp_path).files().parquet) == 3)
        cut, spoilt, _ = [file.path for file in Places(tmp_path).files().parquet]
        os.truncate(cut, 1000)
        octets = bytearray(spoilt.read_bytes())
        octets[100:4000] = b"\xff" * 3900
        spoilt.write_bytes(octets)
        rows, end = await ask(history, sql="SELECT max(hash(COLUMNS(*))), count(*) AS n FROM flows")
        assert rows[0]["n"] == 1000
        assert isinstance(end, Done)
        for path in (cut, spoilt):
            assert any(path.name in note for note in end.notes)
            assert (tmp_path / "corrupt" / path.name).exists()


async def test_a_damaged_segment_gives_what_is_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as history:
        for start in range(0, 900, 300):
            history.add(flows(300, start=start), dictionaries())
            await history.flush()
    segment = next((tmp_path / "segments").iterdir())
    octets = bytearray(segment.read_bytes())
    octets[-2000] ^= 1
    segment.write_bytes(octets)
    (tmp_path / "segments" / "000000000099.wal").write_bytes(b"nothing of the kind")
    async with running(tmp_path) as history:
        await until(lambda: not Places(tmp_path).files().segments)
        assert await count(history) == 600
        assert len(history.status().corrupt) == 2
        history.add(flows(5), dictionaries())
        assert await count(history) == 605


async def test_files_are_merged_and_none_is_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as history:
        history.add(flows(9000), dictionaries())
        await history.flush()
        await until(lambda: not Places(tmp_path).files().segments, 60)
        await until(lambda: len(Places(tmp_path).files().parquet) == 3, 60)
        assert await count(history) == 9000
        rows, _ = await ask(history, sql="SELECT count(DISTINCT time) AS n FROM flows")
        assert rows[0]["n"] == 9000


async def test_the_oldest_go_by_days_and_by_octets(tmp_path: Path) -> None:
    now_ns = time.time_ns()
    rules = Rules(keep_days=1, segment_rows=1000, reserve_bytes=0, merge_files=99)
    async with running(tmp_path, rules) as history:
        history.add(flows(1000, start_ns=now_ns - 2 * 86_400 * 10**9), dictionaries())
        history.add(flows(2000, start_ns=now_ns - 600 * 10**9), dictionaries())
        await until(lambda: history.status().removed == 1000)
        await until(lambda: len(Places(tmp_path).files().parquet) == 2)
        size = history.status().bytes
    async with running(tmp_path, Rules(keep_bytes=size - 1, reserve_bytes=0)) as history:
        await until(lambda: history.status().removed == 1000)
        assert await count(history) == 1000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.root
async def test_a_full_disk_stops_the_history_until_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cairn.relay.history.keeper.TRY_AGAIN_S", 0.1)
    async with running(small_disk, Rules(keep_days=100_000, reserve_bytes=1 << 20)) as history:
        history.add(flows(1000), dictionaries())
        await history.flush()
        (small_disk / "ballast").write_bytes(bytes(9 << 20))
        history.add(flows(40_000, start=1000), dictionaries())
        await history.flush()
        assert history.stopped
        assert "No space left on device" in history.status().stopped
        history.add(flows(10), dictionaries())
        assert history.missed == 40_010
        rows, end = await ask(history, sql="SELECT count(*) AS n FROM flows")
        assert rows == [{"n": 1000}]
        assert isinstance(end, Done)
        assert "stopped since" in end.notes[0]
        (small_disk / "ballast").unlink()
        await until(lambda: not history.stopped)
        history.add(flows(10), dictionaries())
        assert await count(history) == 1010


WRITER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from recorded_flows import dictionaries, flows
from cairn.relay.history.keeper import History
from cairn.relay.history.state import Rules

async def main():
    history = History(Path(sys.argv[1]), Rules(keep_days=100_000, segment_rows=5000))
    await history.open()
    task = asyncio.create_task(history.run())
    known, start = dictionaries(), 0
    while True:
        if history.ready:
            history.add(flows(50, start=start), known)
            start += 50
            print(start, flush=True)
        await asyncio.sleep(0.01)

asyncio.run(main())
"""


@pytest.mark.parametrize("after_s", [0.9, 2.1])
async def test_a_killed_writer_loses_at_most_the_last_second(
    tmp_path: Path, after_s: float
) -> None:
    beds = str(Path(__file__).parents[2] / "beds")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": beds},
    )
    assert process.stdout
    taken: list[tuple[float, int]] = []
    killed = 0.0
    for line in process.stdout:
        taken.append((time.monotonic(), int(line)))
        if not killed and taken[-1][0] - taken[0][0] > after_s:
            process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
    process.wait()
    a_second_before = max((n for at, n in taken if at <= killed - 1), default=0)
    async with running(tmp_path) as history:
        rows, _ = await ask(
            history, sql="SELECT count(*) AS n, count(DISTINCT time) AS d FROM flows"
        )
        assert a_second_before <= rows[0]["n"] <= taken[-1][1] + 50
        assert rows[0]["d"] == rows[0]["n"]
