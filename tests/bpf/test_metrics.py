"""The agent's page of metrics, fetched over HTTP, of maps that packets went through."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from trial import LOCAL_ID, LOCAL_PORT, REMOTE_PORT, Trial, datagram, loaded, request

from cairn.abi.structs import BackendCounters
from cairn.agent.metrics import MOST_BACKENDS, MetricsServer, NodeMetrics
from cairn.agent.upkeep import Upkeep
from cairn.net import parse_address
from cairn.observe.lb_view import BackendName

pytestmark = pytest.mark.bpf

LOOPBACK = "127.0.0.1"
Page = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def trial() -> Iterator[Trial]:
    with loaded() as node:
        yield node


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def name_backends(numbers: Collection[int]) -> dict[int, BackendName]:
    return {n: BackendName(f"10.244.1.{n}:8080", "default/web") for n in numbers}


@asynccontextmanager
async def serving(trial: Trial, port: int, pins: Path) -> AsyncIterator[Upkeep]:
    upkeep = Upkeep(trial.maps, lambda _: None)
    metrics = NodeMetrics(trial.maps, pins, upkeep, name_backends)
    server = MetricsServer([metrics], [parse_address(LOOPBACK)], port)
    task = asyncio.create_task(server.run())
    try:
        yield upkeep
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def fetch(port: int, accept: str = "text/plain") -> tuple[str, str]:
    """Return the page and its type, once somebody serves it."""
    url = f"http://{LOOPBACK}:{port}/metrics"
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            try:
                async with session.get(url, headers={"Accept": accept}) as response:
                    assert response.status == 200
                    return await response.text(), response.content_type
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


def samples(text: str) -> Page:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_packets_did(trial: Trial, tmp_path: Path) -> None:
    counters = trial.maps["backend_counters"]
    counters.update(LOCAL_ID.to_bytes(4, "little"), BackendCounters(0, 0, 0, 0).write())
    trial.run(request(LOCAL_PORT))
    trial.run(datagram(REMOTE_PORT))
    port = free_port()
    async with serving(trial, port, tmp_path) as upkeep:
        upkeep.once()
        page = samples((await fetch(port))[0])
    assert page["cairn_packets_total", ("uplink", "TO_BACKEND")] == 1
    assert page["cairn_packets_total", ("uplink", "HANDED_OVER")] == 1
    assert page["cairn_octets_total", ("uplink", "TO_BACKEND")] > 40
    assert page["cairn_map_entries", ("conntrack",)] == 3
    assert page["cairn_map_max_entries", ("refuses", "conntrack")] == 1024
    assert page["cairn_connections", ("opening",)] == 1
    assert page["cairn_connections", ("datagrams",)] == 1
    assert page["cairn_backend_opened_total", (f"10.244.1.{LOCAL_ID}:8080", "default/web")] == 1
    assert page["cairn_events_lost_total", ()] == 0
    assert page["process_resident_memory_bytes", ()] > 1e6


async def test_backends_are_told_up_to_a_number(trial: Trial, tmp_path: Path) -> None:
    for number in range(1, MOST_BACKENDS + 11):
        value = BackendCounters(number, 0, 0, 0).write()
        trial.maps["backend_counters"].update(number.to_bytes(4, "little"), value)
    port = free_port()
    async with serving(trial, port, tmp_path):
        page = samples((await fetch(port))[0])
    told = [value for (name, _), value in page.items() if name == "cairn_backend_opened_total"]
    assert sorted(told) == list(range(11, MOST_BACKENDS + 11)), "the busiest"
    assert page["cairn_backends_untold", ()] == 10


async def test_openmetrics_for_who_asks(trial: Trial, tmp_path: Path) -> None:
    port = free_port()
    async with serving(trial, port, tmp_path):
        text, kind = await fetch(port, "application/openmetrics-text; version=1.0.0")
    assert kind == "application/openmetrics-text"
    assert text.endswith("# EOF\n")


async def test_a_port_in_use_is_said_in_one_line(
    trial: Trial, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = int(taken.getsockname()[1])
        async with serving(trial, port, tmp_path), asyncio.timeout(20):
            while not caplog.messages:
                await asyncio.sleep(0.02)
    (line,) = caplog.messages
    assert f"metrics at {LOOPBACK} port {port}: " in line
    assert "--metrics PORT" in line
    assert "\n" not in line
