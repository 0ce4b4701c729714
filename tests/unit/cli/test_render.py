"""What is printed is what was meant."""

import io

import pytest

from cairn.cli import render


def test_addresses_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    console = render.make_console()
    console.print("node-1: fd00:1::a: silent")
    render.show_table(console, "Nodes", ("ADDRESS",), [("fd00:1:b:2",)])
    assert "fd00:1::a: silent" in out.getvalue()
    assert "fd00:1:b:2" in out.getvalue()
