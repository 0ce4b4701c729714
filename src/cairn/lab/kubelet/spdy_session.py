"""Streams over one SPDY connection.

    Pipe  ->  SpdyStream, ..., each with receive(), send(), finish()

Invariants  One task reads; a stream that nobody empties stops it, so that memory stays bounded.
Not here    The frames (spdy.py).
"""

import asyncio
import contextlib
from collections.abc import Mapping

from cairn.lab.kubelet import spdy
from cairn.lab.kubelet.pipe import Pipe
from cairn.wire import Malformed

QUEUE_LENGTH = 64


class SpdyStream:
    """One stream that the peer opened."""

    def __init__(self, session: "SpdySession", number: int, headers: Mapping[str, str]) -> None:
        self.headers = headers
        """As the peer sent them."""
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_LENGTH)
        """What came; None is the end."""
        self._session = session
        self._number = number
        self._ended = False

    async def receive(self) -> bytes | None:
        """Return what came next; None at the end."""
        if self._ended:
            return None
        data = await self.incoming.get()
        self._ended = data is None
        return data

    async def send(self, data: bytes) -> None:
        """Send octets."""
        if data:
            self._session.machine.send(self._number, data)
            await self._session.flush()

    async def finish(self) -> None:
        """Say that nothing more will come from us."""
        self._session.machine.send(self._number, b"", finish=True)
        await self._session.flush()


class SpdySession:
    """The server's side of one connection."""

    def __init__(self, pipe: Pipe) -> None:
        self.machine = spdy.Connection()
        """The frames."""
        self._pipe = pipe
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._streams: dict[int, SpdyStream] = {}
        self._task = asyncio.create_task(self._read())

    async def accept(self) -> SpdyStream | None:
        """Return the next stream that the peer opens; None when it has gone."""
        return await self._opened.get()

    async def flush(self) -> None:
        """Send what is to be sent."""
        if data := self.machine.output():
            await self._pipe.send(data)

    async def close(self) -> None:
        """End the connection."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.machine.go_away()
        await self.flush()
        await self._pipe.close()

    async def _read(self) -> None:
        try:
            while (data := await self._pipe.receive()) is not None:
                for event in self.machine.receive(data):
                    await self._take(event)
                await self.flush()
        except Malformed:
            self.machine.go_away()
            await self.flush()
        finally:
            self._opened.put_nowait(None)
            for stream in self._streams.values():
                _put_end(stream)

    async def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.StreamOpened(number, headers, finished):
                stream = SpdyStream(self, number, headers)
                self._streams[number] = stream
                self.machine.reply(number)
                if finished:
                    await stream.incoming.put(None)
                self._opened.put_nowait(stream)
            case spdy.DataReceived(number, data, finished):
                found = self._streams.get(number)
                if found is None:
                    self.machine.reset(number, spdy.Reset.INVALID_STREAM)
                    return
                if data:
                    await found.incoming.put(data)
                if finished:
                    await found.incoming.put(None)
            case spdy.StreamReset(number):
                if gone := self._streams.pop(number, None):
                    _put_end(gone)
            case spdy.PeerGoesAway():
                pass  # it opens no more streams; those that are open go on


def _put_end(stream: SpdyStream) -> None:
    with contextlib.suppress(asyncio.QueueFull):
        stream.incoming.put_nowait(None)
