"""Two drivers on loopback: real sockets and a real clock under the sans-IO speaker."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address

import pytest

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.config import AsnRule, PeerConfig
from cairn.bgp.event import Event, PeerDown, PeerUp, RouteChanged
from cairn.bgp.speaker import Speaker
from cairn.drive.bgp import BgpDriver
from cairn.drive.bgp_socket import ListenFailed
from cairn.net import parse_address, parse_network

LOOPBACK = parse_address("127.0.0.1")
NODE = parse_address("127.0.0.2")
GATEWAY = parse_address("192.0.2.7")
PREFIX = parse_network("203.0.113.1/32")
DEADLINE_S = 10.0


class End:
    """One driver and what it reported."""

    def __init__(self, router_id: str) -> None:
        speaker = Speaker(router_id=IPv4Address(router_id), random=random.random)
        self.seen: list[Event] = []
        self.driver = BgpDriver(speaker, self._take)
        self._news = asyncio.Event()

    def _take(self, events: Sequence[Event]) -> None:
        self.seen += events
        self._news.set()

    async def wait(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not found():
                self._news.clear()
                await self._news.wait()

    def has(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in self.seen)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(name: str, **values: object) -> dict[str, PeerConfig]:
    return {name: PeerConfig(name=name, local_asn=64512, **values)}  # type: ignore[arg-type]


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    port = free_port()
    router, node = End("10.0.0.1"), End("10.0.0.2")
    network = parse_network("127.0.0.0/8")
    router.driver.configure(config("nodes", remote=network, remote_asn=AsnRule.INTERNAL))
    router.driver.listen([LOOPBACK], port)
    node.driver.announce({PREFIX: Attributes(next_hop=GATEWAY)})
    peer = {"remote": LOOPBACK, "remote_asn": 64512, "port": port, "local": NODE}
    node.driver.configure(config("router", **peer))
    yield router, node
    await node.driver.shut_down("test over")
    await router.driver.shut_down("test over")


async def test_session_route_and_goodbye(ends: tuple[End, End]) -> None:
    router, node = ends
    await node.wait(lambda: node.has(PeerUp))
    await router.wait(lambda: router.has(RouteChanged))
    (changed,) = (event for event in router.seen if isinstance(event, RouteChanged))
    assert (changed.prefix, changed.paths[0].next_hop) == (PREFIX, GATEWAY)
    await node.driver.shut_down("going home")
    await router.wait(lambda: router.has(PeerDown))
    (down,) = (event for event in router.seen if isinstance(event, PeerDown))
    assert "going home" in down.reason


async def test_connection_that_ends_is_made_again(ends: tuple[End, End]) -> None:
    router, node = ends
    await node.wait(lambda: node.has(PeerUp))
    await router.wait(lambda: router.has(PeerUp))
    (name,) = (peer.name for peer in router.driver.speaker.peers())
    router.driver.speaker.reset(name, router.driver.now)
    router.driver.poke()
    await node.wait(lambda: sum(isinstance(event, PeerUp) for event in node.seen) == 2)


async def test_port_in_use_says_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        end = End("10.0.0.1")
        with pytest.raises(ListenFailed, match="another BGP daemon"):
            end.driver.listen([LOOPBACK], other.getsockname()[1])


async def test_refused_connection_is_counted_and_closed() -> None:
    port = free_port()
    end = End("10.0.0.1")
    end.driver.listen([LOOPBACK], port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()
    assert end.driver.refused == {"127.0.0.1": 1}
    await end.driver.shut_down("test over")


async def test_passwords_on_both_ends() -> None:
    port = free_port()
    router, node = End("10.0.0.1"), End("10.0.0.2")
    network = parse_network("127.0.0.0/8")
    router.driver.configure(config("nodes", remote=network, password="right"))
    router.driver.listen([LOOPBACK], port)
    peer = {"remote": LOOPBACK, "port": port, "remote_asn": 64512}
    node.driver.configure(config("router", password="right", **peer))
    await node.wait(lambda: node.has(PeerUp))
    router.driver.configure(config("nodes", remote=network, password="new"))
    await node.wait(lambda: node.has(PeerDown))
    node.driver.configure(config("router", password="new", **peer))
    await node.wait(lambda: sum(isinstance(event, PeerUp) for event in node.seen) == 2)
    await node.driver.shut_down("test over")
    await router.driver.shut_down("test over")
