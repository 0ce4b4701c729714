"""`kubectl port-forward`: streams joined to TCP connections inside the pod.

    SpdySession    ->  per request one connection to 127.0.0.1 (or ::1) in the pod's network
    WebSocketPipe  ->  per port one connection, likewise

Standards   Kubernetes port-forward protocol portforward.k8s.io: streams "error" and "data", paired
            by the header requestid; v4.channel.k8s.io: channels 2n (octets) and 2n+1 (errors) of a
            WebSocket, each begun by a message with the port, 16 bits, little-endian
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from cairn.lab.kubelet.pipe import WebSocketPipe
from cairn.lab.kubelet.spdy_session import SpdySession, SpdyStream
from cairn.linux import namespace

CHUNK_BYTES = 65536
CONNECT_TIMEOUT_S = 10.0


async def serve_port_forward(session: SpdySession, netns: str) -> None:
    """Serve until the user has gone; `netns` is empty for the node's own network."""
    waiting: dict[str, dict[str, SpdyStream]] = {}
    tasks: set[asyncio.Task[None]] = set()
    while (stream := await session.accept()) is not None:
        kind = stream.headers.get("streamtype", "")
        request = stream.headers.get("requestid") or stream.headers.get("port", "")
        pair = waiting.setdefault(request, {})
        pair[kind] = stream
        if {"error", "data"} <= set(pair):
            del waiting[request]
            task = asyncio.create_task(_forward(pair["data"], pair["error"], netns))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
    await session.close()


async def _forward(data: SpdyStream, error: SpdyStream, netns: str) -> None:
    port = data.headers.get("port", "")
    try:
        reader, writer = await _connect(port, netns)
    except (OSError, ValueError, TimeoutError) as problem:
        text = str(problem) or "timed out"
        await error.send(f"port {port} of the pod: {text}".encode())
        await error.finish()
        await data.finish()
        return
    await error.finish()
    inward = asyncio.create_task(_inward(data, writer))
    with contextlib.suppress(OSError):
        while octets := await reader.read(CHUNK_BYTES):
            await data.send(octets)
    await data.finish()
    inward.cancel()
    writer.close()


async def _inward(data: SpdyStream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while (octets := await data.receive()) is not None:
            writer.write(octets)
            await writer.drain()
        writer.write_eof()


async def serve_channels(pipe: WebSocketPipe, ports: Sequence[int], netns: str) -> None:
    """Serve the ports that a WebSocket asked for until the user, or all of them, have gone."""
    for number, port in enumerate(ports):
        for channel in (2 * number, 2 * number + 1):
            await pipe.send(bytes([channel]) + port.to_bytes(2, "little"))
    writers: dict[int, asyncio.StreamWriter] = {}
    outward = []
    for number, port in enumerate(ports):
        try:
            reader, writers[number] = await _connect(str(port), netns)
        except (OSError, TimeoutError) as problem:
            text = f"port {port} of the pod: {problem or 'timed out'}"
            await pipe.send(bytes([2 * number + 1]) + text.encode())
        else:
            outward.append(asyncio.create_task(_outward(reader, pipe, 2 * number)))
    inward = asyncio.create_task(_inward_channels(pipe, writers))
    ends = asyncio.create_task(_all_ended(outward))
    if outward:
        await asyncio.wait([inward, ends], return_when=asyncio.FIRST_COMPLETED)
    for task in (inward, ends, *outward):
        task.cancel()
    await asyncio.gather(inward, ends, *outward, return_exceptions=True)
    for writer in writers.values():
        writer.close()
    await pipe.close()


async def _all_ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        await task


async def _outward(reader: asyncio.StreamReader, pipe: WebSocketPipe, channel: int) -> None:
    with contextlib.suppress(OSError):
        while octets := await reader.read(CHUNK_BYTES):
            await pipe.send(bytes([channel]) + octets)


async def _inward_channels(pipe: WebSocketPipe, writers: dict[int, asyncio.StreamWriter]) -> None:
    with contextlib.suppress(OSError):
        while (message := await pipe.receive()) is not None:
            writer = writers.get(message[0] // 2) if message and not message[0] % 2 else None
            if writer is not None:
                writer.write(message[1:])
                await writer.drain()


async def _connect(port: str, netns: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to the pod's own loopback, IPv4 first."""
    problem: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        joined = await asyncio.to_thread(_make_socket, family, netns)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(joined, (address, int(port)))
            return await asyncio.open_connection(sock=joined)
        except OSError as error:
            joined.close()
            problem = problem or error
    raise problem or OSError("no address")


def _make_socket(family: socket.AddressFamily, netns: str) -> socket.socket:
    """Return a socket that belongs to the pod's network, wherever it is used."""

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        return made

    return namespace.call_at(netns, make) if netns else make()
