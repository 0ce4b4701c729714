"""Choose a pod's address from its node's networks.

    networks, addresses in use, the last one given  ->  the next free address

Addresses go round: one that was released is not given again before all others were, so that what
others still remember of a dead pod (neighbours, connections, DNS answers) does not hit a new one.

Invariants  Never a network's first address nor its last (the broadcast of IPv4).
"""

from collections.abc import Container
from itertools import chain

from cairn.net import Address, Network


class Exhausted(Exception):
    """Every address of the network is in use."""


def next_address(network: Network, used: Container[Address], last: Address | None) -> Address:
    """Return the first free address after `last`, going round; raises Exhausted."""
    low = int(network.network_address) + 1
    high = int(network.broadcast_address) - 1
    start = low
    if last is not None and last in network and low <= int(last) < high:
        start = int(last) + 1
    for number in chain(range(start, high + 1), range(low, start)):
        address = network.network_address + (number - int(network.network_address))
        if address not in used:
            return address
    raise Exhausted(f"all {max(0, high - low + 1)} pod addresses of {network} are in use")
