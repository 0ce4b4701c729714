"""Routes, links and neighbours against the real kernel, in a namespace of the test's own."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from cairn.desired.routes import KernelRoute, NextHop
from cairn.linux import namespace
from cairn.net import parse_address, parse_network
from cairn.netlink.link import LinkFlag, list_addresses, list_links
from cairn.netlink.neighbour import (
    Neighbour,
    NeighbourState,
    delete_neighbours,
    list_neighbours,
    replace_neighbours,
)
from cairn.netlink.route import delete_routes, list_routes, replace_routes
from cairn.netlink.socket import RouteSocket

HOPS = tuple(NextHop(parse_address(f"10.9.0.{n}")) for n in (10, 11, 12))
VIP = KernelRoute(parse_network("203.0.113.1/32"), HOPS)


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"ct-{os.getpid()}-{secrets.token_hex(3)}"
    with namespace.temporary(name):
        for command in (
            "link set lo up",
            "link add br0 type bridge",
            "addr add 10.9.0.1/24 dev br0",
            "-6 addr add 2001:db8:9::1/64 dev br0 nodad",
            "link set br0 up",
        ):
            subprocess.run(["ip", "-n", name, *command.split()], check=True)
        yield name


@pytest.fixture
def routes(netns: str) -> Iterator[RouteSocket]:
    with namespace.call_in(netns, RouteSocket) as socket:
        yield socket


def shown(netns: str, *arguments: str) -> list[dict[str, object]]:
    output = subprocess.check_output(["ip", "-n", netns, "-j", *arguments])
    return list(json.loads(output))


def ecmp_gateways(netns: str, prefix: str) -> list[str]:
    found = shown(netns, "route", "show", prefix)
    return [hop["gateway"] for hop in found[0]["nexthops"]] if found else []  # type: ignore[attr-defined]


def test_ecmp_route_is_written_read_and_deleted(netns: str, routes: RouteSocket) -> None:
    assert replace_routes(routes, [VIP]) == []
    assert ecmp_gateways(netns, "203.0.113.1") == ["10.9.0.10", "10.9.0.11", "10.9.0.12"]
    assert shown(netns, "route", "show", "203.0.113.1")[0]["protocol"] == "bgp"

    (found,) = list_routes(routes, 4, protocol=VIP.protocol)
    assert [hop.address for hop in found.nexthops] == [hop.address for hop in HOPS]
    assert (found.prefix, found.metric) == (VIP.prefix, 20)

    assert replace_routes(routes, [KernelRoute(VIP.prefix, HOPS[:1])]) == []
    assert shown(netns, "route", "show", "203.0.113.1")[0]["gateway"] == "10.9.0.10"
    assert delete_routes(routes, [VIP]) == []
    assert delete_routes(routes, [VIP]) == []
    assert list_routes(routes, 4, protocol=VIP.protocol) == []


def test_ipv6_multipath_is_replaced_and_deleted_whole(netns: str, routes: RouteSocket) -> None:
    hops = tuple(NextHop(parse_address(f"2001:db8:9::{n}")) for n in (10, 11, 12))
    route = KernelRoute(parse_network("2001:db8:f::1/128"), hops)
    assert replace_routes(routes, [route]) == []
    (found,) = list_routes(routes, 6, protocol=route.protocol)
    assert sorted(str(h.address) for h in found.nexthops) == sorted(str(h.address) for h in hops)
    assert replace_routes(routes, [KernelRoute(route.prefix, hops[:2])]) == []
    (found,) = list_routes(routes, 6, protocol=route.protocol)
    assert len(found.nexthops) == 2
    assert delete_routes(routes, [route]) == []
    assert list_routes(routes, 6, protocol=route.protocol) == []


def test_each_refused_route_is_named_and_the_others_are_written(routes: RouteSocket) -> None:
    unreachable = KernelRoute(
        parse_network("203.0.113.2/32"), (NextHop(parse_address("172.31.0.1")),)
    )
    other = KernelRoute(parse_network("203.0.113.3/32"), HOPS)
    failures = replace_routes(routes, [VIP, unreachable, other])
    assert [failure.route for failure in failures] == [unreachable]
    assert "unreachable" in failures[0].reason.lower()
    written = {route.prefix for route in list_routes(routes, 4, protocol=VIP.protocol)}
    assert written == {VIP.prefix, other.prefix}


def test_ten_thousand_routes_in_bulk(routes: RouteSocket) -> None:
    base = int(parse_address("198.18.0.0"))
    many = [
        KernelRoute(parse_network(f"{parse_address_of(base + n)}/32"), HOPS) for n in range(10_000)
    ]
    assert replace_routes(routes, many) == []
    assert len(list_routes(routes, 4, protocol=VIP.protocol)) == 10_000
    assert delete_routes(routes, many) == []
    assert list_routes(routes, 4, protocol=VIP.protocol) == []


def parse_address_of(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def test_links_and_addresses(routes: RouteSocket) -> None:
    links = {link.name: link for link in list_links(routes)}
    assert links["br0"].kind == "bridge"
    assert LinkFlag.UP in links["br0"].flags
    assert len(links["br0"].mac) == 6
    found = {str(a.address) for a in list_addresses(routes) if a.ifindex == links["br0"].ifindex}
    assert {"10.9.0.1/24", "2001:db8:9::1/64"} <= found


def test_neighbours(netns: str, routes: RouteSocket) -> None:
    (bridge,) = (link for link in list_links(routes) if link.name == "br0")
    entry = Neighbour(
        parse_address("10.9.0.77"),
        bridge.ifindex,
        bytes.fromhex("020000000077"),
        NeighbourState.PERMANENT,
    )
    assert replace_neighbours(routes, [entry]) == []
    assert entry in list_neighbours(routes)
    assert delete_neighbours(routes, [entry]) == []
    assert delete_neighbours(routes, [entry]) == []
    assert entry not in list_neighbours(routes)
