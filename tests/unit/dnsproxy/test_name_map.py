"""Which connections keep an address, and the proxy's journal."""

from pathlib import Path

import pytest

from cairn.abi.flow import FlowFlag, PolicyFlow
from cairn.dns.learnt import Lease
from cairn.dnsproxy.journal import Journal
from cairn.dnsproxy.name_map import is_live
from cairn.net import Protocol

HOUR_S = 3600
ADDRESS = bytes(15) + b"\1"


@pytest.mark.parametrize(
    ("protocol", "flags", "age_s", "live"),
    [
        (Protocol.TCP, FlowFlag.ANSWERED, 2 * HOUR_S, True),
        (Protocol.TCP, FlowFlag.ANSWERED, 3 * HOUR_S, False),
        (Protocol.TCP, FlowFlag.ANSWERED | FlowFlag.CLOSING, 30, True),
        (Protocol.TCP, FlowFlag.ANSWERED | FlowFlag.CLOSING, 90, False),
        (Protocol.TCP, FlowFlag(0), 90, False),
        (Protocol.UDP, FlowFlag.ANSWERED, 120, True),
        (Protocol.UDP, FlowFlag.ANSWERED, 240, False),
    ],
)
def test_who_lives(protocol: int, flags: FlowFlag, age_s: int, live: bool) -> None:
    flow = PolicyFlow(0, 10**12, 1, 1, 1, 1, 1, 1, 1, 1, 0, flags, 0)
    assert is_live(flow, protocol, 10**12 + age_s * 10**9) == live


def test_journal_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "names"
    journal = Journal(path)
    assert journal.load() == []
    journal.rewrite([Lease("a.test", (ADDRESS,), 10.5)])
    journal.append([Lease("b.test", (ADDRESS, bytes(16)), 11.25)])
    journal.close()
    with path.open("ab") as file:
        file.write(b'[1, 2]\n["c", "x", []]\n["d", 1, ["00"]]\n[]\nnonsense\n\xff\n["cut')
    assert Journal(path).load() == [
        Lease("a.test", (ADDRESS,), 10.5), Lease("b.test", (ADDRESS, bytes(16)), 11.25),
    ]  # fmt: skip


def test_a_journal_of_another_boot_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text('{"boot": "another"}\n["a.test", 10, []]\n')
    assert Journal(path).load() == []


def test_a_journal_grows_stale(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "names")
    journal.rewrite([])
    journal.append([Lease("a.test", (ADDRESS,), 1.0)] * 10_000)
    assert journal.is_stale(1)
    assert not journal.is_stale(5_000)
    journal.close()


def test_a_journal_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "names")
    (tmp_path / "names").mkdir()
    for _ in range(3):
        journal.rewrite([])
        journal.append([Lease("a.test", (ADDRESS,), 1.0)])
    assert [record.levelname for record in caplog.records] == ["ERROR"]
