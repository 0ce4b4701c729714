"""One subject: a kind of pods of the own node, or the node itself, with what was compiled for it.

    policies that select it, groups that come and go  ->  SubjectPolicy

Cost        policies that change make it compile anew; groups that come or go cost only their
            own entries
"""

from collections.abc import Callable, Mapping

from cairn.compile.policy.direction import CompiledDirection, Side
from cairn.compile.policy.group import Group
from cairn.compile.policy.peer_sets import PeerSets
from cairn.compile.policy.ruleset import Ruleset
from cairn.desired.policy import DirectionPolicy, SubjectPolicy
from cairn.kube.policy.rule import Direction, PolicyRef
from cairn.kube.policy.workload import NamedPort

Rulesets = Callable[["Subject", Direction], tuple[Ruleset, ...]]
"""The rules of a subject as enforced, and with those in audit mode if these are any."""


class Subject:
    """Who has policies."""

    def __init__(
        self,
        labels: Mapping[str, str],
        ports: tuple[NamedPort, ...],
        *,
        is_node: bool,
        on_touch: Callable[["Subject"], None],
    ) -> None:
        self.labels = labels
        self.ports = ports
        self.is_node = is_node
        self.policies: set[PolicyRef] = set()
        self.numbers: frozenset[int] = frozenset()
        self._on_touch = on_touch
        self._stale = True
        self._touched: set[Group] = set()
        self._touched_numbers: set[int] = set()
        self._compiled: dict[Direction, CompiledDirection] = {}
        self._policy = SubjectPolicy(0)

    def invalidate(self) -> None:
        """Compile all of it anew before the next answer."""
        self._stale = True
        self._on_touch(self)

    def touch(self, group: Group) -> None:
        """Judge a group anew before the next answer."""
        self._touched.add(group)
        self._touched_numbers.add(group.number)
        self._on_touch(self)

    def close(self) -> None:
        """Follow nothing any more."""
        for compiled in self._compiled.values():
            compiled.close()
        self._compiled = {}
        self._stale = True
        self._forget_touched()

    def policy(self, identity: int, sets: PeerSets, rulesets: Rulesets) -> SubjectPolicy:
        """Return its policy as it is now, under one of its identities."""
        if self._stale:
            self._compile(sets, rulesets)
        elif self._touched:
            there = [group for group in self._touched if sets.knows(group)]
            for compiled in self._compiled.values():
                compiled.update(self._touched_numbers, there)
        else:
            return self._under(identity)
        self._stale = False
        self._forget_touched()
        self._policy = SubjectPolicy(
            0, self._direction(Direction.INGRESS), self._direction(Direction.EGRESS)
        )
        return self._under(identity)

    def _forget_touched(self) -> None:
        self._touched.clear()
        self._touched_numbers.clear()

    def _under(self, identity: int) -> SubjectPolicy:
        return SubjectPolicy(identity, self._policy.ingress, self._policy.egress)

    def _direction(self, direction: Direction) -> DirectionPolicy | None:
        compiled = self._compiled.get(direction)
        return compiled.policy() if compiled is not None else None

    def _compile(self, sets: PeerSets, rulesets: Rulesets) -> None:
        before = tuple(self._compiled.values())
        self._compiled = {}
        for direction in Direction:
            found = rulesets(self, direction)
            if all(ruleset.says_nothing for ruleset in found):
                continue
            self._compiled[direction] = CompiledDirection(
                direction,
                tuple(Side(ruleset, sets, self) for ruleset in found),
                self.ports,
                own_node_passes=direction is Direction.INGRESS and not self.is_node,
            )
        # Only now: a set that both follow stays.
        for compiled in before:
            compiled.close()
