"""What the policies that there are need told apart: networks, nodes, names, other objects.

    a policy comes or goes  ->  networks named, groups of names, pods and nodes looked at again

Invariants  What the last policy that named it is gone with is as if it had never been named.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from cairn.compile.policy.group import FIRST_NAME, Group
from cairn.compile.policy.journal import Journal
from cairn.compile.policy.networks import InsideNetworks, NamedNetworks, networks_of
from cairn.compile.policy.nodes import Nodes
from cairn.compile.policy.pods import Pods
from cairn.compile.policy.references import Reference, References
from cairn.compile.policy.registry import Registry
from cairn.compile.policy.spelling import spell_name
from cairn.kube.policy.rule import (
    CidrPeer,
    FqdnPeer,
    GroupPeer,
    LabelPeer,
    NodePeer,
    Peer,
    Policy,
    PolicyRef,
    ServicePeer,
)


class Demand:
    """The sum of what policies name."""

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        named: NamedNetworks,
        inside: InsideNetworks,
        *,
        pods: Pods,
        nodes: Nodes,
    ) -> None:
        self.references = References()
        self._registry = registry
        self._journal = journal
        self._named = named
        self._inside = inside
        self._pods = pods
        self._nodes = nodes
        self._names: Counter[FqdnPeer] = Counter()
        self._name_groups: dict[FqdnPeer, Group] = {}

    def names(self) -> dict[FqdnPeer, int]:
        """Return the identity of every selector of names."""
        return {peer: group.number for peer, group in self._name_groups.items()}

    def add(self, policy: Policy) -> None:
        """Take up what a policy names."""
        for peer in _peers(policy):
            if isinstance(peer, ServicePeer | GroupPeer):
                self._mean(self.references.use(peer, policy.ref))
            else:
                self._mean((peer,))

    def remove(self, policy: Policy) -> None:
        """Take back what a policy names."""
        for peer in _peers(policy):
            if isinstance(peer, ServicePeer | GroupPeer):
                self._unmean(self.references.release(peer, policy.ref))
            else:
                self._unmean((peer,))

    def renew(self, kind: type[ServicePeer] | type[GroupPeer]) -> set[PolicyRef]:
        """Look again at what references come to; return the policies that it changes."""
        users: set[PolicyRef] = set()
        changed: list[tuple[Reference, tuple[Peer, ...], tuple[Peer, ...]]] = [
            *self.references.renew(kind)
        ]
        for reference, before, after in changed:
            self._mean(after)
            self._unmean(before)
            users.update(self.references.users(reference))
        return users

    def _mean(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            match peer:
                case CidrPeer():
                    self._name_networks(peer)
                    if peer.inside and self._inside.add(peer):
                        self._look_again(peer)
                case NodePeer(selector):
                    self._nodes.select(selector, 1)
                case FqdnPeer():
                    self._names[peer] += 1
                    if self._names[peer] == 1:
                        self._name_groups[peer] = self._registry.use(
                            FIRST_NAME, spell_name(peer), _maker(peer)
                        )
                case _:
                    pass

    def _unmean(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            match peer:
                case CidrPeer():
                    if peer.inside and self._inside.remove(peer):
                        self._look_again(peer)
                    self._unname_networks(peer)
                case NodePeer(selector):
                    self._nodes.select(selector, -1)
                case FqdnPeer():
                    self._names[peer] -= 1
                    if not self._names[peer]:
                        del self._names[peer]
                        self._registry.release(self._name_groups.pop(peer))
                case _:
                    pass

    def _look_again(self, peer: CidrPeer) -> None:
        self._pods.regroup_inside(peer.network)
        self._nodes.mark()

    def _name_networks(self, peer: CidrPeer) -> None:
        for network in networks_of(peer):
            if self._named.name(network):
                self._journal.networks.add(network)
                self._nodes.mark()

    def _unname_networks(self, peer: CidrPeer) -> None:
        for network in networks_of(peer):
            if self._named.unname(network):
                self._journal.networks.add(network)
                self._nodes.mark()


def _peers(policy: Policy) -> Iterator[Peer]:
    for rule in policy.rules:
        for peer in rule.peers:
            if not isinstance(peer, LabelPeer):
                yield peer


def _maker(peer: FqdnPeer) -> Callable[[], Group]:
    label = f"fqdn:{peer.name or peer.pattern}"
    return lambda: Group(number=0, labels={label: ""}, natures=frozenset(), name=peer)
