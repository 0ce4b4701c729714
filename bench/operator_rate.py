"""How long the operator takes until the last of 10,000 Services has its address in its status.

    a fresh `cairn api` with Services and a pool, then `cairn operator`  ->  seconds

Unlike ipam.py this holds everything: lists, choice, and 10,000 durable status writes.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from api_process import Server, rss_mib, started
from row import Row, at_most

CAIRN = Path(sys.executable).with_name("cairn")
SERVICES, AT_ONCE = 10_000, 32
AIM_S, DEADLINE_S = 5.0, 120.0
SERVICES_PATH = "/api/v1/namespaces/default/services"
POOLS_PATH = "/apis/cilium.io/v2alpha1/ciliumloadbalancerippools"
POOL = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumLoadBalancerIPPool",
    "metadata": {"name": "bench"},
    "spec": {"blocks": [{"cidr": "10.32.0.0/16"}]},
}


def run() -> list[Row]:
    """Start a server, fill it, start the operator, wait."""
    return asyncio.run(measure())


async def measure() -> list[Row]:
    """Take the measurement."""
    async with started() as server:
        crds = subprocess.run([CAIRN, "crds"], capture_output=True, check=True).stdout
        apply = ["kubectl", "--kubeconfig", str(server.kubeconfig), "apply", "-f", "-"]
        subprocess.run(apply, input=crds, check=True, capture_output=True)
        await create_services(server)
        async with server.http.post(server.url + POOLS_PATH, json=POOL) as answer:
            assert answer.status == 201, await answer.text()
        spent, memory = await operate(server)
    return [
        at_most(
            f"operator, {SERVICES:,} Services addressed", spent, "s", AIM_S,
            "from its start, until the last status is written, durable, and seen by a watcher",
        ),
        Row(f"operator, memory with {SERVICES:,} Services", memory, "MiB", "RSS"),
    ]  # fmt: skip


async def create_services(server: Server) -> None:
    """Create the Services, without node ports, of which a cluster has only 2,768."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def create(number: int) -> None:
        spec = {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": False,
            "selector": {"app": f"app-{number}"},
            "ports": [{"port": 80}],
        }
        body = {"metadata": {"name": f"service-{number}"}, "spec": spec}
        async with gate, server.http.post(server.url + SERVICES_PATH, json=body) as answer:
            assert answer.status == 201, await answer.text()

    await asyncio.gather(*(create(number) for number in range(SERVICES)))


async def operate(server: Server) -> tuple[float, float]:
    """Run the operator; return the seconds it took and its memory."""
    async with server.http.get(server.url + SERVICES_PATH + "?limit=1") as answer:
        revision = (await answer.json())["metadata"]["resourceVersion"]
    query = f"{server.url}{SERVICES_PATH}?watch=true&resourceVersion={revision}"
    addressed: set[bytes] = set()
    async with asyncio.timeout(DEADLINE_S), server.http.get(query) as watch:
        start = time.perf_counter()
        operator = await asyncio.create_subprocess_exec(
            CAIRN, "operator", "--kubeconfig", str(server.kubeconfig),
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async for line in watch.content:
                if b'"ip":"10.32.' in line:
                    addressed.add(line.partition(b'"name":"service-')[2].partition(b'"')[0])
                if len(addressed) == SERVICES:
                    break
            return time.perf_counter() - start, rss_mib(operator.pid)
        finally:
            operator.terminate()
            await operator.wait()
