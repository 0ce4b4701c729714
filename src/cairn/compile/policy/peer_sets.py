"""Whom each peer of a rule means at the moment, and which subjects must hear when that changes.

    peer, follower  ->  the groups that it means;  a group comes or goes  ->  followers touched

Invariants  A set is what `group.matches` says of every group.
Cost        a group of pods touches what is filed under its labels, a network what lies around it,
            not every peer that is followed
"""

from collections.abc import Iterable
from typing import Protocol as Shape

from cairn.compile.policy.group import (
    CLUSTER,
    Atom,
    Group,
    PortNamePeer,
    matches,
    names_reserved,
)
from cairn.compile.policy.prefix_table import PrefixTable
from cairn.compile.policy.registry import Registry
from cairn.compile.policy.selector_index import SelectorIndex
from cairn.kube.policy.rule import CidrPeer, EntityPeer, FqdnPeer, LabelPeer

_CLUSTER = EntityPeer(CLUSTER)


class Follower(Shape):
    """Who compiles from sets."""

    def touch(self, group: Group) -> None:
        """Hear that another set has or has not this group now."""


class PeerSets:
    """The sets of all peers that somebody follows."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._sets: dict[Atom, set[Group]] = {}
        self._followers: dict[Atom, dict[Follower, None]] = {}
        self._by_labels: SelectorIndex[LabelPeer] = SelectorIndex()
        self._by_network: PrefixTable[dict[CidrPeer, None]] = PrefixTable()
        self._few: dict[Atom, None] = {}

    def follow(self, atom: Atom, follower: Follower) -> set[Group]:
        """Return the set of a peer, which stays true as long as it is followed."""
        groups = self._sets.get(atom)
        if groups is None:
            groups = self._sets[atom] = set(self._evaluate(atom))
            self._followers[atom] = {}
            self._file(atom)
        self._followers[atom][follower] = None
        return groups

    def unfollow(self, atom: Atom, follower: Follower) -> None:
        """Follow a peer no longer."""
        followers = self._followers[atom]
        followers.pop(follower, None)
        if not followers:
            del self._followers[atom]
            del self._sets[atom]
            self._unfile(atom)

    def knows(self, group: Group) -> bool:
        """Return whether a group is still there."""
        return self._registry.by_number(group.number) is group

    def joined(self, group: Group) -> None:
        """Put a new group into the sets of the peers that mean it."""
        for atom in self._meaning(group):
            self._sets[atom].add(group)
            self._tell(atom, group)

    def left(self, group: Group) -> None:
        """Take a group out again."""
        for atom in self._meaning(group):
            self._sets[atom].discard(group)
            self._tell(atom, group)

    def _tell(self, atom: Atom, group: Group) -> None:
        for follower in self._followers[atom]:
            follower.touch(group)

    def _file(self, atom: Atom) -> None:
        match atom:
            case LabelPeer(selector):
                self._by_labels.add(selector, atom)
                if names_reserved(selector):
                    self._few[atom] = None
            case CidrPeer(network):
                filed = self._by_network.get(network)
                if filed is None:
                    self._by_network.set(network, {atom: None})
                else:
                    filed[atom] = None
            case FqdnPeer():
                pass
            case _:
                self._few[atom] = None

    def _unfile(self, atom: Atom) -> None:
        match atom:
            case LabelPeer(selector):
                self._by_labels.remove(selector, atom)
            case CidrPeer(network):
                filed = self._by_network.get(network)
                if filed is not None:
                    del filed[atom]
                    if not filed:
                        self._by_network.remove(network)
        self._few.pop(atom, None)

    def _evaluate(self, atom: Atom) -> Iterable[Group]:
        groups = self._registry.groups
        match atom:
            case LabelPeer(selector):
                yield from groups.pods.matching(selector)
                if not names_reserved(selector):
                    return
                yield from (group for group in groups.networks() if matches(atom, group))
            case CidrPeer(network):
                yield from groups.insiders.get(atom, ())
                yield from (g for g in groups.networks_in(network) if matches(atom, g))
            case FqdnPeer():
                yield from (groups.names[atom],) if atom in groups.names else ()
                return
            case EntityPeer():
                yield from groups.pods if atom == _CLUSTER else ()
                yield from (group for group in groups.networks() if matches(atom, group))
            case PortNamePeer():
                yield from (group for group in groups.pods if matches(atom, group))
                return
        yield from (group for group in groups.others if matches(atom, group))

    def _meaning(self, group: Group) -> list[Atom]:
        """Return the peers that are followed and mean a group."""
        if group.name is not None:
            return [group.name] if group.name in self._sets else []
        if group.is_pod:
            named = {PortNamePeer(port.name) for port in group.ports}
            others: list[Atom] = [_CLUSTER, *group.inside, *named]
            found: list[Atom] = list(self._by_labels.matching(group.labels))
            return found + [atom for atom in others if atom in self._sets]
        few = [atom for atom in self._few if matches(atom, group)]
        around: list[Atom] = [peer for peer in group.inside if peer in self._sets]
        if group.network is not None:
            for filed in self._by_network.around_network(group.network):
                around += [peer for peer in filed if matches(peer, group)]
        return few + list(dict.fromkeys(around))
