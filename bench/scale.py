"""What 10,000 Services with 10 backends each cost one node's agent.

    a fresh `cairn api` with the objects, a real agent in a namespace  ->  seconds, ms, MiB

Twice: all Services inside the cluster (as many with a node port as there are ports for), then all
with a load-balancer address, so with a Maglev table each.

Units       "from nothing" counts from the agent's having read the objects to its maps' being whole,
            both as the agent tells them; a changed endpoint from the moment at which its write is
            sent to the API, the API's own work included, until the maps choose it
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from api_process import Server, started
from memory import memory_of
from row import Row, at_most, percentile

from cairn.abi import structs
from cairn.libbpf import Map
from cairn.linux import mount, namespace
from cairn.linux.cgroup import unified_root

CAIRN = Path(sys.executable).with_name("cairn")
SERVICES, BACKENDS, NODE_PORTS = 10_000, 10, 2_500
CHANGES, AT_ONCE = 200, 32
NODE, ADDRESS = "node-1", "192.168.1.10"
NODES = tuple(f"node-{number}" for number in range(1, 5))
CLUSTER_IPS, VIPS, PODS = map(IPv4Address, ("10.96.8.0", "10.32.0.0", "10.64.0.0"))
FILL_AIM_S, RESTART_AIM_S, CHANGE_AIM_MS, AIM_MIB = 10.0, 5.0, 50.0, 150.0
IDLE_AIM_MIB = 70.0
DEADLINE_S, QUIET_S = 240.0, 2.0
CORE, DISCOVERY = "/api/v1/namespaces/default/services", "/apis/discovery.k8s.io/v1"
SLICES = f"{DISCOVERY}/namespaces/default/endpointslices"
READ = re.compile(r"(\d+) services: read in ([\d.]+) s, (\d+) frontends in force after ([\d.]+) s")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the agent runs."""

    netns: str
    pins: Path
    cgroup: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Filled:
    """What an agent told of its start."""

    pid: int
    read_s: float
    wrote_s: float
    ready_s: float
    """Since its process began."""


def run() -> list[Row]:
    """Measure in a namespace of its own."""
    with node() as place:
        return namespace.call_in(place.netns, asyncio.run, measure(place))


@contextlib.contextmanager
def node() -> Iterator[Place]:
    """Make the namespace, the pins' folder and the cgroup; they are gone afterwards."""
    name = f"bench-{secrets.token_hex(3)}"
    mount.ensure_bpffs()
    pins, group = Path("/sys/fs/bpf") / name, unified_root() / name
    with namespace.temporary(name), tempfile.TemporaryDirectory(prefix=name) as folder:
        for line in (
            "link set lo up",
            "link add eth0 type veth peer name far",
            f"addr add {ADDRESS}/24 dev eth0",
            "link set eth0 up",
            "link set far up",
        ):
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        group.mkdir()
        try:
            yield Place(name, pins, group, Path(folder))
        finally:
            shutil.rmtree(pins, ignore_errors=True)
            group.rmdir()


async def measure(place: Place) -> list[Row]:
    """Take all measurements."""
    async with started() as server:
        await prepare(server)
        async with agent(server, place, 0) as idle:
            await asyncio.sleep(QUIET_S)
            rows = [at_most("agent, memory at rest", rss(idle.pid), "MiB", IDLE_AIM_MIB, "RSS")]
        await gather(create(server, number) for number in range(SERVICES))
        rows += await one_set(server, place, "ClusterIP and node port", 50)
        await gather(publish(server, number) for number in range(SERVICES))
        return rows + await one_set(server, place, "load balancer", 150)


