"""Objects of a shape that no schema held off change nothing, and end nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from apiserver_bed import Process

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import ApiError, Client
from cairn.kube import crds
from cairn.kube.metadata import Key
from cairn.kube.resource import BGP_NODE_CONFIGS, BGP_PEERING_POLICIES, CRDS, NODES
from cairn.operator.bgp import Bgp
from cairn.operator.ipam import Ipam

LAX = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
ROUTER = {
    "localASN": 64512,
    "serviceSelector": {},
    "neighbors": [{"peerAddress": "192.168.1.1/32", "peerASN": 64512}],
}


async def prepare(client: Client) -> None:
    """Install the kinds with schemas that take anything, and register a node."""
    for crd in crds.load():
        for version in crd["spec"]["versions"]:
            version["schema"] = {"openAPIV3Schema": LAX}
        await client.create(CRDS, crd)
    await client.create(NODES, {"metadata": {"name": "node-1"}, "spec": {}})


async def make_policy(client: Client, name: str, routers: list[Any]) -> None:
    await client.create(
        BGP_PEERING_POLICIES, {"metadata": {"name": name}, "spec": {"virtualRouters": routers}}
    )


async def has_config(client: Client) -> bool:
    try:
        await client.get(BGP_NODE_CONFIGS, Key("", "node-1"))
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("part", [Bgp, Ipam])
async def test_a_policy_of_the_wrong_shape(
    api: Process, caplog: pytest.LogCaptureFixture, part: Any
) -> None:
    async with Client.connect(str(api.kubeconfig)) as client:
        await prepare(client)
        running: Coroutine[Any, Any, None] = part(client, EventRecorder(client, "test")).run()
        task = asyncio.create_task(running)
        await make_policy(client, "broken", ["no router"])
        await until(lambda: "as they are" in caplog.text or "nothing is changed" in caplog.text)
        assert not task.done()
        await client.delete(BGP_PEERING_POLICIES, Key("", "broken"))
        await make_policy(client, "good", [ROUTER])
        if part is Bgp:
            async with asyncio.timeout(20):
                while not await has_config(client):
                    await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
