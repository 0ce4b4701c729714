"""Which addresses nodes refuse because they belong to a pool and no Service holds them.

    pools, networks of the uplink  ->  networks, none of which overlaps another of its pool

A router that sends a whole pool to the nodes would get an unheld address back, and send it again,
until its hop limit ends. Blocks that touch the uplink's own subnet are left out: nobody routes
what is on the link, and neighbours that live there by a broad block must not be cut off.

Invariants  Blocks are named by few prefixes, however many addresses they have.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from cairn.kube.pool import Block, Pool
from cairn.net import Network


def refused_networks(pools: Iterable[Pool], on_link: Iterable[Network]) -> frozenset[Network]:
    """Return the networks of the pools' blocks that are not on the link."""
    near = tuple(on_link)
    return frozenset(
        network
        for pool in pools
        for block in pool.blocks
        for network in _networks(block)
        if not any(network.version == n.version and network.overlaps(n) for n in near)
    )


def _networks(block: Block) -> Iterator[Network]:
    if block.version == 4:
        yield from summarize_address_range(IPv4Address(block.first), IPv4Address(block.last))
    else:
        yield from summarize_address_range(IPv6Address(block.first), IPv6Address(block.last))
