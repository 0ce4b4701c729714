"""The agent ends sockets as backends go: datagrams at once, TCP when the pod is really gone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from apiserver_bed import Process, api
from socket_bed import SocketBed, is_ended, place, socket_bed

from cairn.agent.dead_sockets import AGAIN_S, DeadSockets
from cairn.apply.socket_end import Place
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import PODS
from cairn.net import Protocol

__all__ = ["api"]
pytestmark = [pytest.mark.root, pytest.mark.bpf]

HOST = "127.0.0.1"
POD = Key("default", "backend")


@pytest.fixture
def bed() -> Iterator[SocketBed]:
    with socket_bed() as made:
        yield made


@pytest.fixture
async def client(api: Process) -> AsyncIterator[Client]:
    async with Client.connect(str(api.kubeconfig)) as found:
        yield found


@pytest.fixture
async def used() -> set[Place]:
    """Backends that frontends use again."""
    return set()


@pytest.fixture
async def dead(client: Client, bed: SocketBed, used: set[Place]) -> AsyncIterator[DeadSockets]:
    sockets = DeadSockets(client, bed.reverse, lambda: bed.paths)
    task = asyncio.create_task(sockets.run(used.__contains__))
    yield sockets
    assert not task.done(), task.exception()
    task.cancel()
    await asyncio.wait([task])


async def until(condition: Callable[[], bool], within_s: float = AGAIN_S + 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def run_pod(client: Client) -> None:
    """Have a pod at HOST, as its kubelet would report it."""
    containers = [{"name": "main", "image": "toolbox"}]
    metadata = {"namespace": POD.namespace, "name": POD.name}
    await client.create(PODS, {"metadata": metadata, "spec": {"containers": containers}})
    status = {"phase": "Running", "podIP": HOST, "podIPs": [{"ip": HOST}]}
    await client.patch(PODS, POD, {"status": status}, subresource="status")


async def test_datagrams_end_though_the_pod_runs(
    client: Client, bed: SocketBed, dead: DeadSockets
) -> None:
    await run_pod(client)
    port = bed.listen(bed.names[0], HOST, Protocol.UDP)
    sock = bed.connect(bed.names[0], HOST, port, Protocol.UDP)
    dead.release(place(HOST, port))
    await until(lambda: is_ended(sock))


async def test_tcp_ends_when_the_pod_has_gone(
    client: Client, bed: SocketBed, dead: DeadSockets
) -> None:
    await run_pod(client)
    name = bed.names[1]
    port = bed.listen(name, HOST, Protocol.TCP)
    sock = bed.connect(name, HOST, port, Protocol.TCP)
    datagrams = bed.connect(name, HOST, port, Protocol.UDP)
    dead.release(place(HOST, port))
    # When the datagrams have ended, TCP has been looked at.
    await until(lambda: is_ended(datagrams))
    assert not is_ended(sock)
    await client.delete(PODS, POD, grace_period_s=0)
    await until(lambda: is_ended(sock))


async def test_tcp_ends_at_once_if_no_pod_has_the_address(
    bed: SocketBed, dead: DeadSockets
) -> None:
    port = bed.listen(bed.names[0], HOST, Protocol.TCP)
    sock = bed.connect(bed.names[0], HOST, port, Protocol.TCP)
    dead.release(place(HOST, port))
    await until(lambda: is_ended(sock), within_s=AGAIN_S)


async def test_a_backend_that_is_used_again_is_left_alone(
    bed: SocketBed, dead: DeadSockets, used: set[Place]
) -> None:
    name = bed.names[0]
    stays, goes = (bed.listen(name, HOST, Protocol.UDP) for _ in range(2))
    living, dying = (bed.connect(name, HOST, port, Protocol.UDP) for port in (stays, goes))
    used.add(place(HOST, stays))
    dead.release(place(HOST, stays))
    dead.release(place(HOST, goes))
    await until(lambda: is_ended(dying))
    assert not is_ended(living)
