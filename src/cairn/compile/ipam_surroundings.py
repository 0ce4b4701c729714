"""Addresses that pools must not give out, and the subnets that nodes are in.

Nodes, PeeringPolicies  ->  Surroundings
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.kube.node import Node
from cairn.kube.peering_policy import PeeringPolicy
from cairn.net import Address, Network, parse_network

PREFIX_BITS = {4: 24, 6: 64}
"""Nodes do not say how long their subnet's prefix is; these are what home networks have."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands beside the pools."""

    reserved: Mapping[Address, str]
    """Addresses of others, and whose they are."""
    networks: tuple[Network, ...]
    """Subnets of nodes."""


def surroundings(nodes: Iterable[Node], policies: Iterable[PeeringPolicy]) -> Surroundings:
    """Return what nodes and BGP neighbors have."""
    reserved: dict[Address, str] = {}
    networks: dict[Network, None] = {}
    for node in nodes:
        for address in node.internal_ips:
            reserved[address] = f"node {node.name}"
            text = f"{address}/{PREFIX_BITS[address.version]}"
            networks[parse_network(text, strict=False)] = None
    for policy in policies:
        for router in policy.routers:
            for neighbor in router.neighbors:
                reserved[neighbor.address] = f"BGP neighbor of policy {policy.name}"
    return Surroundings(reserved, tuple(networks))
