"""Things by network, found by an address that the network holds.

    network  ->  thing;  address  ->  things of every network around it, the longest first

Cost        one dictionary access for each length of network that is in use
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from cairn.net import Address, Network

Thing = TypeVar("Thing")


class PrefixTable(Generic[Thing]):
    """Things by network, of both families."""

    def __init__(self) -> None:
        self._lengths: dict[tuple[int, int], dict[int, Thing]] = {}
        self._order: dict[int, tuple[int, ...]] = {4: (), 6: ()}

    def get(self, network: Network) -> Thing | None:
        """Return the thing of exactly this network."""
        things = self._lengths.get((network.version, network.prefixlen))
        return things.get(_cut(network)) if things else None

    def set(self, network: Network, thing: Thing) -> None:
        """Give a network its thing."""
        place = network.version, network.prefixlen
        if place not in self._lengths:
            self._lengths[place] = {}
            self._reorder(network.version)
        self._lengths[place][_cut(network)] = thing

    def remove(self, network: Network) -> None:
        """Forget the thing of a network."""
        place = network.version, network.prefixlen
        things = self._lengths[place]
        del things[_cut(network)]
        if not things:
            del self._lengths[place]
            self._reorder(network.version)

    def around(self, address: Address) -> Iterator[Thing]:
        """Yield the things of every network that holds `address`, the longest first."""
        return self._around(address, address.max_prefixlen)

    def around_network(self, network: Network) -> Iterator[Thing]:
        """Yield the things of `network` and of every network that holds it, the longest first."""
        return self._around(network.network_address, network.prefixlen)

    def _around(self, address: Address, longest: int) -> Iterator[Thing]:
        number, bits = int(address), address.max_prefixlen
        for length in self._order[address.version]:
            if length <= longest:
                thing = self._lengths[address.version, length].get(number >> (bits - length))
                if thing is not None:
                    yield thing

    def _reorder(self, version: int) -> None:
        lengths = (length for family, length in self._lengths if family == version)
        self._order[version] = tuple(sorted(lengths, reverse=True))


def _cut(network: Network) -> int:
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
