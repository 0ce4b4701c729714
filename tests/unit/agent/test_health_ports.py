"""healthCheckNodePort: a real server on the loopback interface, asked over both families."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cairn.agent.health_ports import HealthPorts, LocalService
from cairn.kube.metadata import Key

WEB, API = Key("default", "web"), Key("default", "api")


class Bed:
    """Ports, what failed, and whether the node is healthy."""

    def __init__(self) -> None:
        self.failures: list[tuple[Key, int, str]] = []
        self.healthy = True
        self.ports = HealthPorts(lambda *told: self.failures.append(told))


@asynccontextmanager
async def running() -> AsyncIterator[Bed]:
    bed = Bed()
    task = asyncio.create_task(bed.ports.run(lambda: bed.healthy))
    try:
        yield bed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def free_port() -> int:
    with socket.create_server(("", 0)) as made:
        return int(made.getsockname()[1])


async def fetch(port: int, address: str = "127.0.0.1", head: bytes = b"GET /") -> bytes:
    """Return the answer; waits until somebody listens."""
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            writer.write(head + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer


async def until_closed(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue  # closed while it was being opened
            writer.close()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("backends", "healthy", "status"), [(2, True, 200), (0, True, 503), (2, False, 503)]
)
async def test_the_answer_is_kube_proxys(
    address: str, backends: int, healthy: bool, status: int
) -> None:
    async with running() as bed:
        bed.healthy = healthy
        port = free_port()
        bed.ports.set(WEB, (port, LocalService(WEB, backends)))
        head, _, body = (await fetch(port, address)).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0].split()[1] == str(status)
        assert f"X-Load-Balancing-Endpoint-Weight: {backends}" in lines
        assert json.loads(body) == {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": backends,
            "serviceProxyHealthy": healthy,
        }
        assert (await fetch(port, address, b"HEAD /")) == head + b"\r\n\r\n"


async def test_ports_follow_their_services() -> None:
    async with running() as bed:
        first, second = free_port(), free_port()
        bed.ports.set(WEB, (first, LocalService(WEB, 1)))
        bed.ports.set(API, (second, LocalService(API, 1)))
        assert b"web" in await fetch(first)
        assert b"api" in await fetch(second)
        bed.ports.set(API, None)
        await until_closed(second)
        bed.ports.set(WEB, (second, LocalService(WEB, 0)))
        await until_closed(first)
        assert b" 503 " in await fetch(second)
        assert bed.failures == []


async def test_a_port_in_use_is_told_once_and_opened_when_it_is_free() -> None:
    async with running() as bed:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as other:
            port = int(other.getsockname()[1])
            bed.ports.set(WEB, (port, LocalService(WEB, 1)))
            async with asyncio.timeout(10):
                while not bed.failures:
                    await asyncio.sleep(0.01)
        assert b" 200 " in await fetch(port)
        assert bed.failures == [(WEB, port, "address already in use"), (WEB, port, "")]


async def test_silent_and_senseless_clients_harm_nobody() -> None:
    async with running() as bed:
        port = free_port()
        bed.ports.set(WEB, (port, LocalService(WEB, 1)))
        await fetch(port)
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\xff" * 100_000)
        writer.close()
        assert b" 200 " in await fetch(port)
        for _, client in silent:
            client.close()
