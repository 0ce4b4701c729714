"""A local socket that leads to a port of a pod, as `kubectl port-forward` makes one.

    connections to a Unix socket  ->  one WebSocket each  ->  the pod's own loopback

Invariants  What the other side says of a connection that failed is kept, for whoever asks why.
Standards   Kubernetes port-forward over WebSocket, v4.channel.k8s.io: channel 0 has the octets,
            channel 1 errors; the first message of each has the port
"""

import asyncio
import contextlib
from pathlib import Path

import aiohttp

from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import PODS

PROTOCOLS = ("v4.channel.k8s.io",)
DATA, ERROR = 0, 1
CHUNK_BYTES = 65536
_REFUSED = {403: "you may not create pods/portforward", 404: "the pod is gone"}


class PodForward:
    """Leads to one port of one pod."""

    def __init__(self, client: Client, pod: Key, port: int) -> None:
        self._client = client
        self._pod = pod
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed = ""
        """Why the last connection failed; empty: none did."""

    async def listen(self, path: Path) -> None:
        """Begin to take connections; raises OSError."""
        self._server = await asyncio.start_unix_server(self._begin, str(path))

    async def close(self) -> None:
        """Take no more, and end those that there are."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = PODS.path(self._pod.namespace, self._pod.name, "portforward")
        query = [("ports", str(self._port))]
        try:
            async with self._client.websocket(path, query, PROTOCOLS) as socket:
                inward = asyncio.create_task(_inward(reader, socket))
                try:
                    await self._outward(socket, writer)
                finally:
                    inward.cancel()
                    await asyncio.gather(inward, return_exceptions=True)
        except aiohttp.WSServerHandshakeError as error:
            why = _REFUSED.get(error.status, f"HTTP status {error.status}")
            self.failed = f"port-forward to pod {self._pod}: {why}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failed = f"port-forward to pod {self._pod}: {error or type(error).__name__}"
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _outward(
        self, socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter
    ) -> None:
        announced = {DATA: False, ERROR: False}
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, octets = message.data[0], message.data[1:]
            if channel not in announced:
                continue
            if not announced[channel]:
                announced[channel] = True
                octets = octets[2:]
            if channel == ERROR and octets:
                self.failed = octets.decode(errors="replace")
                return
            if octets:
                writer.write(octets)
                await writer.drain()


async def _inward(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    with contextlib.suppress(OSError, aiohttp.ClientError):
        while octets := await reader.read(CHUNK_BYTES):
            await socket.send_bytes(bytes([DATA]) + octets)
    await socket.close()
