"""Which node answers ARP and ND for a load-balancer address in its own subnet.

    address, nodes that serve it  ->  the one that answers

Every node comes to the same answer by itself (rendezvous hashing), so there is no election, no
lease, and another node takes over as soon as the first is no longer among those that serve.

Standards   Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998
"""

import hashlib
from collections.abc import Iterable

from cairn.net import Address


def answering_node(address: Address, nodes: Iterable[str]) -> str | None:
    """Return the node that answers for `address`; None if there is none."""
    return max(nodes, key=lambda node: _weight(address, node), default=None)


def _weight(address: Address, node: str) -> bytes:
    return hashlib.blake2b(address.packed + node.encode(), digest_size=8).digest()
