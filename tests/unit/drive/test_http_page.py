"""Pages over plain HTTP: what is answered, and to whom nothing is."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from cairn.apiserver.http import Head
from cairn.drive.http_page import MAX_HEAD_BYTES, Page, serve_pages

TEXT = (("Content-Type", "text/plain"),)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Answer every target with itself."""
    listener = socket.create_server(("127.0.0.1", 0))
    number = int(listener.getsockname()[1])
    async with await serve_pages(listener, lambda head: Page(200, spell(head), TEXT)):
        yield number


def spell(head: Head) -> bytes:
    return f"{head.target} {head.headers.get('accept')}".encode()


async def ask(port: int, octets: bytes) -> bytes:
    """Return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""  # it closed before it had read all
    finally:
        writer.close()


async def test_one_answer_and_the_connection_ends(port: int) -> None:
    head, _, body = (await ask(port, b"GET /a HTTP/1.1\r\nAccept: x\r\n\r\n")).partition(
        b"\r\n\r\n"
    )
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/plain", "Content-Length: 4", "Connection: close"} <= set(lines)
    assert body == b"/a x"
    assert await ask(port, b"HEAD /a HTTP/1.0\r\nAccept: x\r\n\r\n") == head + b"\r\n\r\n"


async def test_nonsense_is_answered_with_400_and_a_reason(port: int) -> None:
    answer = await ask(port, b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"request line" in answer


async def test_an_endless_head_ends_the_connection(port: int) -> None:
    assert await ask(port, b"x" * (2 * MAX_HEAD_BYTES)) == b""
    assert b" 200 " in await ask(port, b"GET / HTTP/1.1\r\n\r\n")
