"""The identity of every network that has one, as the data plane's trie has them.

    addresses of pods and nodes, named networks  ->  Mapping[Network, identity]

Cost        networks are made while it is read, and not kept
"""

from collections.abc import Iterator, Mapping

from cairn.compile.policy.group import host_network
from cairn.compile.policy.networks import NamedNetworks
from cairn.compile.policy.nodes import Nodes
from cairn.compile.policy.pods import Pods
from cairn.net import Address, Network


class IdentityMap(Mapping[Network, int]):
    """A view: it is always what the engine is now."""

    def __init__(self, named: NamedNetworks, nodes: Nodes, pods: Pods) -> None:
        self._named = named
        self._nodes = nodes
        self._pods = pods

    def __getitem__(self, network: Network) -> int:
        if network.prefixlen == network.max_prefixlen:
            number = self._special(network.network_address)
            if number is not None:
                return number
        group = self._named.group_of(network)
        if group is None:
            raise KeyError(network)
        return group.number

    def __iter__(self) -> Iterator[Network]:
        seen: set[Address] = set()
        for address in self._nodes.addresses():
            seen.add(address)
            yield host_network(address)
        for address, _ in self._pods.addresses():
            if address not in seen:
                seen.add(address)
                yield host_network(address)
        for network in self._named:
            single = network.prefixlen == network.max_prefixlen
            if not single or network.network_address not in seen:
                yield network

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def at(self, address: Address) -> int:
        """Return the identity of an address."""
        number = self._special(address)
        return self._named.group_at(address).number if number is None else number

    def _special(self, address: Address) -> int | None:
        group = self._nodes.group_at(address) or self._pods.group_at(address)
        return group.number if group is not None else None
