"""The channels of `kubectl exec` and `attach`: standard streams, resizing, and the final status.

    SpdySession | WebSocketPipe  ->  Remote: incoming(), send(channel, data), finish(status)

Standards   Kubernetes remote command protocol v4.channel.k8s.io (SPDY streams or WebSocket
            messages that begin with the channel's number) and v5 (closing a channel)
"""

import asyncio
import contextlib
import enum
import json
from typing import Any, Protocol

from cairn.lab.kubelet.pipe import WebSocketPipe
from cairn.lab.kubelet.spdy_session import SpdySession, SpdyStream

SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io")
WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STREAMS_TIMEOUT_S = 30.0
CLOSE_CHANNEL = 255


class Channel(enum.IntEnum):
    """What flows where."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


Incoming = tuple[Channel, bytes | None]
"""A channel, and what came on it; None is its end."""


class Remote(Protocol):
    """The user's side of a command."""

    async def receive(self) -> Incoming | None:
        """Return what came next; None when the user has gone."""

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send octets of an output."""

    async def finish(self, status: dict[str, Any]) -> None:
        """Send the final status and close."""


def exit_status(code: int) -> dict[str, Any]:
    """Return the Status by which kubectl learns a command's exit status."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(message: str) -> dict[str, Any]:
    """Return the Status of a command that could not be run."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


class WebSocketRemote:
    """Channels as messages."""

    def __init__(self, pipe: WebSocketPipe) -> None:
        self._pipe = pipe

    async def receive(self) -> Incoming | None:
        """Return what came next; None when the user has gone."""
        while (message := await self._pipe.receive()) is not None:
            if not message:
                continue
            number, data = message[0], message[1:]
            if number == CLOSE_CHANNEL and data and data[0] in tuple(Channel):
                return Channel(data[0]), None
            if number in tuple(Channel):
                return Channel(number), data
        return None

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send octets of an output."""
        await self._pipe.send(bytes([channel]) + data)

    async def finish(self, status: dict[str, Any]) -> None:
        """Send the final status and close."""
        await self.send(Channel.ERROR, json.dumps(status).encode())
        await self._pipe.close()


class SpdyRemote:
    """Channels as SPDY streams."""

    def __init__(self, session: SpdySession, streams: dict[Channel, SpdyStream]) -> None:
        self._session = session
        self._streams = streams
        self._queue: asyncio.Queue[Incoming | None] = asyncio.Queue(1)
        self._tasks = [
            asyncio.create_task(self._follow(channel))
            for channel in (Channel.STDIN, Channel.RESIZE)
            if channel in streams
        ]
        self._end = asyncio.create_task(self._await_end())

    async def receive(self) -> Incoming | None:
        """Return what came next; None when the user has gone."""
        return await self._queue.get()

    async def send(self, channel: Channel, data: bytes) -> None:
        """Send octets of an output."""
        if channel in self._streams:
            await self._streams[channel].send(data)

    async def finish(self, status: dict[str, Any]) -> None:
        """Send the final status and close."""
        await self.send(Channel.ERROR, json.dumps(status).encode())
        for task in (*self._tasks, self._end):
            task.cancel()
        for stream in self._streams.values():
            await stream.finish()
        await self._session.close()

    async def _follow(self, channel: Channel) -> None:
        while True:
            data = await self._streams[channel].receive()
            await self._queue.put((channel, data))
            if data is None:
                return

    async def _await_end(self) -> None:
        while await self._session.accept() is not None:
            pass  # streams beyond those agreed on are left alone
        await self._queue.put(None)


async def spdy_remote(session: SpdySession, wanted: set[Channel]) -> SpdyRemote | None:
    """Return the channels once the peer has opened all of `wanted`; None if it does not."""
    streams: dict[Channel, SpdyStream] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STREAMS_TIMEOUT_S):
            while not wanted <= set(streams):
                stream = await session.accept()
                if stream is None:
                    return None
                name = stream.headers.get("streamtype", "").upper()
                if name in Channel.__members__:
                    streams[Channel[name]] = stream
            return SpdyRemote(session, streams)
    return None
