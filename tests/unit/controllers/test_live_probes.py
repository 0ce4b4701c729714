"""The operator and the nodes' probes, against the real API server; the test plays the agents."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cairn.drive.informer import Informer
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.probe_request import ProbeAnswer, probe_request_of, write_answer
from cairn.kube.resource import CILIUM_NODES, EVENTS, L2_POLICIES, NODES, POOLS, SERVICES
from cairn.net import Address, parse_address

Until = Callable[..., Any]
MAC = "02:00:00:00:00:63"


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80}]},
    }


async def register(client: Client, number: int) -> None:
    """Make a Ready node whose agent could probe 192.168.1.0/24."""
    name, address = f"node-{number}", f"192.168.1.{9 + number}"
    status = {
        "addresses": [{"type": "InternalIP", "address": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
    await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    await client.patch(NODES, Key("", name), {"status": status}, subresource="status")
    annotations = {"cairn.io/uplink": "eth0", "cairn.io/uplink-networks": "192.168.1.0/24"}
    await client.create(
        CILIUM_NODES,
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNode",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"addresses": [{"type": "InternalIP", "ip": address}]},
        },
    )


class Agent:
    """Answers every request of one node from a table, and keeps what was asked."""

    def __init__(self, client: Client, node: str, strangers: Mapping[Address, str]) -> None:
        self.asked: list[list[str]] = []
        self._client = client
        self._node = node
        self._strangers = strangers
        self._informer = Informer(client, CILIUM_NODES, on_change=self._changed)
        self._done = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        await self._informer.run()

    def _changed(self, key: Key, _old: object, new: dict[str, Any] | None) -> None:
        request = probe_request_of(new or {})
        if key.name != self._node or request is None or request.number == self._done:
            return
        self._done = request.number
        self.asked.append([str(address) for address in request.addresses])
        found = {address: self._strangers.get(address, "") for address in request.addresses}
        annotations = write_answer(ProbeAnswer(request.number, found))
        patch = {"metadata": {"annotations": annotations}}
        task = asyncio.ensure_future(self._client.patch(CILIUM_NODES, key, patch))
        self._tasks.add(task)


@pytest.fixture
async def pool(client: Client) -> None:
    body = {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "metadata": {"name": "p"}}
    blocks = [{"start": "192.168.1.100", "stop": "192.168.1.150"}]
    await client.create(POOLS, {**body, "spec": {"blocks": blocks}})


def start(processes: Any, kubeconfig: Path) -> None:
    processes.start("operator", "operator", "--kubeconfig", str(kubeconfig), "--identity", "one")


async def given(client: Client, name: str) -> tuple[str, str]:
    """Return a Service's address and what its condition says; empty before it has both."""
    status = (await client.get(SERVICES, Key("default", name))).get("status") or {}
    ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
    messages = {c["type"]: c["message"] for c in status.get("conditions") or ()}
    address = ingress[0]["ip"] if ingress else ""
    return address, messages.get("cilium.io/IPAMRequestSatisfied", "")


async def addressed(client: Client, until: Until, name: str) -> tuple[str, str]:
    async def look() -> Any:
        found = await given(client, name)
        return found if all(found) else None

    found: tuple[str, str] = await until(look, f"address of {name}")
    return found


async def test_services_are_addressed_after_one_probe_for_all_and_strangers_are_named(
    client: Client, processes: Any, kubeconfig: Path, until: Until, pool: None
) -> None:
    await register(client, 1)
    agent = Agent(client, "node-1", {parse_address("192.168.1.101"): MAC})
    running = asyncio.create_task(agent.run())
    try:
        for number in range(5):
            await client.create(SERVICES, service(f"s{number}"))
        start(processes, kubeconfig)
        found = [await addressed(client, until, f"s{number}") for number in range(5)]
    finally:
        running.cancel()
    assert sorted(address for address, _ in found) == [
        f"192.168.1.{number}" for number in (100, 102, 103, 104, 105)
    ]
    skipped = [message for _, message in found if "skipped: 192.168.1.101" in message]
    assert skipped
    assert all(MAC in message for message in skipped)
    # Five at once, then the one in place of the stranger's.
    assert [len(asked) for asked in agent.asked] == [5, 1]


