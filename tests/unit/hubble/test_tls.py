"""TLS at a node's port: who may ask, the relay's own certificate, and certificates renewed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from hubble_bed import blank_flows

from cairn.agent.flow_feed import FlowFeed
from cairn.agent.flow_server import serve_flows
from cairn.agent.observed_node import ObservedNode
from cairn.agent.options import parse
from cairn.api.pki import Pki, ensure_pki
from cairn.flow.columns import Batch, Dictionaries
from cairn.flow.store import FlowStore
from cairn.hubble.agent_event import AgentEvents
from cairn.hubble.proto import message
from cairn.hubble.tls import SERVER_NAME, ClientFiles, ServerFiles, channel_credentials
from cairn.relay.relay import Relay

NAMED = (("grpc.ssl_target_name_override", SERVER_NAME),)
STATUS = "/observer.Observer/ServerStatus"


@dataclass
class Files:
    """An authority, and what it signed."""

    folder: Path
    pki: Pki

    def write(self, name: str, pair: tuple[bytes, bytes]) -> tuple[str, str]:
        paths = (self.folder / f"{name}.crt", self.folder / f"{name}.key")
        for path, octets in zip(paths, pair, strict=True):
            path.write_bytes(octets)
        return str(paths[0]), str(paths[1])

    @property
    def authority(self) -> str:
        return str(self.pki.ca_cert)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, ensure_pki(tmp_path / "pki", sans=["localhost"]))


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(tls: ServerFiles, folder: Path) -> AsyncIterator[tuple[FlowFeed, str]]:
    feed = FlowFeed(100)
    feed.put(Batch(blank_flows(7), Dictionaries()))
    node = ObservedNode("node-1", feed, AgentEvents(lambda: 0), {})
    port = free_port()
    serving = asyncio.create_task(serve_flows(node, folder, tls, port))
    try:
        async with asyncio.timeout(20):
            yield feed, f"ipv6:[::1]:{port}"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def flows_of(channel: Any) -> int:
    """Return how many flows a server holds; waits until it answers."""
    response = await channel.unary_unary(STATUS)(b"", wait_for_ready=True)
    return int(message("observer.ServerStatusResponse").FromString(response).num_flows)


async def test_only_who_has_a_certificate_may_ask(files: Files) -> None:
    server = files.write("server", files.pki.issue_server("agent", [SERVER_NAME]))
    client = files.write("client", files.pki.issue_client("relay"))
    tls = ServerFiles(*server, files.authority)
    async with served(tls, files.folder) as (_, target):
        async with grpc.aio.insecure_channel(f"unix:{files.folder / 'hubble.sock'}") as channel:
            assert await flows_of(channel) == 7
        known = channel_credentials(ClientFiles(files.authority, *client))
        async with grpc.aio.secure_channel(target, known, NAMED) as channel:
            assert await flows_of(channel) == 7
        stranger = channel_credentials(ClientFiles(files.authority))
        for channel in (
            grpc.aio.secure_channel(target, stranger, NAMED),
            grpc.aio.insecure_channel(target),
        ):
            async with channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await channel.unary_unary(STATUS)(b"")
                assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_relay_shows_its_certificate_to_agents(files: Files) -> None:
    server = files.write("server", files.pki.issue_server("agent", [SERVER_NAME]))
    client = files.write("client", files.pki.issue_client("relay"))
    async with served(ServerFiles(*server, files.authority), files.folder) as (_, target):
        for shown, wanted in (((), False), (client, True)):
            told = asyncio.Event()
            relay = Relay(
                FlowStore(100),
                None,
                on_grown=told.set,
                on_state=lambda _, told=told: told.set(),  # type: ignore[misc]
                agents=ClientFiles(files.authority, *shown),
            )
            running = asyncio.create_task(relay.run())
            relay.on_node("node-1", target)
            await until(lambda told=told: told.wait())  # type: ignore[misc]
            assert [state.connected for state in relay.states] == [wanted]
            assert bool(relay.states[0].error) is not wanted
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(wait: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(10):
        await wait()


async def test_a_renewed_certificate_needs_no_restart(files: Files) -> None:
    server = files.write("server", files.pki.issue_server("agent", ["old.name"]))
    trusted = channel_credentials(ClientFiles(files.authority))
    async with served(ServerFiles(*server), files.folder) as (_, target):
        async with grpc.aio.secure_channel(target, trusted, NAMED) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(STATUS)(b"")
        files.write("server", files.pki.issue_server("agent", [SERVER_NAME]))
        async with grpc.aio.secure_channel(target, trusted, NAMED) as channel:
            assert await flows_of(channel) == 7
        # What cannot be read any more leaves what was.
        Path(server[1]).unlink()
        async with grpc.aio.secure_channel(target, trusted, NAMED) as channel:
            assert await flows_of(channel) == 7


def test_files_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--flows-tls-cert", "a"], ["--flows-tls-client-ca", "b"]):
        with pytest.raises(SystemExit) as ended:
            parse(["--node", "n", *words])
        assert ended.value.code == 2
        assert "--flows-tls" in capsys.readouterr().err
    whole = parse(["--node", "n", "--flows-tls-cert", "a", "--flows-tls-key", "b"])
    assert whole.flows_tls == ServerFiles("a", "b")
    assert parse(["--node", "n"]).flows_tls is None
