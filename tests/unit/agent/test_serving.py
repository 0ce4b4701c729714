"""What a node says that it serves: real backends on the loopback, a real API for what is told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from cairn.abi.structs import BackendCounters
from cairn.agent.cluster import Cluster
from cairn.agent.serving import Serving
from cairn.compile.announcements import Announced
from cairn.compile.ejection import exclude_ejected
from cairn.compile.health_checks import local_frontends
from cairn.compile.services import compile_service
from cairn.desired.load_balancer import Backend, Frontend, LbState
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.node import EJECTED
from cairn.kube.resource import CILIUM_NODES, EVENTS
from cairn.kube.service import Service
from cairn.net import L4Address, parse_address

VIP = parse_address("192.168.1.100")
NODE = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNode",
    "metadata": {"name": "node-1"},
    "spec": {"addresses": [{"type": "InternalIP", "ip": "192.168.1.10"}]},
}


def on_loopback(state: LbState) -> LbState:
    """Put the backends where the test's own servers listen: no slice may name such addresses."""
    return {
        where: replace(frontend, backends=tuple(map(_moved, frontend.backends)))
        for where, frontend in state.items()
    }


def _moved(backend: Backend) -> Backend:
    last = str(backend.address.address).rpartition(".")[2]
    return replace(
        backend, address=replace(backend.address, address=parse_address(f"127.0.0.{last}"))
    )


class Bed:
    """A node's decisions, with what it was told and what it tells."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cluster = Cluster(client, "node-1")
        self.recorder = EventRecorder(client, "cairn-agent")
        self.told: list[dict[Key, Announced]] = []
        self.ejected: frozenset[L4Address] = frozenset()
        self.path = ""
        self.proofs: list[L4Address] = []
        self.compiled: dict[Key, LbState] = {}
        self.announced: dict[Key, Announced] = {}
        self.serving = Serving(
            client,
            self.cluster,
            "node-1",
            self._prove,
            self.recorder,
            on_serving=self._on_serving,
        )

    def _prove(self, where: L4Address, _: Frontend, here: Collection[Backend]) -> str:
        assert here
        self.proofs.append(where)
        return self.path

    def _on_serving(self, told: Mapping[Key, Announced], _: Collection[Key]) -> None:
        self.told.append(dict(told))

    def set_ejected(self, ejected: frozenset[L4Address]) -> None:
        """Do what the reconciler does: compile the Services again."""
        if ejected != self.ejected:
            self.ejected = ejected
            for key, state in self.compiled.items():
                left = exclude_ejected(state, {"node-1": ejected})
                self._announce(self.announced[key].service, left)
            loop = asyncio.get_running_loop()
            loop.call_soon(self.serving.services, self.announced, list(self.compiled))

    def _announce(self, service: Service, state: LbState) -> None:
        here = local_frontends(service, state, "node-1")
        self.announced[service.key] = Announced(service, {4: 1}, here)

    def serve(self, name: str, port: int, *, annotation: str = "", **spec: Any) -> None:
        """Have a Service served by a process of this node."""
        annotations = {"cairn.io/health-check": annotation} if annotation else {}
        service = Service.from_object(
            {
                "metadata": {
                    "namespace": "default",
                    "name": name,
                    "uid": f"uid-{name}",
                    "annotations": annotations,
                },
                "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
                "status": {"loadBalancer": {"ingress": [{"ip": str(VIP)}]}},
            }
        )
        part = EndpointSlice.from_object(
            {
                "metadata": {
                    "namespace": "default",
                    "name": f"{name}-1",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "ports": [{"name": "", "port": port}],
                "endpoints": [
                    {"addresses": ["192.0.2.1"], "nodeName": "node-1"},
                    {"addresses": ["192.0.2.9"], "nodeName": "node-2"},
                ],
            }
        )
        state = self.compiled[service.key] = on_loopback(compile_service(service, [part]))
        self._announce(service, state)
        self.serving.services(self.announced, [service.key])

    def serves(self, name: str) -> bool:
        """Return whether the address of a Service would be announced now."""
        entry = self.told[-1].get(Key("default", name)) if self.told else None
        return entry is not None and bool(entry.local_backends) and VIP not in entry.withheld

    async def until(self, what: str, condition: Callable[[], bool], within_s: float = 8) -> None:
        """Wait for a condition."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {within_s} s") from None

    async def events(self, reason: str) -> list[str]:
        """Return the messages of the Events of one reason, once there is one."""
        async with asyncio.timeout(8):
            while True:
                items, _ = await self.client.list(EVENTS, namespace="default")
                found = [item["message"] for item in items if item["reason"] == reason]
                if found:
                    return found
                await asyncio.sleep(0.05)

    async def annotation(self) -> str:
        node = await self.client.get(CILIUM_NODES, Key("", "node-1"))
        return str((node["metadata"].get("annotations") or {}).get(EJECTED, ""))


