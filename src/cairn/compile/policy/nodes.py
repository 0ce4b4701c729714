"""Nodes and the API server: whom their addresses belong to.

    nodes, addresses of the API server, what policies ask of them  ->  address -> Group

The own node is one group, HOST, with all its addresses: it is whatever one of them is. Other nodes
are REMOTE_NODE as long as no policy can tell one from another; what differs has its own number.
The API server is KUBE_APISERVER; where its addresses differ, one of them is. An address of both a
node and the API server has both natures.

Cost        every node is looked at when a node, or what policies ask of nodes, changes
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cairn.abi.structs import Identity
from cairn.compile.policy.group import (
    CLUSTER,
    FIRST_NETWORK,
    HOST,
    KUBE_APISERVER,
    REMOTE_NODE,
    Group,
    reserved_labels,
    world_natures,
)
from cairn.compile.policy.journal import Journal
from cairn.compile.policy.networks import InsideNetworks, NamedNetworks
from cairn.compile.policy.registry import Registry
from cairn.compile.policy.spelling import spell_peer, spell_selector
from cairn.kube.policy.rule import CidrPeer
from cairn.kube.selector import Selector
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class NodeView:
    """What of a node matters to policies."""

    labels: Mapping[str, str]
    """Of its Node object."""
    addresses: tuple[Address, ...]
    """All that are its own."""


class Facts(NamedTuple):
    """What policies can tell of an address of a node or of the API server."""

    natures: frozenset[str]
    """Entities that it belongs to."""
    nodes: frozenset[Selector] = frozenset()
    """Selectors of nodes that mean it."""
    inside: frozenset[CidrPeer] = frozenset()
    """Networks that mean nodes too, and mean it."""
    network: Network | None = None
    """Outside the cluster: the longest named network around it."""

    @property
    def weight(self) -> int:
        """How much is said of it."""
        named = self.network is not None and bool(self.network.prefixlen)
        return len(self.nodes) + len(self.inside) + named

    def spell(self) -> str:
        """Return the one text that says the same."""
        nodes = sorted(map(spell_selector, self.nodes))
        inside = sorted(map(spell_peer, self.inside))
        return f"special {sorted(self.natures)} {nodes} {inside} {self.network}"

    def group(self, number: int = 0) -> Group:
        """Return a group that has these."""
        return Group(
            number=number,
            labels=reserved_labels(self.natures),
            natures=self.natures,
            inside=self.inside,
            network=self.network,
            nodes=self.nodes,
        )


_HOST = Facts(frozenset({HOST, CLUSTER}))
_REMOTE = Facts(frozenset({REMOTE_NODE, CLUSTER}))


class Nodes:
    """Every address that is a node's or the API server's."""

    def __init__(
        self,
        own: str | None,
        registry: Registry,
        journal: Journal,
        named: NamedNetworks,
        inside: InsideNetworks,
    ) -> None:
        self._own = own
        self._registry = registry
        self._journal = journal
        self._named = named
        self._inside = inside
        self._nodes: dict[str, NodeView] = {}
        self._apiserver: frozenset[Address] = frozenset()
        self._selectors: Counter[Selector] = Counter()
        self._facts: dict[Address, Facts] = {}
        self._groups: dict[Facts, Group] = {}
        self._fixed: dict[Facts, int] = {}
        self._dirty = True

    @property
    def own_labels(self) -> Mapping[str, str] | None:
        """Labels of the own node; None while it is not known."""
        own = self._own_node()
        return own.labels if own else None

    def put(self, name: str, node: NodeView | None) -> None:
        """Take up a node, or forget it."""
        if self._nodes.get(name) == node:
            return
        if node is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node
        self._dirty = True

    def put_apiserver(self, addresses: Iterable[Address]) -> None:
        """Take up where the API server is."""
        found = frozenset(addresses)
        if found != self._apiserver:
            self._apiserver = found
            self._dirty = True

    def select(self, selector: Selector, count: int) -> None:
        """Count policies that select nodes so."""
        self._selectors[selector] += count
        if self._selectors[selector] <= 0:
            del self._selectors[selector]
        self._dirty = True

    def mark(self) -> None:
        """Look again before the next answer."""
        self._dirty = True

    def group_at(self, address: Address) -> Group | None:
        """Return the group of an address, None if it is neither a node's nor the API server's."""
        self.settle()
        facts = self._facts.get(address)
        return self._groups[facts] if facts is not None else None

    def group_of(self, name: str) -> Group | None:
        """Return the group of a node by its first address; None while it is not known."""
        self.settle()
        if name == self._own:
            return self._groups[self._facts_of_host()]
        node = self._nodes.get(name)
        return self.group_at(node.addresses[0]) if node and node.addresses else None

    def addresses(self) -> dict[Address, int]:
        """Return the identity of every such address."""
        self.settle()
        return {address: self._groups[facts].number for address, facts in self._facts.items()}

    def holders(self, groups: set[Group]) -> Iterable[Address]:
        """Return the addresses of some groups."""
        return [address for address, facts in self._facts.items() if self._groups[facts] in groups]

    def settle(self) -> None:
        """Make the groups what the nodes are now."""
        if not self._dirty:
            return
        self._dirty = False
        facts = self._all_facts()
        before = self.addresses()
        host = self._facts_of_host()
        wanted = {host, _REMOTE, *facts.values()}
        fixed = _fixed_numbers(wanted, host)
        self._regroup(wanted, fixed)
        self._facts = facts
        after = self.addresses()
        for address in before.keys() | after.keys():
            if before.get(address) != after.get(address):
                self._journal.addresses.add(address)

    def _regroup(self, wanted: set[Facts], fixed: dict[Facts, int]) -> None:
        kept = {
            one: group
            for one, group in self._groups.items()
            if one in wanted and self._fixed.get(one) == fixed.get(one)
        }
        for one in self._groups.keys() - kept.keys():
            if one in self._fixed:
                self._registry.leave(self._groups[one])
            else:
                self._registry.release(self._groups[one])
        for one in sorted(wanted - kept.keys(), key=Facts.spell):
            if one in fixed:
                kept[one] = one.group(fixed[one])
                self._registry.join(kept[one])
            else:
                kept[one] = self._registry.use(FIRST_NETWORK, one.spell(), one.group)
        self._groups, self._fixed = kept, fixed

    def _all_facts(self) -> dict[Address, Facts]:
        found: dict[Address, Facts] = {}
        own = self._own_node()
        for _, node in sorted(self._nodes.items()):
            if node is own:
                continue
            selectors = frozenset(s for s in self._selectors if s.matches(node.labels))
            for address in node.addresses:
                natures = {REMOTE_NODE, CLUSTER}
                if address in self._apiserver:
                    natures.add(KUBE_APISERVER)
                meaning = self._inside.meaning(address)
                found.setdefault(address, Facts(frozenset(natures), selectors, meaning))
        if own is not None:
            found |= dict.fromkeys(own.addresses, self._facts_of_host())
        for address in self._apiserver - found.keys():
            natures = {KUBE_APISERVER, *world_natures(address.version)}
            network = self._named.group_at(address).network
            found[address] = Facts(
                frozenset(natures), frozenset(), self._inside.meaning(address), network
            )
        return found

    def _own_node(self) -> NodeView | None:
        return self._nodes.get(self._own) if self._own is not None else None

    def _facts_of_host(self) -> Facts:
        own = self._own_node()
        if own is None:
            return _HOST
        natures = set(_HOST.natures)
        if self._apiserver.intersection(own.addresses):
            natures.add(KUBE_APISERVER)
        return Facts(
            frozenset(natures),
            frozenset(s for s in self._selectors if s.matches(own.labels)),
            frozenset(peer for a in own.addresses for peer in self._inside.meaning(a)),
        )


def _fixed_numbers(wanted: Iterable[Facts], host: Facts) -> dict[Facts, int]:
    """Return which facts have one of Hubble's numbers."""
    servers = [f for f in wanted if KUBE_APISERVER in f.natures and f != host]
    numbers = {host: int(Identity.HOST), _REMOTE: int(Identity.REMOTE_NODE)}
    # Of several that policies tell apart, the one that they say the least of; nodes before others.
    for facts in sorted(servers, key=lambda f: (f.weight, CLUSTER not in f.natures, f.spell()))[:1]:
        numbers[facts] = int(Identity.KUBE_APISERVER)
    return numbers
