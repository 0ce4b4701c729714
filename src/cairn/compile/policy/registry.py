"""All groups that there are, with their numbers, and who hears of it.

    what a group stands for  ->  Group, while somebody uses it

Invariants  Equal contents are one group; its number depends only on what other groups there are.
Cost        constant, but for the label index: in proportion to the labels of the group
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol as Shape

from cairn.compile.policy.group import (
    END,
    FIRST_NAME,
    FIRST_NETWORK,
    FIRST_POD,
    WHOLE_WORLD,
    WORLD_NUMBER,
    Group,
    reserved_labels,
    world_natures,
)
from cairn.compile.policy.numbering import Numbering, digest_of
from cairn.compile.policy.selector_index import LabelIndex
from cairn.kube.policy.rule import CidrPeer, FqdnPeer
from cairn.net import Network


class Audience(Shape):
    """Who follows which groups there are."""

    def joined(self, group: Group) -> None:
        """Hear of a new group."""

    def left(self, group: Group) -> None:
        """Hear that a group is gone; its number is still what it was."""


class GroupsByKind:
    """Groups where those look who ask for the members of a peer."""

    def __init__(self) -> None:
        self.pods: LabelIndex[Group] = LabelIndex()
        """Those of pods, by their labels."""
        self.insiders: dict[CidrPeer, set[Group]] = {}
        """Those of pods that a network means, by that network."""
        self.names: dict[FqdnPeer, Group] = {}
        """Those of names."""
        self.others: dict[Group, None] = {}
        """Nodes, the API server, the world: few."""
        self._networks: dict[int, list[tuple[int, int, Group]]] = {4: [], 6: []}

    def add(self, group: Group) -> None:
        """Take up a group."""
        if group.is_pod:
            self.pods.add(group.labels, group)
            for peer in group.inside:
                self.insiders.setdefault(peer, set()).add(group)
        elif group.name is not None:
            self.names[group.name] = group
        elif group.is_network and group.network is not None:
            places = self._networks[group.network.version]
            insort(places, (*_place(group.network), group), key=_first)
        else:
            self.others[group] = None

    def remove(self, group: Group) -> None:
        """Take a group out again."""
        if group.is_pod:
            self.pods.remove(group)
            for peer in group.inside:
                insiders = self.insiders[peer]
                insiders.discard(group)
                if not insiders:
                    del self.insiders[peer]
        elif group.name is not None:
            del self.names[group.name]
        elif group.is_network and group.network is not None:
            places = self._networks[group.network.version]
            del places[bisect_left(places, _place(group.network), key=_first)]
        else:
            del self.others[group]

    def networks(self) -> Iterator[Group]:
        """Yield the groups of all named networks."""
        for places in self._networks.values():
            yield from (group for _, _, group in places)

    def networks_in(self, network: Network) -> Iterable[Group]:
        """Return the groups of the named networks that lie in `network`."""
        places = self._networks[network.version]
        first = bisect_left(places, (int(network.network_address), 0), key=_first)
        last = bisect_left(places, (int(network.broadcast_address) + 1, 0), key=_first)
        found = (group for _, _, group in places[first:last])
        return (g for g in found if g.network and g.network.prefixlen >= network.prefixlen)


class Registry:
    """Groups by what they stand for and by number."""

    def __init__(self) -> None:
        self.groups = GroupsByKind()
        self.moved: set[Group] = set()
        """Groups that have another number than they had; whoever reads it clears it."""
        self.audience: Audience | None = None
        self._by_number: dict[int, Group] = {}
        self._digests: dict[bytes, Group] = {}
        self._digest_of: dict[Group, tuple[int, bytes]] = {}
        self._spaces = {
            first: Numbering(first, end - first)
            for first, end in (
                (FIRST_POD, FIRST_NETWORK),
                (FIRST_NETWORK, FIRST_NAME),
                (FIRST_NAME, END),
            )
        }
        self.worlds = {family: self._world(family) for family in (4, 6)}
        """The groups of what no named network holds."""

    def _world(self, family: int) -> Group:
        natures = world_natures(family)
        group = Group(
            number=WORLD_NUMBER[family],
            labels=reserved_labels(natures),
            natures=natures,
            network=WHOLE_WORLD[family],
        )
        self.join(group)
        return group

    def by_number(self, number: int) -> Group | None:
        """Return the group with an identity, None if there is none."""
        return self._by_number.get(number)

    def use(self, space: int, text: str, make: Callable[[], Group]) -> Group:
        """Return the group that stands for `text`, with one user more."""
        digest = digest_of(text)
        group = self._digests.get(digest)
        if group is None:
            group = make()
            self._digests[digest] = group
            self._digest_of[group] = space, digest
            changed = self._spaces[space].take(digest)
            group.number = changed.pop(digest)
            self._renumber(changed)
            self.join(group)
        group.users += 1
        return group

    def release(self, group: Group) -> None:
        """Take back one use of a group; without any it is gone."""
        group.users -= 1
        if group.users:
            return
        space, digest = self._digest_of.pop(group)
        del self._digests[digest]
        self.leave(group)
        self._renumber(self._spaces[space].give_back(digest))

    def join(self, group: Group) -> None:
        """Take up a group under the number that it has."""
        self._by_number[group.number] = group
        self.groups.add(group)
        if self.audience is not None:
            self.audience.joined(group)

    def leave(self, group: Group) -> None:
        """Forget a group."""
        if self.audience is not None:
            self.audience.left(group)
        self.groups.remove(group)
        if self._by_number.get(group.number) is group:
            del self._by_number[group.number]

    def _renumber(self, changed: Mapping[bytes, int]) -> None:
        groups = {self._digests[digest]: number for digest, number in changed.items()}
        for group in groups:
            self.leave(group)
        for group, number in groups.items():
            group.number = number
            self.join(group)
            self.moved.add(group)


def _place(network: Network) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen


def _first(place: tuple[int, int, Group]) -> tuple[int, int]:
    return place[:2]