async def test_another_node_is_asked_and_then_nobody_waits_any_longer(
    client: Client, processes: Any, kubeconfig: Path, until: Until, pool: None
) -> None:
    await register(client, 1)
    await register(client, 2)
    agent = Agent(client, "node-2", {})  # node-1's does not answer
    running = asyncio.create_task(agent.run())
    try:
        start(processes, kubeconfig)
        await client.create(SERVICES, service("first"))
        assert await addressed(client, until, "first") == (
            "192.168.1.100",
            "192.168.1.100 from pool p",
        )
        assert agent.asked == [["192.168.1.100"]]
    finally:
        running.cancel()
    await client.create(SERVICES, service("second"))
    address, message = await addressed(client, until, "second")
    assert address == "192.168.1.101"
    assert "not probed: 192.168.1.101, as no node of its subnet answered in time" in message


async def test_a_conflict_that_a_node_hears_is_told_and_withdrawn(
    client: Client, processes: Any, kubeconfig: Path, until: Until, pool: None
) -> None:
    await register(client, 1)
    agent = Agent(client, "node-1", {})
    running = asyncio.create_task(agent.run())
    key = Key("default", "web")
    try:
        start(processes, kubeconfig)
        await client.create(SERVICES, service("web"))
        address, _ = await addressed(client, until, "web")
    finally:
        running.cancel()

    async def tell(*conflicts: dict[str, str]) -> None:
        status = {"l2": {"answered": [address], "conflicts": list(conflicts)}}
        patch = {"status": status}
        await client.patch(CILIUM_NODES, Key("", "node-1"), patch, subresource="status")

    async def told() -> Any:
        status = (await client.get(SERVICES, key)).get("status") or {}
        kinds = {c["type"]: c["message"] for c in status.get("conditions") or ()}
        assert "cilium.io/IPAMRequestSatisfied" in kinds
        return kinds.get("cairn.io/AddressConflict", "")

    await tell({"address": address, "mac": MAC, "since": "2026-01-01T00:00:00Z"})
    message = await until(told, "the condition")
    assert f"{address} is answered for by {MAC} too" in message
    assert "heard by node-1" in message

    async def event() -> Any:
        events, _ = await client.list(EVENTS, namespace="default")
        return [e for e in events if e["reason"] == "AddressConflict"]

    assert (await until(event, "the Event"))[0]["message"] == message
    await tell()

    async def gone() -> Any:
        return not await told()

    await until(gone, "the condition is gone")


async def test_a_policy_has_a_condition_that_follows_the_cluster(
    client: Client, processes: Any, kubeconfig: Path, until: Until, pool: None
) -> None:
    await register(client, 1)
    body = {"apiVersion": L2_POLICIES.api_version, "kind": L2_POLICIES.kind}
    spec = {"loadBalancerIPs": True, "interfaces": ["^eth", "wl("]}
    await client.create(L2_POLICIES, {**body, "metadata": {"name": "l2"}, "spec": spec})
    start(processes, kubeconfig)

    async def reason() -> tuple[str, str]:
        status = (await client.get(L2_POLICIES, Key("", "l2"))).get("status") or {}
        found = {c["type"]: c for c in status.get("conditions") or ()}
        findings = found.get("cairn.io/Findings", {}).get("message", "")
        return found.get("cairn.io/Selected", {}).get("reason", ""), findings

    async def nothing() -> Any:
        return (await reason())[0] == "NoService"

    async def selected() -> Any:
        return (await reason())[0] == "Selected"

    await until(nothing, "it selects nothing")
    assert "'wl(' is no regular expression" in (await reason())[1]
    agent = Agent(client, "node-1", {})
    running = asyncio.create_task(agent.run())
    try:
        await client.create(SERVICES, service("web"))
        await until(selected, "it selects the Service")
    finally:
        running.cancel()
