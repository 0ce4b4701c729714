"""Whom a trace is about: names turned into networks and ports.

    --from X, --to Y, World, hosts of the lab  ->  TraceRow ...

A Service stands for its addresses, and for the pods behind it at their own ports: what a pod sends
to the Service is addressed to one of these from the start.

Raises  BadTrace with what there is.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cairn.diagnose.policy.world import World
from cairn.diagnose.why.question import NoSuchParty, Role, find_target
from cairn.kube.metadata import Key
from cairn.net import Address, parse_network
from cairn.observe.trace_filter import BadTrace, TraceRow

Hosts = Mapping[str, tuple[Address, ...]]


class Asked(NamedTuple):
    """What the user wants to see."""

    source: str
    destination: str
    port: int
    """0: any."""
    protocol: int
    """0: any."""


class _Place(NamedTuple):
    network: str
    port: int
    """That the pods behind a Service take it at; 0: as asked."""


def trace_rows(world: World, hosts: Hosts, asked: Asked) -> tuple[TraceRow, ...]:
    """Return the rows of a trace: every source with every destination of its IP version."""
    sources = [_Place("", 0)]
    destinations = [_Place("", 0)]
    if asked.source:
        sources = list(dict.fromkeys(_Place(n, 0) for n, _ in _places(world, hosts, asked.source)))
    if asked.destination:
        destinations = _places(world, hosts, asked.destination, asked.port)
    rows = tuple(
        TraceRow(source.network, to.network, to.port or asked.port, asked.protocol)
        for source in sources
        for to in destinations
        if not source.network or not to.network or (":" in source.network) == (":" in to.network)
    )
    if not rows:
        raise BadTrace(
            f"{asked.source} and {asked.destination} have no addresses of the same IP version"
        )
    return rows


def _places(world: World, hosts: Hosts, text: str, port: int = 0) -> list[_Place]:
    with contextlib.suppress(ValueError):
        return [_Place(str(parse_network(text, strict=False)), 0)]
    try:
        party = find_target(world, text, hosts)
    except NoSuchParty as error:
        raise BadTrace(str(error)) from error
    addresses: Iterable[Address] = party.addresses
    behind: list[_Place] = []
    if party.role is Role.SERVICE and party.key is not None:
        service = world.services[party.key]
        addresses = (
            *service.cluster_ips,
            *service.load_balancer_ips,
            *service.external_ips,
        )
        behind = _behind(world, party.key, port)
    found = [_Place(_whole(address), 0) for address in dict.fromkeys(addresses)] + behind
    if not found:
        raise BadTrace(f"{text} has no address yet")
    return found


def _behind(world: World, key: Key, port: int) -> list[_Place]:
    """Return the pods behind a Service, at the ports where they take what is sent to `port`."""
    names = {p.name for p in world.services[key].ports if not port or p.port == port}
    places = [
        _Place(_whole(address), p.port)
        for piece in world.slices.get(key, ())
        for p in piece.ports
        if p.name in names and p.port
        for address in piece.addresses
    ]
    return list(dict.fromkeys(places))


def _whole(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"
