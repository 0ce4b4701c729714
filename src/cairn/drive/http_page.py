"""Answers plain HTTP requests, one on each connection: metrics, health checks.

    listening socket  ->  Head  ->  Page

A server of the HTTP library would be two MiB more on every node, for two pages.

Invariants  A client that says nothing, or does not read, is let go after PATIENCE_S.
            What is not understood is answered with status 400; it reaches nobody.
Standards   RFC 9112 s9.6 (a server may close after an answer)
Not here    TLS, bodies of requests, connections that last (cairn.api)
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from cairn.apiserver.http import Head, Malformed, read_head, write_head

PATIENCE_S = 5.0
MAX_HEAD_BYTES = 16384


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    code: int
    """HTTP status."""
    body: bytes
    """What follows the head."""
    headers: tuple[tuple[str, str], ...]
    """What stands in the head, besides the length."""


Answer = Callable[[Head], Page]


async def serve_pages(listener: socket.socket, answer: Answer) -> asyncio.Server:
    """Answer whoever asks at `listener`, until the server is closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(PATIENCE_S):
                writer.write(_spell(await reader.readuntil(b"\r\n\r\n"), answer))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, sock=listener, limit=MAX_HEAD_BYTES)


def _spell(octets: bytes, answer: Answer) -> bytes:
    """Return the answer to the request whose head `octets` is."""
    bare = False
    try:
        head = read_head(octets)
        bare = head.method == "HEAD"
        page = answer(head)
    except Malformed as error:
        page = Page(400, f"{error}\n".encode(), (("Content-Type", "text/plain"),))
    length = ("Content-Length", str(len(page.body)))
    return write_head(page.code, [*page.headers, length, ("Connection", "close")]) + (
        b"" if bare else page.body
    )
