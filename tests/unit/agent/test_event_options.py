"""How the agent is told about events: whether there are any, and how many octets their ring has."""

import argparse

import pytest

from cairn.agent.options import map_size, parse


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAIRN_EVENTS", "CAIRN_MAP_SIZES"):
        monkeypatch.delenv(name, raising=False)


def test_events_are_on_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(["--node", "n"]).events
    assert not parse(["--node", "n", "--events", "off"]).events
    monkeypatch.setenv("CAIRN_EVENTS", "off")
    assert not parse(["--node", "n"]).events
    assert parse(["--node", "n", "--events", "on"]).events


def test_a_word_that_is_no_switch_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAIRN_EVENTS", "some")
    with pytest.raises(SystemExit, match="2"):
        parse(["--node", "n"])
    assert "some" in capsys.readouterr().err


def test_the_ring_takes_a_power_of_two() -> None:
    assert map_size("events=1048576") == ("events", 1 << 20)
    for text in ("events=1000000", "events=4096", "events=-1", "events=x", "events=1073741824"):
        with pytest.raises(argparse.ArgumentTypeError, match="power of two"):
            map_size(text)
