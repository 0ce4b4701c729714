"""Whom each peer of a rule means at the moment, and which subjects must hear when that changes.

    peer, follower  ->  the groups that it means;  a group comes or goes  ->  followers touched

Invariants  A set is what `group.matches` says of every group.
Cost        a group of pods touches what is filed under its labels, not every peer that is followed
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
from cairn.compile.policy.registry import Registry
from cairn.compile.policy.selector_index import SelectorIndex
from cairn.kube.policy.rule import EntityPeer, LabelPeer

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
        self._others: dict[Atom, None] = {}

    def follow(self, atom: Atom, follower: Follower) -> set[Group]:
        """Return the set of a peer, which stays true as long as it is followed."""
        groups = self._sets.get(atom)
        if groups is None:
            groups = self._sets[atom] = set(self._evaluate(atom))
            self._followers[atom] = {}
            if isinstance(atom, LabelPeer):
                self._by_labels.add(atom.selector, atom)
            if not isinstance(atom, LabelPeer) or names_reserved(atom.selector):
                self._others[atom] = None
        self._followers[atom][follower] = None
        return groups

    def unfollow(self, atom: Atom, follower: Follower) -> None:
        """Follow a peer no longer."""
        followers = self._followers[atom]
        followers.pop(follower, None)
        if followers:
            return
        del self._followers[atom]
        del self._sets[atom]
        self._others.pop(atom, None)
        if isinstance(atom, LabelPeer):
            self._by_labels.remove(atom.selector, atom)

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

    def _evaluate(self, atom: Atom) -> Iterable[Group]:
        if isinstance(atom, LabelPeer):
            yield from self._registry.pods.matching(atom.selector)
            if not names_reserved(atom.selector):
                return
        else:
            yield from (group for group in self._registry.pods if matches(atom, group))
        yield from (group for group in self._registry.others if matches(atom, group))

    def _meaning(self, group: Group) -> Iterable[Atom]:
        if not group.is_pod:
            return [atom for atom in self._others if matches(atom, group)]
        named = {PortNamePeer(port.name) for port in group.ports}
        others: list[Atom] = [_CLUSTER, *group.inside, *named]
        found: list[Atom] = list(self._by_labels.matching(group.labels))
        return found + [atom for atom in others if atom in self._sets]