@asynccontextmanager
async def running(bed: Bed) -> AsyncIterator[Bed]:
    tasks = [asyncio.create_task(runner) for runner in bed.cluster.runners()]
    tasks.append(asyncio.create_task(bed.recorder.run()))
    await bed.cluster.synced()
    count = BackendCounters(0, 0, 0, 0)
    tasks.append(
        asyncio.create_task(bed.serving.run(bed.set_ejected, lambda _: count, lambda: True))
    )
    try:
        yield bed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def bed(client: Client) -> Bed:
    await client.create(CILIUM_NODES, NODE)
    return Bed(client)


def backend(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=64)


async def test_an_address_goes_out_with_its_first_good_backend_and_comes_back_with_it(
    bed: Bed,
) -> None:
    listener = backend()
    port = int(listener.getsockname()[1])
    bed.serve("web", port)
    assert bed.told == [], "nothing is told before the backend was judged"
    async with running(bed):
        await bed.until("announced", lambda: bed.serves("web"))
        assert len(bed.proofs) == 1
        listener.close()
        await bed.until("withdrawn", lambda: not bed.serves("web"), within_s=2)
        assert len(bed.ejected) == 1
        assert f"127.0.0.1:{port}/TCP does not serve" in (await bed.events("BackendEjected"))[0]
        assert await bed.annotation() == f"127.0.0.1:{port}/TCP connection refused"
        with backend(port):
            await bed.until("announced again", lambda: bed.serves("web"))
            assert await bed.events("BackendRestored")
            assert not bed.ejected
            async with asyncio.timeout(8):
                while await bed.annotation():
                    await asyncio.sleep(0.05)


async def test_a_path_that_is_not_proven_is_withheld_told_and_tried_again(bed: Bed) -> None:
    bed.path = "192.168.1.100 is not in the map vips"
    with backend() as listener:
        async with running(bed):
            bed.serve("web", listener.getsockname()[1])
            message = (await bed.events("PathNotProven"))[0]
            assert message == f"{VIP}:80/TCP is not announced by node-1: {bed.path}"
            assert not bed.serves("web")
            bed.path = ""
            await bed.until("announced", lambda: bed.serves("web"))


@pytest.mark.parametrize(
    ("annotation", "spec"),
    [("off", {}), ("", {"ports": [{"port": 80, "protocol": "UDP"}]})],
)
async def test_what_is_not_checked_is_served_though_nobody_listens(
    bed: Bed, annotation: str, spec: dict[str, Any]
) -> None:
    with backend() as listener:
        port = int(listener.getsockname()[1])
    async with running(bed):
        bed.serve("web", port, annotation=annotation, **spec)
        if not spec:
            await bed.until("announced", lambda: bed.serves("web"))
        await asyncio.sleep(1)
        assert not bed.ejected


async def test_an_annotation_that_cannot_be_read_is_told(bed: Bed) -> None:
    with backend() as listener:
        async with running(bed):
            bed.serve("web", listener.getsockname()[1], annotation="ping")
            message = (await bed.events("HealthCheckUnreadable"))[0]
            assert "'ping' is no kind of check" in message
            await bed.until("announced", lambda: bed.serves("web"))


async def test_after_a_restart_what_an_earlier_agent_ejected_stays_so(bed: Bed) -> None:
    with backend() as listener:
        port = int(listener.getsockname()[1])
    said = {"metadata": {"annotations": {EJECTED: f"127.0.0.1:{port}/TCP connection refused"}}}
    await bed.client.patch(CILIUM_NODES, Key("", "node-1"), said)
    async with running(bed):
        bed.serve("web", port)
        assert not bed.serves("web")
        with backend(port):
            await bed.until("announced", lambda: bed.serves("web"))
            async with asyncio.timeout(8):
                while await bed.annotation():
                    await asyncio.sleep(0.05)


async def test_a_check_that_is_changed_does_not_withdraw_what_serves(bed: Bed) -> None:
    with backend() as listener:
        port = int(listener.getsockname()[1])
        async with running(bed):
            bed.serve("web", port)
            await bed.until("announced", lambda: bed.serves("web"))
            bed.told.clear()
            bed.serve("web", port, annotation="tcp interval=300ms")
            bed.serve("web", port, annotation="off")
            bed.serve("web", port)
            await bed.until("judged", lambda: bed.serves("web"))


async def test_the_health_check_node_port_counts_the_backends_here(bed: Bed) -> None:
    with backend() as listener, backend() as other:
        port = int(other.getsockname()[1])
        other.close()
        async with running(bed):
            bed.serve("web", listener.getsockname()[1], healthCheckNodePort=port)
            await bed.until("announced", lambda: bed.serves("web"))
            assert b'"localEndpoints":1' in await asked(port)
            listener.close()
            await bed.until("ejected", lambda: bool(bed.ejected))
            assert b" 503 " in await asked(port)


async def asked(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer
