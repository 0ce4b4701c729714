"""`cairn flows` and `cairn policy replay` against a real history; wrong input in one line."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from recorded_flows import dictionaries, flows

from cairn.cli.flows import main
from cairn.cli.flows_show import bars, octets
from cairn.cli.kept_flows import flow_of
from cairn.cli.policy import main as policy
from cairn.relay.history.keeper import History
from cairn.relay.history.question import CONNECTION_COLUMNS
from cairn.relay.history.state import Rules
from cairn.relay.history_service import history_handler

COUNT = 400


class Served:
    """A history behind a server, in a thread of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        self._up.wait(20)

    async def _run(self) -> None:
        self._end = asyncio.Event()
        history = History(self._root, Rules(keep_days=100_000, reserve_bytes=0))
        await history.open()
        task = asyncio.create_task(history.run())
        start_ns = time.time_ns() - COUNT * 1_000_000
        history.add(flows(COUNT, start_ns=start_ns), dictionaries())
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((history_handler(history),))
        self.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._up.set()
        await self._end.wait()
        await server.stop(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await history.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    served = Served(tmp_path_factory.mktemp("history"))
    yield f"127.0.0.1:{served.port}"
    served.close()


def test_a_table_has_a_picture_and_the_newest_last(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", server, "--since", "1h", "--to", "production/", "--limit", "5"]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line]
    assert [line.split()[0] for line in lines[1:3]] == ["flows", "drops"]
    assert "█" in lines[1]
    times = [line[:23] for line in lines[-5:]]
    assert times == sorted(times)
    assert "production/" in lines[-1]
    assert err == "cairn flows: there is more: these are the first 5 (--limit)\n"


def test_programs_get_rows(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", server, "--dropped", "--top", "policies", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["policy"], row["dropped"]) for row in rows] == [("database-only", COUNT // 10)]
    assert main(["--server", server, "--by", "node,verdict", "-o", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(row["flows"] for row in rows) == COUNT


def test_status(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", server, "--status"]) == 0
    assert "flows are being kept" in capsys.readouterr().out
    assert main(["--server", server, "--status", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sql", "DELETE FROM flows"], "takes a SELECT"),
        (["--sql", "SELECT nothing FROM flows"], "nothing"),
        (["--by", "colour"], "no column 'colour'"),
        (["--from", "not a pod"], "is no peer"),
        (["--to", "10.0.0.0/99"], "is no network"),
        (["--protocol", "quic"], "is no protocol"),
        (["--verdict", "maybe"], "is no verdict"),
        (["--port", "70000"], "is not 1 to 65535"),
        (["--since", "1h", "--until", "2h"], "not before"),
        (["--top", "ports", "--by", "node"], "one at a time"),
        (["--limit", "0"], "is not 1 to"),
    ],
)
def test_wrong_questions_are_one_line_and_status_2(
    server: str, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["--server", server, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_relay_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "127.0.0.1:1", "--status"]) == 1
    assert "no relay answers at 127.0.0.1:1" in capsys.readouterr().err


def test_policies_are_replayed_over_the_history(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = tmp_path / "objects.yaml"
    objects.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: production}\n---\n"
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n"
    )
    change = tmp_path / "change.yaml"
    change.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        "metadata: {name: closed, namespace: production}\n"
        "spec: {podSelector: {matchLabels: {app: database}}, policyTypes: [Ingress]}\n"
    )
    words = ["--server", server, "--objects", str(objects), "-o", "json"]
    assert policy(["replay", "-f", str(change), "--since", "1h", *words]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["denied"] > 10
    assert {row["receiver"] for row in found["rows"]} == {"production/database"}
    # What the history joined counts as often as it was seen.
    assert sum(row["flows"] for row in found["rows"]) == found["denied"]
    assert policy(["suggest", "-n", "production", "--since", "1h", *words]) == 0
    assert "database" in capsys.readouterr().out


def test_icmp_has_its_type_for_a_port() -> None:
    row: dict[str, object] = dict.fromkeys(CONNECTION_COLUMNS) | {
        "protocol": "ICMPv4",
        "icmp_type": 8,
        "icmp_code": 0,
        "source": "10.0.0.1",
        "destination": "1.1.1.1",
        "destination_labels": "reserved:world,cidr:1.1.1.1/32",
        "verdict": "FORWARDED",
        "time": "2026-01-31T03:12:00",
        "times": 3,
    }
    flow = flow_of(row)
    assert (flow.protocol, flow.port, flow.times) == (1, 8 << 8, 3)
    assert dict(flow.destination.labels) == {"reserved:world": "", "cidr:1.1.1.1/32": ""}


def test_bars_show_every_count_that_is_not_0() -> None:
    assert bars([0, 1, 500, 1000]) == " ▁▄█"
    assert bars([0, 0]) == "  "


def test_octets_have_a_unit() -> None:
    assert [octets(n) for n in (0, 1023, 1536, 10 << 30)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "10.0 GiB",
    ]
