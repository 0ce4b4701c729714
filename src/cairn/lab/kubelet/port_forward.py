"""`kubectl port-forward`: pairs of SPDY streams joined to TCP connections inside the pod.

    SpdySession  ->  per request one connection to 127.0.0.1 (or ::1) in the pod's network

Standards   Kubernetes port-forward protocol portforward.k8s.io: streams "error" and "data", paired
            by the header requestid
"""

import asyncio
import contextlib
import socket

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
