"""The control socket: lines in and out, a dead predecessor, a living one."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from cairn.drive.line_server import AlreadyRuns, LineClient, LineServer


def echo(client: LineClient, line: bytes) -> None:
    if line == b"watch\n":
        client.watching = True
    client.send(b"you said " + line)


async def test_answers_and_broadcasts(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = LineServer(path, echo)
    await server.start()
    assert path.stat().st_mode & 0o777 == 0o600
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"watch\n")
    assert await reader.readline() == b"you said watch\n"
    other_reader, other = await asyncio.open_unix_connection(str(path))
    other.write(b"hello\n")
    assert await other_reader.readline() == b"you said hello\n"
    server.broadcast(b"news\n")
    other.write(b"again\n")
    assert await reader.readline() == b"news\n"
    assert await other_reader.readline() == b"you said again\n"
    for one in (writer, other):
        one.close()
    await server.stop()
    assert not path.exists()


async def test_a_dead_predecessors_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = LineServer(path, echo)
    await server.start()
    with pytest.raises(AlreadyRuns, match=os.fspath(path)):
        await LineServer(path, echo).start()
    await server.stop()


async def test_two_lines_in_one_write(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = LineServer(path, echo)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"a\nb\n")
    assert [await reader.readline(), await reader.readline()] == [b"you said a\n", b"you said b\n"]
    writer.close()
    await server.stop()
