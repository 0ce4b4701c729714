"""The kernel's routes to other nodes' pods: by a neighbour on the uplink, or through the overlay.

    {pod network: Hop}  ->  routes

Invariants  Routes carry the protocol number below, so that only our own are ever removed.
Standards   rtnetlink(7)
Not here    Which node is reached how (apply.peers).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from cairn.net import Address, Network, parse_address, parse_network
from cairn.netlink.iproute import IPRoute, NetlinkError
from cairn.reconcile import plan

ROUTE_PROTOCOL = 201
"""Owner of our routes to other nodes' pods in the kernel's table (RTPROT_*; unassigned there)."""
_AF_INET, _AF_INET6 = 2, 10


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a packet goes next."""

    ifindex: int
    """The interface."""
    gateway: Address | None
    """The neighbour; without one the interface finds the way by itself, as the overlay does."""
    source: Address | None = None
    """The node's address that its own packets carry; None: the kernel's choice."""


def apply_pod_routes(desired: Mapping[Network, Hop]) -> list[str]:
    """Make the kernel's routes to other nodes' pods be `desired`; return what failed."""
    failed: list[str] = []
    with IPRoute() as kernel:
        actual = _pod_routes(kernel)
        todo = plan(actual, desired)
        for network, hop in todo.writes.items():
            try:
                if network in actual and actual[network].ifindex != hop.ifindex:
                    # IPv6 would keep both: it replaces a route only by one of its own kind.
                    kernel.route("del", dst=str(network), proto=ROUTE_PROTOCOL)
                kernel.route("replace", dst=str(network), proto=ROUTE_PROTOCOL, **_words(hop))
            except NetlinkError as error:
                failed.append(f"route {network} to {hop.gateway or 'the overlay'}: {error}")
        for network in todo.delete:
            try:
                kernel.route("del", dst=str(network), proto=ROUTE_PROTOCOL)
            except NetlinkError as error:
                failed.append(f"removal of route {network}: {error}")
    return failed


def _words(hop: Hop) -> dict[str, Any]:
    named = {"gateway": hop.gateway, "prefsrc": hop.source}
    return {"oif": hop.ifindex} | {name: str(value) for name, value in named.items() if value}


def _pod_routes(kernel: IPRoute) -> dict[Network, Hop]:
    found: dict[Network, Hop] = {}
    for message in chain.from_iterable(
        kernel.get_routes(family=family, proto=ROUTE_PROTOCOL) for family in (_AF_INET, _AF_INET6)
    ):
        destination = message.get_attr("RTA_DST")
        if message["proto"] == ROUTE_PROTOCOL and destination:
            network = parse_network(f"{destination}/{message['dst_len']}")
            gateway, source = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_PREFSRC")
            found[network] = Hop(
                message.get_attr("RTA_OIF"),
                parse_address(gateway) if gateway else None,
                parse_address(source) if source else None,
            )
    return found
