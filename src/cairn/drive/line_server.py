"""A unix socket that speaks in lines: requests come in, answers and news go out.

    lines of any number of clients  ->  on_line(client, line)  ->  client.send(line)

Invariants  A client that does not read is dropped when its backlog is full; the others never wait.
            A socket file of a daemon that is gone is replaced; one that is alive is an error.
Not here    What the lines say.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

LOG = logging.getLogger(__name__)

LINE_LIMIT_BYTES = 64 << 20
BACKLOG_LIMIT_BYTES = 16 << 20


class AlreadyRuns(OSError):
    """Another process answers on the socket."""


class LineClient:
    """One client, for as long as it is connected."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.watching = False

    def send(self, line: bytes) -> None:
        """Queue one line, newline included; a client that reads nothing is dropped."""
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > BACKLOG_LIMIT_BYTES:
            LOG.warning("a client of the control socket does not read: dropped")
            self._writer.transport.abort()
            return
        self._writer.write(line)


class LineServer:
    """Listens on one unix socket."""

    def __init__(self, path: Path, on_line: Callable[[LineClient, bytes], None]) -> None:
        self._path = path
        self._on_line = on_line
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.clients: set[LineClient] = set()

    async def start(self) -> None:
        """Listen; raises AlreadyRuns, or OSError with the path in it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _clear(self._path)
        self._server = await asyncio.start_unix_server(
            self._serve, path=str(self._path), limit=LINE_LIMIT_BYTES
        )
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        """Stop listening, drop every client, remove the socket file."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def broadcast(self, line: bytes) -> None:
        """Send one line to every client that watches."""
        for client in list(self.clients):
            if client.watching:
                client.send(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = LineClient(writer)
        self.clients.add(client)
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                self._on_line(client, line)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone, which is its right
        except ValueError:
            LOG.warning("a client sent a line above %d bytes: dropped", LINE_LIMIT_BYTES)
        finally:
            self.clients.discard(client)
            self._writers.discard(writer)
            writer.close()


def _clear(path: Path) -> None:
    """Remove the socket file of a process that is gone."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise AlreadyRuns(f"{path}: another process answers there; stop it first")
