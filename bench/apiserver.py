"""Measure the embedded API server: list time, write-to-watch latency, write rate, memory.

a fresh `cairn api` on loopback  ->  rows, each with its aim
"""

import asyncio
import json
import statistics
import time

from api_process import Server, rss_mib, started
from row import Row, at_most, percentile

PODS_PATH = "/api/v1/namespaces/default/pods"
PODS, WATCHERS, WRITES, LISTS = 10_000, 50, 300, 5
MEMORY_MIB, LIST_S, LATENCY_MS = 100.0, 0.5, 20.0
AT_ONCE = 32


def run() -> list[Row]:
    """Start a server, measure it, end it."""
    return asyncio.run(measure())


def pod(number: int) -> dict[str, object]:
    """Return a pod as a Deployment makes them."""
    return {
        "metadata": {"name": f"web-{number}", "labels": {"app": "web", "tier": f"t{number % 9}"}},
        "spec": {
            "nodeName": f"node-{number % 3 + 1}",
            "containers": [
                {
                    "name": "web",
                    "image": "cairn.io/lab/web:1",
                    "ports": [{"containerPort": 8080, "name": "http"}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                    "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
                    "env": [{"name": "NODE", "value": f"node-{number % 3 + 1}"}],
                }
            ],
        },
    }


async def measure() -> list[Row]:
    """Take all measurements."""
    async with started() as server:
        idle = rss_mib(server.pid)
        rate = await create_pods(server)
        full = rss_mib(server.pid)
        listed = [await list_pods(server) for _ in range(LISTS)]
        after = rss_mib(server.pid)
        writes, delays = await write_to_watchers(server)
        return [
            Row("API server, memory at start", idle, "MiB", "RSS"),
            Row("API server, Pods created", rate, "/s", f"{AT_ONCE} at a time, each on disk"),
            at_most(f"API server, memory with {PODS:,} Pods", full, "MiB", MEMORY_MIB, "RSS"),
            at_most(
                f"API server, list of {PODS:,} Pods", statistics.median(listed), "s", LIST_S,
                "what an informer does at its start",
            ),
            Row("API server, memory after the lists", after, "MiB", "RSS"),
            Row(
                "API server, one write answered, p50", statistics.median(writes), "ms",
                "durable before it is answered",
            ),
            Row(
                f"API server, a write to the last of {WATCHERS} watchers, p50",
                statistics.median(delays), "ms", "how soon agents know",
            ),
            at_most(
                f"API server, a write to the last of {WATCHERS} watchers, p99",
                percentile(delays, 99), "ms", LATENCY_MS, "how soon agents know",
            ),
        ]  # fmt: skip


async def create_pods(server: Server) -> float:
    """Create all Pods and return how many a second."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def create(number: int) -> None:
        url = server.url + PODS_PATH
        async with gate, server.http.post(url, json=pod(number)) as answer:
            assert answer.status == 201, await answer.text()

    start = time.perf_counter()
    await asyncio.gather(*(create(number) for number in range(PODS)))
    return PODS / (time.perf_counter() - start)


async def list_pods(server: Server) -> float:
    """Return the seconds from asking for all Pods to the last octet."""
    start = time.perf_counter()
    async with server.http.get(server.url + "/api/v1/pods") as answer:
        body = await answer.read()
    spent = time.perf_counter() - start
    assert len(json.loads(body)["items"]) == PODS
    return spent


async def write_to_watchers(server: Server) -> tuple[list[float], list[float]]:
    """Return the milliseconds until a write is answered, and until the last watcher has it."""
    arrived: dict[str, list[float]] = {}
    ready = asyncio.Semaphore(0)
    url = server.url + PODS_PATH

    async def watch() -> None:
        query = f"{url}?watch=true&resourceVersion={revision}"
        async with server.http.get(query) as answer:
            ready.release()
            async for line in answer.content:
                now = time.perf_counter()
                value = line.partition(b'"bench":"')[2].partition(b'"')[0].decode()
                if value:
                    arrived.setdefault(value, []).append(now)

    async with server.http.get(url + "?limit=1") as answer:
        revision = (await answer.json())["metadata"]["resourceVersion"]
    tasks = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    for _ in tasks:
        await ready.acquire()
    writes, delays = [], []
    for number in range(WRITES):
        start = time.perf_counter()
        patch = json.dumps({"metadata": {"annotations": {"bench": str(number)}}})
        headers = {"Content-Type": "application/merge-patch+json"}
        async with server.http.patch(f"{url}/web-0", data=patch, headers=headers) as answer:
            assert answer.status == 200
        writes.append((time.perf_counter() - start) * 1000)
        while len(arrived.get(str(number), ())) < WATCHERS:
            await asyncio.sleep(0.001)
        delays.append((max(arrived[str(number)]) - start) * 1000)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return writes, delays
