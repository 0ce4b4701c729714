"""Networks that policies name: each is a group of addresses outside the cluster.

    network, named by so many policies  ->  Group;  address  ->  the group of the longest around it

A network that means pods and nodes too makes groups of pods differ: `insiders` holds these.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from cairn.compile.policy.group import (
    FIRST_NETWORK,
    WHOLE_WORLD,
    Group,
    reserved_labels,
    world_natures,
)
from cairn.compile.policy.prefix_table import PrefixTable
from cairn.compile.policy.registry import Registry
from cairn.kube.policy.rule import CidrPeer
from cairn.net import Address, Network


class NamedNetworks:
    """The networks that somebody names, counted."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._uses: Counter[Network] = Counter()
        self._groups: PrefixTable[Group] = PrefixTable()
        for family, network in WHOLE_WORLD.items():
            self._groups.set(network, registry.worlds[family])

    def __iter__(self) -> Iterator[Network]:
        yield from WHOLE_WORLD.values()
        yield from (network for network in self._uses if network.prefixlen)

    def group_of(self, network: Network) -> Group | None:
        """Return the group of a network, None if nobody names it."""
        return self._groups.get(network)

    def group_at(self, address: Address) -> Group:
        """Return the group of an address that is outside the cluster."""
        return next(self._groups.around(address))

    def name(self, network: Network) -> bool:
        """Count one naming; return whether it is the first."""
        self._uses[network] += 1
        if self._uses[network] > 1 or not network.prefixlen:
            return False
        natures = world_natures(network.version)
        labels = {**reserved_labels(natures), f"cidr:{network}": ""}
        group = self._registry.use(
            FIRST_NETWORK,
            f"network {network}",
            lambda: Group(
                number=0, labels=labels, natures=natures, network=network, is_network=True
            ),
        )
        self._groups.set(network, group)
        return True

    def unname(self, network: Network) -> bool:
        """Take one naming back; return whether it was the last."""
        self._uses[network] -= 1
        if self._uses[network]:
            return False
        del self._uses[network]
        if not network.prefixlen:
            return False
        group = self._groups.get(network)
        self._groups.remove(network)
        if group is not None:
            self._registry.release(group)
        return True


class InsideNetworks:
    """Peers by network that mean pods and nodes too, counted."""

    def __init__(self) -> None:
        self._uses: Counter[CidrPeer] = Counter()
        self._around: PrefixTable[set[CidrPeer]] = PrefixTable()

    def add(self, peer: CidrPeer) -> bool:
        """Count one use; return whether it is the first."""
        self._uses[peer] += 1
        if self._uses[peer] > 1:
            return False
        held = self._around.get(peer.network)
        if held is None:
            self._around.set(peer.network, {peer})
        else:
            held.add(peer)
        return True

    def remove(self, peer: CidrPeer) -> bool:
        """Take one use back; return whether it was the last."""
        self._uses[peer] -= 1
        if self._uses[peer]:
            return False
        del self._uses[peer]
        held = self._around.get(peer.network)
        if held is not None:
            held.discard(peer)
            if not held:
                self._around.remove(peer.network)
        return True

    def meaning(self, address: Address) -> frozenset[CidrPeer]:
        """Return the peers that mean an address."""
        found = (peer for held in self._around.around(address) for peer in held)
        return frozenset(
            peer for peer in found if not any(address in part for part in peer.excepts)
        )


def networks_of(peer: CidrPeer) -> Iterable[Network]:
    """Return every network that a peer names."""
    return (peer.network, *peer.excepts)
