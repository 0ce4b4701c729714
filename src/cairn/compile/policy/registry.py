"""All groups that there are, with their numbers, and who hears of it.

    what a group stands for  ->  Group, while somebody uses it

Invariants  Equal contents are one group; its number depends only on what other groups there are.
Cost        constant, but for the label index: in proportion to the labels of the group
"""

from collections.abc import Callable, Iterator, Mapping
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


class Audience(Shape):
    """Who follows which groups there are."""

    def joined(self, group: Group) -> None:
        """Hear of a new group."""

    def left(self, group: Group) -> None:
        """Hear that a group is gone; its number is still what it was."""


class Registry:
    """Groups by what they stand for and by number."""

    def __init__(self) -> None:
        self.pods: LabelIndex[Group] = LabelIndex()
        """Groups of pods, by their labels."""
        self.others: dict[Group, None] = {}
        """Groups that are not of pods."""
        self.moved: set[Group] = set()
        """Groups that have another number than they had; whoever reads it clears it."""
        self.audience: Audience | None = None
        self._by_number: dict[int, Group] = {}
        self._digests: dict[bytes, Group] = {}
        self._spaces = {
            first: Numbering(first, end - first)
            for first, end in (
                (FIRST_POD, FIRST_NETWORK),
                (FIRST_NETWORK, FIRST_NAME),
                (FIRST_NAME, END),
            )
        }
        self._digest_of: dict[Group, tuple[int, bytes]] = {}
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

    def __iter__(self) -> Iterator[Group]:
        yield from self.pods
        yield from self.others

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
        if group.users or group not in self._digest_of:
            return
        space, digest = self._digest_of.pop(group)
        del self._digests[digest]
        self.leave(group)
        self._renumber(self._spaces[space].give_back(digest))

    def join(self, group: Group) -> None:
        """Take up a group under the number that it has."""
        self._by_number[group.number] = group
        if group.is_pod:
            self.pods.add(group.labels, group)
        else:
            self.others[group] = None
        if self.audience is not None:
            self.audience.joined(group)

    def leave(self, group: Group) -> None:
        """Forget a group."""
        if self.audience is not None:
            self.audience.left(group)
        if group.is_pod:
            self.pods.remove(group)
        else:
            del self.others[group]
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