async def one_set(server: Server, place: Place, what: str, first_host: int) -> list[Row]:
    """Measure with the Services as they are now; new pods count from `first_host`."""
    shutil.rmtree(place.pins, ignore_errors=True)
    size = f"{SERVICES:,} Services, {what}"
    async with agent(server, place, SERVICES) as filled:
        delays = [
            1000 * await one_change(server, place, turn * 47 % SERVICES, first_host + turn % 100)
            for turn in range(CHANGES)
        ]
        memory = rss(filled.pid)
        peak = high_water(filled.pid)
    before = tables(place)
    async with agent(server, place, SERVICES) as again:
        kept = tables(place) == before
    return [
        at_most(
            f"{size}: from nothing", filled.wrote_s, "s", FILL_AIM_S,
            f"{SERVICES * BACKENDS:,} backends; before that {filled.read_s:.1f} s to list them, "
            f"{filled.ready_s:.1f} s from the start of the process",
        ),
        Row(f"{size}: endpoint changed, p50", percentile(delays, 50), "ms", f"of {CHANGES}"),
        at_most(
            f"{size}: endpoint changed, p99", percentile(delays, 99), "ms", CHANGE_AIM_MS,
            "from the API write's being sent until the maps choose the new one",
        ),
        at_most(f"{size}: agent, memory", memory, "MiB", AIM_MIB, f"RSS; highest {peak:.0f} MiB"),
        at_most(
            f"{size}: agent starts again", again.wrote_s, "s", RESTART_AIM_S,
            f"{'no table was' if kept else 'TABLES WERE'} written; {again.ready_s:.1f} s from the "
            "start of the process",
        ),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def agent(server: Server, place: Place, services: int) -> AsyncIterator[Filled]:
    """Run an agent until it has everything in its maps, and end it afterwards."""
    run_folder = place.folder / "run"
    run_folder.mkdir(exist_ok=True)
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        CAIRN, "agent", "--node", NODE, "--kubeconfig", str(server.kubeconfig),
        "--run", str(run_folder), "--bpf", str(place.pins), "--cgroup", str(place.cgroup),
        "--cni", str(place.folder), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    told: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while found := await process.stderr.readline():
                told.append(found.decode())
                if match := READ.search(told[-1]):
                    break
            else:
                raise RuntimeError(f"the agent ended: {''.join(told)}")
        assert int(match[1]) >= services, f"it knows {match[1]} services"
        ready_s = time.perf_counter() - begun
        drain = asyncio.create_task(swallow(process.stderr))
        yield Filled(process.pid, float(match[2]), float(match[4]), ready_s)
        drain.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def swallow(lines: asyncio.StreamReader) -> None:
    """Read on, so that the agent never waits for us; show what went wrong."""
    async for line in lines:
        if b" E agent" in line or b" W agent" in line:
            sys.stderr.write(line.decode())


async def prepare(server: Server) -> None:
    """Create the kinds, the node, and the other nodes' records."""
    crds = subprocess.run([CAIRN, "crds"], capture_output=True, check=True).stdout
    apply = ["kubectl", "--kubeconfig", str(server.kubeconfig), "apply", "-f", "-"]
    subprocess.run(apply, input=crds, check=True, capture_output=True)
    body = {"metadata": {"name": NODE}, "spec": {"podCIDRs": ["10.244.1.0/24"]}}
    status = {"addresses": [{"type": "InternalIP", "address": ADDRESS}]}
    await send(server, "POST", "/api/v1/nodes", body)
    await send(server, "PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status})
    for number, name in enumerate(NODES[1:], 11):
        record = {
            "metadata": {
                "name": name,
                "annotations": {"cairn.io/uplink-mac": f"02:00:00:00:00:{number:02x}"},
            },
            "spec": {
                "addresses": [{"type": "InternalIP", "ip": f"192.168.1.{number}"}],
                "ipam": {"podCIDRs": [f"10.244.{number}.0/24"]},
            },
        }
        await send(server, "POST", "/apis/cilium.io/v2/ciliumnodes", record)


async def create(server: Server, number: int) -> None:
    """Create one Service of the cluster and its slice."""
    has_port = number < NODE_PORTS
    spec = {
        "type": "NodePort" if has_port else "ClusterIP",
        "clusterIP": str(CLUSTER_IPS + number),
        "ports": [{"port": 80, "targetPort": 8080}],
    }
    await send(server, "POST", CORE, {"metadata": {"name": f"service-{number}"}, "spec": spec})
    await send(server, "POST", SLICES, endpoint_slice(number, range(BACKENDS)))


async def publish(server: Server, number: int) -> None:
    """Give one Service a load-balancer address."""
    path = f"{CORE}/service-{number}"
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    await send(server, "PATCH", path, {"spec": spec})
    status = {"loadBalancer": {"ingress": [{"ip": str(VIPS + number)}]}}
    await send(server, "PATCH", f"{path}/status", {"status": status})


def endpoint_slice(number: int, hosts: Iterable[int]) -> dict[str, Any]:
    """Return the slice of one Service with these of its possible pods."""
    name = f"service-{number}"
    return {
        "metadata": {
            "name": f"{name}-abcde",
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [str(pod(number, host))],
                "nodeName": home(host),
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {
                    "kind": "Pod",
                    "namespace": "default",
                    "name": f"{name}-7d4b9c6f5-x{host:04d}",
                    "uid": f"00000000-0000-4000-8000-{number:06d}{host:06d}",
                },
            }
            for host in hosts
        ],
    }


def home(host: int) -> str:
    """Return the node of a pod: never the measured one, whose checks would find nobody there."""
    return NODES[1 + host % (len(NODES) - 1)]


def pod(number: int, host: int) -> IPv4Address:
    """Return the address of one of a Service's possible pods."""
    return PODS + number * 256 + host


async def one_change(server: Server, place: Place, number: int, new: int) -> float:
    """Replace one endpoint of a Service by another; return the seconds until it is chosen."""
    maps = opened(place, "services", "service_slots", "backends", "table_digests")
    with contextlib.ExitStack() as stack:
        for table in maps.values():
            stack.enter_context(table)
        key = structs.ServiceKey(CLUSTER_IPS + number, 80, 6).write()
        service = structs.Service.read(maps["services"].lookup(key) or b"").id.to_bytes(4, "little")
        digest = maps["table_digests"].lookup(service)
        body = endpoint_slice(number, [*range(1, BACKENDS), new])
        begun = time.perf_counter()
        writing = asyncio.create_task(send(server, "PUT", f"{SLICES}/service-{number}-abcde", body))
        async with asyncio.timeout(DEADLINE_S):
            while not in_force(maps, service, pod(number, new), digest):
                await asyncio.sleep(0.001)
        spent = time.perf_counter() - begun
        await writing
    return spent


def in_force(
    maps: dict[str, Map], service: bytes, wanted: IPv4Address, digest: bytes | None
) -> bool:
    """Return whether sockets and, where it has a table, packets may get the backend."""
    if digest is not None and maps["table_digests"].lookup(service) in (digest, None):
        return False
    for slot in range(BACKENDS):
        backend = maps["service_slots"].lookup(service + slot.to_bytes(4, "little"))
        value = maps["backends"].lookup(backend) if backend else None
        if value and structs.Backend.read(value).address == wanted:
            return True
    return False


def opened(place: Place, *names: str) -> dict[str, Map]:
    """Return the agent's maps by name."""
    return {name: Map.open_pinned(place.pins / name) for name in names}


def tables(place: Place) -> dict[bytes, bytes]:
    """Return the kernel's number of each service's Maglev table, and its digest."""
    maps = opened(place, "maglev_small", "table_digests")
    found = dict(maps["maglev_small"].items())
    digests = dict(maps["table_digests"].items())
    for table in maps.values():
        table.close()
    return {key: number + digests.get(key, b"") for key, number in found.items()}


async def send(server: Server, method: str, path: str, body: dict[str, Any]) -> None:
    """Send one write and see it granted."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    async with server.http.request(
        method, server.url + path, data=json.dumps(body), headers={"Content-Type": kind}
    ) as answer:
        assert answer.status in (200, 201), await answer.text()


async def gather(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run the jobs, some at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(job: Coroutine[Any, Any, None]) -> None:
        async with gate:
            await job

    await asyncio.gather(*map(one, jobs))


def rss(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    held = memory_of(pid)
    assert held, f"process {pid} has ended"
    return held[0]


def high_water(pid: int) -> float:
    """Return the most that a process ever held in memory, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1024


if __name__ == "__main__":
    SERVICES = int(os.environ.get("SERVICES", SERVICES))
    for row in run():
        print(f"{row.figure:70} {row.value:10.2f} {row.unit:4} {row.aim:10} {row.meaning}")
