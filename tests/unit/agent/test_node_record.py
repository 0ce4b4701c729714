"""The node's own record: written again when it is gone; changed facts end the agent in words."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cairn.agent.node_record import FactsChanged, NodeRecord
from cairn.apply.uplink import Uplink, find_uplink
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.node import Node
from cairn.kube.resource import CILIUM_NODES, NODES
from cairn.net import parse_address, parse_network

KEY = Key("", "node-1")
LOOK_S = 0.02


async def register(client: Client, address: str = "127.0.0.1") -> Node:
    await client.create(NODES, {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.9.1.0/24"}})
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    stored = await client.patch(NODES, KEY, {"status": status}, subresource="status")
    return Node.from_object(stored)


async def loopback() -> Uplink:
    return await asyncio.to_thread(find_uplink, parse_address("127.0.0.1"))


async def record_of(client: Client) -> dict[str, Any] | None:
    records, _ = await client.list(CILIUM_NODES)
    return next((record for record in records if record["metadata"]["name"] == KEY.name), None)


async def until(client: Client, check: Callable[[dict[str, Any] | None], Any]) -> None:
    async with asyncio.timeout(20):
        while not check(await record_of(client)):
            await asyncio.sleep(0.02)


async def test_a_record_that_is_deleted_comes_back(client: Client) -> None:
    node = await register(client)
    task = asyncio.create_task(NodeRecord(client, node, await loopback()).keep(look_s=LOOK_S))
    await until(client, lambda record: record is not None)
    before = await record_of(client)
    assert before is not None
    await client.delete(CILIUM_NODES, KEY)
    uid = before["metadata"]["uid"]
    await until(client, lambda record: record and record["metadata"]["uid"] != uid)
    assert not task.done()
    task.cancel()


async def test_a_node_that_registers_anew_owns_the_record(client: Client) -> None:
    node = await register(client)
    task = asyncio.create_task(NodeRecord(client, node, await loopback()).keep(look_s=LOOK_S))
    await until(client, lambda record: record is not None)
    await client.delete(NODES, KEY)
    again = await register(client)
    assert again.metadata.uid != node.metadata.uid

    def is_owned(record: dict[str, Any] | None) -> bool:
        owners = record["metadata"].get("ownerReferences") or [] if record else []
        return [owner["uid"] for owner in owners] == [again.metadata.uid]

    await until(client, is_owned)
    assert not task.done()
    task.cancel()


async def test_another_address_ends_the_agent_with_a_line(client: Client) -> None:
    node = await register(client)
    task = asyncio.create_task(NodeRecord(client, node, await loopback()).keep(look_s=LOOK_S))
    status = {"addresses": [{"type": "InternalIP", "address": "127.0.0.2"}]}
    await client.patch(NODES, KEY, {"status": status}, subresource="status")
    with pytest.raises(FactsChanged, match=r"addresses changed from 127\.0\.0\.1 to 127\.0\.0\.2"):
        await asyncio.wait_for(task, 20)


async def test_another_uplink_ends_the_agent_with_a_line(client: Client) -> None:
    node = await register(client)
    now = await loopback()
    was = Uplink(now.name, now.ifindex, "02:00:00:00:00:99", *_rest(now))
    with pytest.raises(FactsChanged, match="uplink changed"):
        await asyncio.wait_for(NodeRecord(client, node, was).keep(look_s=LOOK_S), 20)


async def test_another_mtu_or_an_address_that_is_away_ends_nothing(client: Client) -> None:
    node = await register(client)
    now = await loopback()
    away = (parse_address("fd00::1"), parse_network("fd00::/64"))
    was = replace(now, mtu_bytes=1280, others=(away,))
    record = NodeRecord(client, node, was)
    task = asyncio.create_task(record.keep(look_s=3600))
    await until(client, lambda record: record is not None)
    before = await record_of(client)
    assert before is not None
    await client.delete(CILIUM_NODES, KEY)
    record.look.set()  # it looks at the uplink and then for its record
    uid = before["metadata"]["uid"]
    await until(client, lambda record: record and record["metadata"]["uid"] != uid)
    assert not task.done()
    task.cancel()


def _rest(uplink: Uplink) -> tuple[Any, ...]:
    return uplink.mtu_bytes, uplink.address, uplink.network


async def test_the_api_gone_changes_nothing(client: Client, api: Any) -> None:
    node = await register(client)
    task = asyncio.create_task(NodeRecord(client, node, await loopback()).keep(look_s=LOOK_S))
    await until(client, lambda record: record is not None)
    await client.delete(CILIUM_NODES, KEY)
    api.kill()
    await asyncio.to_thread(api.start)
    await until(client, lambda record: record is not None)
    assert not task.done()
    task.cancel()
