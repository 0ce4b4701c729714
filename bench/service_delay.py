"""How soon the router's kernel follows the cluster: a new Service, a pod that stops being ready.

    API and `ip monitor` in the router's namespace, one clock  ->  milliseconds

A new Service counts from the API's answer to its creation. A failed pod counts from the moment
a watcher is told that the pod is not ready: the probe's own period is not in the figure.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import running
from row import Row, at_most, percentile

from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import PODS, SERVICES

SERVICES_MADE = 30
FAILURES = 10
DEADLINE_S = 20.0
AIM_MS = 1000.0
LABEL = {"io.cilium/lb-ipam-ips": "pool-homelab"}


@dataclass
class Routes:
    """The router's routes to addresses of the pool, as its kernel tells of them."""

    hops: dict[str, set[str]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    last_s: float = 0.0

    async def until(self, condition: Callable[[dict[str, set[str]]], bool]) -> float:
        """Return when a change made the condition hold."""
        async with asyncio.timeout(DEADLINE_S), self.changed:
            while not condition(self.hops):
                await self.changed.wait()
            return self.last_s

    async def follow(self, lines: asyncio.StreamReader) -> None:
        """Read what `ip -o monitor route` prints."""
        async for raw in lines:
            words = raw.decode().replace("\\", " ").split()
            gone = words[0] == "Deleted"
            address = words[1 if gone else 0]
            hops = {words[i + 1] for i, word in enumerate(words) if word == "via"}
            async with self.changed:
                self.last_s = time.perf_counter()
                self.hops[address] = set() if gone else hops
                self.changed.notify_all()


@asynccontextmanager
async def watched(netns: str) -> AsyncIterator[Routes]:
    """Follow the routes of a namespace."""
    monitor = await asyncio.create_subprocess_exec(
        "ip", "-n", netns, "-o", "monitor", "route", stdout=asyncio.subprocess.PIPE
    )
    assert monitor.stdout is not None
    routes = Routes()
    following = asyncio.create_task(routes.follow(monitor.stdout))
    try:
        yield routes
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        monitor.terminate()
        await monitor.wait()


def run() -> list[Row]:
    """Measure both."""
    return asyncio.run(measure())


async def measure() -> list[Row]:
    """Take the measurements."""
    lab = running.lab()
    async with Client.connect(lab.kubeconfig) as client, watched(lab.netns("router")) as routes:
        delays = [
            await one_service(client, routes, f"delay-{number}") for number in range(SERVICES_MADE)
        ]
        withdrawn = [await one_failure(client, routes) * 1000 for _ in range(FAILURES)]
    first, whole, gone = (
        [1000 * value for value in column] for column in zip(*delays, strict=True)
    )
    made, failed = f"of {SERVICES_MADE} Services", f"of {FAILURES} failures"
    return [
        Row("new Service to first next hop, p50", statistics.median(first), "ms", made),
        at_most(
            "new Service to first next hop, p99", percentile(first, 99), "ms", AIM_MS,
            f"{made}: the greatest; from the API's answer to the router's kernel",
        ),
        Row("new Service to all three next hops, p50", statistics.median(whole), "ms", made),
        Row("new Service to all three next hops, p99", percentile(whole, 99), "ms", made),
        Row("Service deleted to no route, p50", statistics.median(gone), "ms", made),
        Row("Service deleted to no route, p99", percentile(gone, 99), "ms", made),
        Row("pod not ready to next hop gone, p50", statistics.median(withdrawn), "ms", failed),
        at_most(
            "pod not ready to next hop gone, greatest", max(withdrawn), "ms", AIM_MS,
            f"{failed}; from a watcher's news to the router's kernel",
        ),
    ]  # fmt: skip


async def one_service(client: Client, routes: Routes, name: str) -> tuple[float, float, float]:
    """Return the seconds to the first next hop, to all, and from deletion to none."""
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": LABEL},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web-app"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }
    routes.hops.clear()
    await client.create(SERVICES, body)
    start = time.perf_counter()
    try:
        first = await routes.until(lambda hops: any(hops.values()))
        whole = await routes.until(lambda hops: any(len(via) == 3 for via in hops.values()))
    finally:
        await client.delete(SERVICES, Key("default", name))
    deleted = time.perf_counter()
    gone = await routes.until(lambda hops: not any(hops.values()))
    return first - start, whole - start, gone - deleted


async def one_failure(client: Client, routes: Routes) -> float:
    """Return the seconds from a pod's being seen not ready to its node's withdrawal."""
    pods, version = await client.list(PODS, namespace="default", label_selector="app=web-app")
    pod = pods[0]
    name, hop = pod["metadata"]["name"], pod["status"]["hostIP"]
    vip = running.VIP
    routes.hops[vip] = set(running.NODES)
    watch = client.watch(PODS, namespace="default", label_selector="app=web-app",
                         resource_version=version)  # fmt: skip
    told = asyncio.create_task(not_ready(watch, name))
    try:
        await tell(name, "fail")
        start = await told
        end = await routes.until(lambda hops: hop not in hops[vip])
    finally:
        await tell(name, "recover")
    await routes.until(lambda hops: hop in hops[vip])
    return end - start


async def not_ready(watch: AsyncIterator[tuple[str, dict[str, Any]]], name: str) -> float:
    """Return when the watch told that the pod is not ready."""
    async with asyncio.timeout(DEADLINE_S):
        async for _, pod in watch:
            if pod["metadata"]["name"] != name:
                continue
            conditions = pod["status"].get("conditions", ())
            if any(c["type"] == "Ready" and c["status"] == "False" for c in conditions):
                return time.perf_counter()
    raise RuntimeError(f"the watch ended without news of pod {name}")


async def tell(pod: str, what: str) -> None:
    """Tell the web server in a pod to fail or recover."""
    url = f"http://127.0.0.1:8080/{what}"
    argv = ("lab", "exec", "--name", running.lab().name, f"pod/default/{pod}", "--")
    process = await asyncio.create_subprocess_exec(
        running.CAIRN, *argv, "curl", "-sS", "-X", "POST", url, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0, f"POST {url} in pod {pod} failed"
