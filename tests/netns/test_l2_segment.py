"""Probes, announcements and claims on a real segment, with the kernel's own hosts as neighbours."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

import pytest
from bgp_bed import NODES, Bed, wait_for

from cairn.agent.segment import Segment
from cairn.apply.uplink import Uplink, find_uplink
from cairn.ethernet import arp, nd
from cairn.ethernet.claim import Claim
from cairn.linux import namespace
from cairn.net import Address, parse_address, parse_mac
from cairn.netlink.packet_socket import FrameSocket

T = TypeVar("T")

VIP4, VIP6 = IPv4Address("10.8.0.100"), IPv6Address("fd08::100")
FREE4, FREE6 = IPv4Address("10.8.0.101"), IPv6Address("fd08::101")
NODE, STRANGER, CLIENT = 0, 1, 2


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed() as bed:
        yield bed


def uplink_of(bed: Bed, number: int) -> Uplink:
    v4, v6 = parse_address(NODES[number]), parse_address(f"fd08::{11 + number}")
    return namespace.call_in(bed.nodes[number], find_uplink, v4, v6)


def on_segment(
    bed: Bed, work: Callable[[Segment, list[Claim]], Awaitable[T]], number: int = NODE
) -> T:
    """Run `work` with a Segment of one node and the claims that it hears."""
    heard: list[Claim] = []
    uplink = uplink_of(bed, number)
    segment = namespace.call_in(bed.nodes[number], Segment, uplink, heard.append)

    async def main() -> T:
        hearing = asyncio.create_task(segment.run())
        try:
            return await work(segment, heard)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    return asyncio.run(main())


def give(bed: Bed, number: int, *addresses: Address) -> None:
    for address in addresses:
        length, nodad = (24, "") if address.version == 4 else (64, " nodad")
        bed.ip(bed.nodes[number], f"addr add {address}/{length} dev eth0{nodad}")


def neighbour(bed: Bed, address: Address) -> str:
    """Return the MAC that the client has for an address."""
    words = ("ip", "-j", "neigh", "show", str(address), "dev", "eth0")
    rows = json.loads(bed.run(bed.nodes[CLIENT], *words).stdout or "[]")
    return next((str(row.get("lladdr", "")) for row in rows), "")


def test_a_probe_finds_who_has_an_address(bed: Bed) -> None:
    give(bed, STRANGER, VIP4, VIP6)
    mac = parse_mac(uplink_of(bed, STRANGER).mac)

    async def probe(segment: Segment, _: list[Claim]) -> dict[Address, bytes]:
        return dict(await segment.probe((VIP4, FREE4, VIP6, FREE6)))

    assert on_segment(bed, probe) == {VIP4: mac, VIP6: mac}
    # Nobody learns anything from a probe: it claims nothing.
    assert neighbour(bed, VIP4) == ""


@pytest.mark.parametrize("address", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_an_announcement_moves_the_clients_at_once(bed: Bed, address: Address) -> None:
    """What fails over is the client's entry: it must not wait for it to time out."""
    give(bed, STRANGER, address)  # plays the node that answered until now
    assert bed.run(bed.nodes[CLIENT], "ping", "-c1", "-W2", str(address)).returncode == 0
    old, new = uplink_of(bed, STRANGER).mac, uplink_of(bed, NODE).mac
    assert neighbour(bed, address) == old
    bed.ip(bed.nodes[STRANGER], "link set eth0 down")

    async def announce(segment: Segment, _: list[Claim]) -> None:
        await segment.announce((address,))

    on_segment(bed, announce)
    wait_for("the client knows", lambda: neighbour(bed, address) == new, deadline_s=2)


@pytest.mark.parametrize("address", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_who_claims_an_address_is_heard(bed: Bed, address: Address) -> None:
    mac = parse_mac(uplink_of(bed, STRANGER).mac)
    source = IPv6Address("fd08::12")
    socket = namespace.call_in(bed.nodes[STRANGER], FrameSocket, "eth0")
    frame = (
        arp.announcement(address, mac)
        if isinstance(address, IPv4Address)
        else nd.announcement(address, mac, source)
    )

    async def hear(_: Segment, heard: list[Claim]) -> list[Claim]:
        async with asyncio.timeout(5):
            while not any(claim.address == address for claim in heard):
                socket.send(frame)
                await asyncio.sleep(0.02)
        return heard

    try:
        assert Claim(address, mac) in on_segment(bed, hear)
    finally:
        socket.close()


def test_groups_are_joined_while_their_addresses_are_answered(bed: Bed) -> None:
    group = str(nd.solicited_node(VIP6))
    mac = nd.multicast_mac(nd.solicited_node(VIP6)).hex(":")

    def joined() -> tuple[bool, bool]:
        """Return whether the network knows of the group, and whether its frames are taken."""
        text = bed.run(bed.nodes[NODE], "ip", "maddr", "show", "dev", "eth0").stdout
        return group in text, mac in text

    async def listen(segment: Segment, _: list[Claim]) -> list[tuple[bool, bool]]:
        seen = []
        for addresses in ((VIP4, VIP6), (VIP4,), (VIP6,)):
            segment.listen_for(addresses)
            seen.append(joined())
        return seen

    assert on_segment(bed, listen) == [(True, True), (False, False), (True, True)]
    # The agent has gone, and the data plane answers on: the frames must still come in.
    assert joined() == (False, True)
