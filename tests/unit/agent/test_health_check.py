"""Checks of real servers on the loopback interface."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cairn.abi.structs import BackendCounters
from cairn.agent.health_check import check_backend
from cairn.agent.health_monitor import HealthMonitor, Verdict, is_sign
from cairn.health.backend import Begin, Ejected, Health, Passed, Restored
from cairn.health.check import Check, HttpRequest, Result
from cairn.net import L4Address, Protocol, parse_address

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HTTP = HttpRequest("/ready?a=b", host="web.example", headers=(("X-Who", "probe"),))


def at(port: int, address: str = "127.0.0.1") -> L4Address:
    return L4Address(parse_address(address), Protocol.TCP, port)


async def ask(where: L4Address, http: HttpRequest | None = None, *, timeout_s: float = 1) -> Result:
    return await check_backend(where, Check(http, timeout_s=timeout_s), Begin(7.0, whole=True))


@asynccontextmanager
async def server(
    handler: Handler, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[L4Address]:
    made = await asyncio.start_server(handler, address, 0, ssl=tls)
    try:
        yield at(made.sockets[0].getsockname()[1], address)
    finally:
        made.close()


def answers(text: bytes) -> tuple[Handler, list[bytes]]:
    """Return a handler that answers every request so, and what it was asked."""
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(text)
        await writer.drain()
        writer.close()

    return handle, asked


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_connect_is_answered_by_the_kernel_and_unseen_by_the_process(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        where = at(listener.getsockname()[1], address)
        assert await ask(where) == Result(7.0, ok=True, whole=True)
        listener.setblocking(False)
        for _ in range(50):
            with pytest.raises(BlockingIOError):
                listener.accept()
            await asyncio.sleep(0.001)


async def test_a_refusal_is_known_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = at(listener.getsockname()[1])
    expected = Result(7.0, False, True, "connection refused", refused=True)
    assert await ask(where) == expected
    assert await ask(where, HTTP) == expected


async def test_a_full_backlog_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        where = at(listener.getsockname()[1])
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", where.port))
        found = await ask(where, timeout_s=0.3)
        assert (found.ok, found.reason) == (False, "no answer within 0.3 s")
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 204\r\n\r\n" + b"x" * 100_000, ""),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404"),
        (b"HTTP/1.1 503 Later\r\n\r\n", "HTTP status 503"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "HTTP status 2000"),
        (b"HTTP/1.1 200", ""),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
        (b"\0" * 10_000, "the answer is not HTTP"),
        (b"", "closed without an answer"),
    ],
)
async def test_what_an_http_answer_says(answer: bytes, reason: str) -> None:
    handler, asked = answers(answer)
    async with server(handler) as where:
        found = await ask(where, HTTP)
    assert (found.ok, found.reason, found.refused) == (not reason, reason, False)
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "GET /ready?a=b HTTP/1.1"
    assert {f"Host: web.example:{where.port}", "X-Who: probe", "Connection: close"} <= {*lines}


async def test_a_server_that_hangs_is_given_up_after_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    async with server(hangs) as where:
        began = loop.time()
        found = await ask(where, HTTP, timeout_s=0.2)
        assert 0.19 <= loop.time() - began < 1
    assert (found.ok, found.whole, found.reason) == (False, True, "no answer within 0.2 s")


async def test_a_certificate_that_nobody_knows_is_good_enough(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=web"
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    handler, asked = answers(b"HTTP/1.1 200 OK\r\n\r\n")
    async with server(handler, tls=context) as where:
        assert (await ask(where, HttpRequest("/", secure=True))).ok
        assert asked
    async with server(handler) as where:
        found = await ask(where, HttpRequest("/", secure=True))
    assert not found.ok
    assert found.reason


class Watched:
    """A monitor, its verdicts, and counters of connections."""

    def __init__(self) -> None:
        self.seen: list[Verdict] = []
        self.news = asyncio.Event()
        self.counters = BackendCounters(0, 0, 0, 0)
        self.monitor = HealthMonitor(self._verdict)

    def _verdict(self, _: L4Address, event: Verdict) -> None:
        self.seen.append(event)
        self.news.set()

    async def until(self, *kinds: type[Verdict], within_s: float = 5.0) -> float:
        """Wait for these verdicts and return how long it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within_s):
            while [type(event) for event in self.seen] != list(kinds):
                self.news.clear()
                await self.news.wait()
        return loop.time() - began


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    bed = Watched()
    task = asyncio.create_task(bed.monitor.run(lambda _: bed.counters))
    try:
        yield bed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_backend_that_dies_is_ejected_within_a_second_and_restored() -> None:
    async with watched() as bed:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            where = at(listener.getsockname()[1])
            bed.monitor.set(where, Check())
            assert bed.monitor.undecided
            await bed.until(Passed)
        assert await bed.until(Passed, Ejected) < 1
        assert bed.monitor.ejected == {where: "connection refused"}
        with socket.create_server(("127.0.0.1", where.port)):
            await bed.until(Passed, Ejected, Restored)
            assert (bed.monitor.ejected, bed.monitor.undecided) == ({}, False)
        bed.monitor.set(where, None)
        assert bed.monitor.health(where) is None


async def test_refused_connections_have_a_backend_checked_long_before_its_interval() -> None:
    async with watched() as bed:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            where = at(listener.getsockname()[1])
            bed.monitor.set(where, Check(interval_s=60))
            await bed.until(Passed)
            await asyncio.sleep(0.3)
        bed.counters = BackendCounters(opened=1, refused=1, reset=0, answered=0)
        assert await bed.until(Passed, Ejected) < 2


async def test_what_was_ejected_before_stays_so_until_it_is_seen_well() -> None:
    async with watched() as bed:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            where = at(listener.getsockname()[1])
            bed.monitor.set(where, Check(), ejected="before")
            assert bed.monitor.health(where) is Health.EJECTED
            await bed.until(Restored)


@pytest.mark.parametrize(
    ("opened", "refused", "reset", "answered", "expected"),
    [
        (0, 0, 0, 0, False),
        (1, 1, 0, 0, True),
        (100, 1, 0, 99, True),
        (3, 0, 0, 0, False),
        (4, 0, 0, 0, True),
        (50, 0, 0, 1, False),
        (5, 0, 9, 5, False),
    ],
)
def test_signs_in_the_counters(
    opened: int, refused: int, reset: int, answered: int, expected: bool
) -> None:
    before = BackendCounters(1000, 10, 10, 900)
    now = BackendCounters(1000 + opened, 10 + refused, 10 + reset, 900 + answered)
    assert is_sign(before, now) == expected
