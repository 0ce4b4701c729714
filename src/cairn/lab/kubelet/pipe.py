"""A connection as a plain flow of octets or messages, whatever carries it.

TCP stream, or WebSocket over one  ->  receive(), send(), close()
"""

import asyncio
import contextlib
from typing import Protocol

from cairn.lab.kubelet import websocket
from cairn.wire import Malformed

CHUNK_BYTES = 65536


class Pipe(Protocol):
    """Octets both ways."""

    async def receive(self) -> bytes | None:
        """Return what came next; None at the end."""

    async def send(self, data: bytes) -> None:
        """Send octets; waits while the peer is slow."""

    async def close(self) -> None:
        """Close for good."""


class StreamPipe:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes | None:
        """Return what came next; None at the end."""
        with contextlib.suppress(OSError):
            return await self._reader.read(CHUNK_BYTES) or None
        return None

    async def send(self, data: bytes) -> None:
        """Send octets; an end of the peer is noticed by `receive`."""
        with contextlib.suppress(OSError):
            self._writer.write(data)
            await self._writer.drain()

    async def close(self) -> None:
        """Close for good."""
        with contextlib.suppress(OSError):
            self._writer.close()
            await self._writer.wait_closed()


class WebSocketPipe:
    """Messages of a WebSocket."""

    def __init__(self, below: Pipe) -> None:
        self._below = below
        self._machine = websocket.Connection()
        self._messages: list[bytes] = []

    async def receive(self) -> bytes | None:
        """Return the next message; None at the end, or when the peer breaks the protocol."""
        while not self._messages:
            data = None if self._machine.closed else await self._below.receive()
            if data is None:
                return None
            try:
                self._messages += self._machine.receive(data)
            except Malformed:
                self._machine.close(1002)
            await self._flush()
        return self._messages.pop(0)

    async def send(self, data: bytes) -> None:
        """Send one binary message."""
        self._machine.send(data)
        await self._flush()

    async def close(self) -> None:
        """Say goodbye and close."""
        self._machine.close()
        await self._flush()
        await self._below.close()

    async def _flush(self) -> None:
        if data := self._machine.output():
            await self._below.send(data)
