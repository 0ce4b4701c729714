"""From the cluster's objects to the maps: an address that moves, a write that fails."""

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from maps_bed import keep_threads_in

from cairn.abi import structs
from cairn.agent.cluster import Cluster
from cairn.agent.reconciler import Reconciler
from cairn.apply.data_plane import DataPlane
from cairn.apply.uplink import find_uplink
from cairn.drive.kube_client import Client
from cairn.drive.kubeconfig import Access
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.service import Service
from cairn.libbpf import Map, MapShape, MapType
from cairn.linux import mount, namespace
from cairn.net import parse_address

pytestmark = [pytest.mark.root, pytest.mark.bpf]

VIP = "192.168.1.100"


class Agent:
    """The part of an agent between the objects and the maps."""

    def __init__(self, netns: str, pins: Path) -> None:
        uplink = namespace.call_in(netns, find_uplink, parse_address("192.168.1.10"))
        self.plane = namespace.call_in(netns, DataPlane.load, pins, uplink)
        self.cluster = Cluster(Client(Access("http://127.0.0.1:1", None)), "node-1")
        self.told = 0
        self.reconciler = Reconciler(
            self.cluster, self.plane, uplink, "node-1", on_services=self._count
        )

    def _count(self, *_: Any) -> None:
        self.told += 1

    def set(self, name: str, *, address: str | None, pod: str) -> None:
        """Make a Service hold `address`, served by one pod."""
        service = Service.from_object(service_object(name, address))
        piece = EndpointSlice.from_object(slice_object(name, pod))
        self.cluster.services[service.key] = service
        self.cluster.slices[service.key] = {Key("default", f"{name}-1"): piece}
        self.touch(name)

    def remove(self, name: str) -> None:
        del self.cluster.services[Key("default", name)]
        self.touch(name)

    def touch(self, name: str) -> None:
        self.cluster.dirty_services.add(Key("default", name))
        self.cluster.changed.set()

    def backend(self) -> str | None:
        """Return the pod that the address leads to."""
        key = structs.ServiceKey(parse_address(VIP), 80, 6).write()
        octets = self.plane.maps["services"].lookup(key)
        if octets is None:
            return None
        service = structs.Service.read(octets)
        number = self.plane.maps["service_slots"].lookup(structs.SlotKey(service.id, 0).write())
        assert number is not None
        backend = self.plane.maps["backends"].lookup(number)
        assert backend is not None
        return str(structs.Backend.read(backend).address)


def service_object(name: str, address: str | None) -> dict[str, Any]:
    ingress = [{"ip": address}] if address else []
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def slice_object(name: str, pod: str) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": name}
    return {
        "metadata": {"namespace": "default", "name": f"{name}-1", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [pod], "nodeName": "node-1", "conditions": {"ready": True}},
        ],
    }


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    name = f"ct-{secrets.token_hex(4)}"
    mount.ensure_bpffs()
    pins = Path("/sys/fs/bpf") / name
    with namespace.temporary(name):
        keep_threads_in(name)
        for line in ("link add eth0 type veth peer name far", "addr add 192.168.1.10/24 dev eth0"):
            subprocess.run(["ip", "-n", name, *line.split()], check=True)
        try:
            yield Agent(name, pins)
        finally:
            shutil.rmtree(pins, ignore_errors=True)


async def settle(agent: Agent) -> None:
    """Let the running reconciler take what is marked."""
    told = agent.told
    async with asyncio.timeout(20):
        while agent.told == told:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
async def test_an_address_that_moves_leads_to_its_new_service(
    agent: Agent, order: tuple[str, str]
) -> None:
    task = asyncio.create_task(agent.reconciler.run())
    agent.set("old", address=VIP, pod="10.244.1.1")
    agent.set("new", address=None, pod="10.244.1.2")
    await settle(agent)
    assert agent.backend() == "10.244.1.1"
    for name in order:
        pod = "10.244.1.1" if name == "old" else "10.244.1.2"
        agent.set(name, address=None if name == "old" else VIP, pod=pod)
        await settle(agent)
    assert agent.backend() == "10.244.1.2"
    task.cancel()


async def test_of_two_that_hold_an_address_the_one_that_stays_has_it(agent: Agent) -> None:
    task = asyncio.create_task(agent.reconciler.run())
    agent.set("stays", address=VIP, pod="10.244.1.2")
    await settle(agent)
    agent.set("goes", address=VIP, pod="10.244.1.1")
    await settle(agent)
    assert agent.backend() == "10.244.1.1"
    agent.remove("goes")
    await settle(agent)
    assert agent.backend() == "10.244.1.2"
    agent.remove("stays")
    await settle(agent)
    assert agent.backend() is None
    task.cancel()


async def test_a_map_that_is_full_is_written_once_there_is_room(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    whole = agent.plane.maps["vips"]
    shape = MapShape(MapType.HASH, whole.shape.key_bytes, whole.shape.value_bytes, 1, 0)
    agent.plane.maps["vips"] = Map.create(shape, "small")
    task = asyncio.create_task(agent.reconciler.run())
    agent.set("web", address=VIP, pod="10.244.1.1")
    agent.set("mail", address="192.168.1.101", pod="10.244.1.2")
    async with asyncio.timeout(20):
        while not caplog.records:
            await asyncio.sleep(0.01)
    assert caplog.records[0].levelname == "ERROR"
    agent.plane.maps["vips"].close()
    agent.plane.maps["vips"] = whole
    await settle(agent)
    assert agent.backend() == "10.244.1.1"
    assert len(list(whole.items())) == 3, "the node's own address, too"
    assert not task.done()
    task.cancel()
