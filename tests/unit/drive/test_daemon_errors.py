"""What ends a daemon is one line on standard error: what, and for the unforeseen, where."""

import asyncio

import pytest

from cairn.drive.daemon import run_daemon


async def fail(error: Exception, depth: int) -> None:
    if depth == 0:
        raise error
    async with asyncio.TaskGroup() as group:
        group.create_task(fail(error, depth - 1))


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no uplink: set one"), "probe: no uplink: set one\n"),
        (KeyError("peers"), "probe: KeyError: 'peers' at test_daemon_errors.py:"),
        (ValueError("two\nlines"), "probe: ValueError: two lines at test_daemon_errors.py:"),
    ],
)
def test_one_line(
    error: Exception, said: str, depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_daemon("probe", fail(error, depth)) == 1
    text = capsys.readouterr().err
    assert text.startswith(said)
    assert text.count("\n") == 1


def test_what_ends_well_ends_with_0() -> None:
    async def done() -> None:
        return None

    assert run_daemon("probe", done()) == 0
