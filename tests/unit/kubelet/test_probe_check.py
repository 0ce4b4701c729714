"""The checks that probes make, against real sockets."""

import asyncio
from typing import Any

import pytest

from cairn.lab.kubelet.probe_check import BadProbe, check, port_of

CONTAINER = {"name": "a", "ports": [{"name": "http", "containerPort": 8080}]}


async def never(argv: list[str], timeout_s: float) -> tuple[int, str]:
    raise AssertionError("no command was asked for")


async def probe(action: dict[str, Any], timeout_s: float = 1.0) -> tuple[bool, str]:
    verdict = await check(action, CONTAINER, "127.0.0.1", timeout_s, never)
    return verdict.ok, verdict.message


async def serve(answer: bytes) -> asyncio.Server:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(connection, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", False),
        (b"nonsense\r\n", False),
        (b"", False),
    ],
)
async def test_http(answer: bytes, ok: bool) -> None:
    async with await serve(answer) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await probe({"httpGet": {"port": port, "path": "/healthz"}}))[0] is ok


async def test_tcp_and_refused() -> None:
    async with await serve(b"") as server:
        port = server.sockets[0].getsockname()[1]
        assert (await probe({"tcpSocket": {"port": port}}))[0]
    ok, message = await probe({"tcpSocket": {"port": port}})
    assert not ok
    assert "Connect call failed" in message


async def test_silence_times_out() -> None:
    async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await probe({"httpGet": {"port": port}}, 0.1) == (False, "no answer within 0.1 s")


async def test_command_decides() -> None:
    async def run(argv: list[str], timeout_s: float) -> tuple[int, str]:
        return (0 if argv == ["true"] else 3), "said\n"

    held = await check({"exec": {"command": ["true"]}}, CONTAINER, "", 1.0, run)
    failed = await check({"exec": {"command": ["false"]}}, CONTAINER, "", 1.0, run)
    assert held.ok
    assert (failed.ok, failed.message) == (False, "exit status 3: said")


async def test_probe_without_action_is_named() -> None:
    assert await probe({"grpc": {"port": 1}}) == (
        False,
        "the probe names none of exec, httpGet, tcpSocket",
    )


def test_ports_by_number_and_name() -> None:
    assert (port_of(CONTAINER, 1), port_of(CONTAINER, "http"), port_of(CONTAINER, "7")) == (
        1,
        8080,
        7,
    )
    with pytest.raises(BadProbe, match="no port named 'https'"):
        port_of(CONTAINER, "https")
