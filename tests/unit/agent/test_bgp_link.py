"""The agent's hold on its speaker: what it is told at a start, and what happens when it babbles."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cairn.agent import bgp
from cairn.agent.bgp import BgpLink
from cairn.agent.cluster import Cluster
from cairn.drive.kube_client import Client
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.node import NodeFacts
from cairn.kube.resource import SECRETS
from cairn.net import parse_address

FACTS = NodeFacts("node-1", (parse_address("192.168.1.10"),), (), "02:00:00:00:00:01")
CONFIG = NodeConfig.from_object(
    {
        "metadata": {"name": "node-1"},
        "spec": {
            "bgpInstances": [
                {
                    "name": "i",
                    "localASN": 64512,
                    "peers": [
                        {
                            "name": "router",
                            "peerAddress": "192.168.1.1",
                            "peerASN": 64512,
                            "authSecretRef": "router-key",
                        }
                    ],
                }
            ]
        },
    }
)


class Listener:
    """Stands where the speaker listens, and keeps the states that it is told."""

    def __init__(self, greeting: bytes = b"", *, closes: bool = False) -> None:
        self.greeting = greeting
        self.closes = closes
        self.connections = 0
        self.states: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.greeting)
        while not self.closes and (line := await reader.readline()):
            told = json.loads(line)
            if "router_id" in told:
                self.states.append(told)
        writer.close()


@asynccontextmanager
async def linked(
    client: Client, listener: Listener, path: Path
) -> AsyncIterator["asyncio.Task[None]"]:
    cluster = Cluster(client, "node-1")
    cluster.bgp = CONFIG
    link = BgpLink(client, cluster, FACTS, path)
    link.services({}, ())
    server = await asyncio.start_unix_server(listener.serve, path)
    task = asyncio.create_task(link.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.01)


async def make_secret(client: Client) -> None:
    key = base64.b64encode(b"hunter2").decode()
    metadata = {"name": "router-key", "namespace": "kube-system"}
    await client.create(SECRETS, {"metadata": metadata, "data": {"password": key}})


async def test_no_state_is_told_before_the_passwords_are_known(
    client: Client, tmp_path: Path
) -> None:
    await make_secret(client)
    listener = Listener()
    async with linked(client, listener, tmp_path / "s"):
        await until(lambda: listener.states)
    assert [peer["password"] for peer in listener.states[0]["peers"]] == ["hunter2"]


async def test_with_the_api_gone_at_the_start_the_speaker_keeps_what_it_has(
    client: Client, api: Any, tmp_path: Path
) -> None:
    await make_secret(client)
    api.kill()
    listener = Listener()
    async with linked(client, listener, tmp_path / "s"):
        await until(lambda: listener.connections)
        await asyncio.to_thread(api.start)
        await until(lambda: listener.states)
    assert [peer["password"] for peer in listener.states[0]["peers"]] == ["hunter2"]


async def test_a_secret_that_is_not_there_leaves_the_peer_out(
    client: Client, tmp_path: Path
) -> None:
    listener = Listener()
    async with linked(client, listener, tmp_path / "s"):
        await until(lambda: listener.states)
    assert not listener.states[0].get("peers")


@pytest.mark.parametrize(
    "babble",
    [
        b"\xff\x00\n",
        b"[1]\n",
        b"{",
        b'{"event":"state","peers":7}\n',
        b'{"event":"state","peers":[{}]}\n',
    ],
)
async def test_a_speaker_that_babbles_does_not_end_the_agent(
    client: Client, tmp_path: Path, babble: bytes
) -> None:
    listener = Listener(babble, closes=not babble.endswith(b"\n"))
    async with linked(client, listener, tmp_path / "s") as task:
        await until(lambda: listener.connections >= 2)
        assert not task.done()


async def test_a_speaker_that_hangs_is_told_from_one_that_answers(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bgp, "ANSWER_S", 0.05)
    answers = True

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while answers:
                writer.write(b'{"event":"told"}\n')
                await asyncio.sleep(0.01)
        writer.close()

    link = BgpLink(client, Cluster(client, "node-1"), FACTS, tmp_path / "s")
    server = await asyncio.start_unix_server(speak, tmp_path / "s")
    task = asyncio.create_task(link.run())
    try:
        assert link.speaker_reachable
        answers = False
        await until(lambda: not link.speaker_reachable)
        answers = True
        await until(lambda: link.speaker_reachable)
    finally:
        answers = False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
