"""One direction of one subject: whose connections are judged how.

    Ruleset (enforced), Ruleset (with audit)  ->  DirectionPolicy, kept true as groups come and go

Invariants  A group that no rule tells from everyone has no entry: `rest` is for it.
Cost        compiled once in proportion to the groups that its rules mean; after that in
            proportion to the groups that came or went
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cairn.abi.structs import Identity, PolicyAction
from cairn.compile.policy.decision import Candidate, Decision, decide, decide_named, kind_of
from cairn.compile.policy.group import Atom, Group
from cairn.compile.policy.partition import Covering, Span, named_ports, partition, spans_of
from cairn.compile.policy.peer_sets import Follower, PeerSets
from cairn.compile.policy.ruleset import Ruleset
from cairn.desired.policy import DirectionPolicy, Redirect, Table, Verdict
from cairn.kube.policy.rule import Direction, DnsRule, RuleRef, Tier
from cairn.kube.policy.workload import NamedPort
from cairn.net import Protocol

_DNS: tuple[Span, ...] = ((int(Protocol.TCP), 53, 53), (int(Protocol.UDP), 53, 53))
_ANY_NAME = Redirect(dns=(DnsRule(pattern="*"),), direction=Direction.EGRESS)
_OPEN = Table(Verdict(PolicyAction.ALLOW, None))


Places = tuple[int, ...]
"""Rules of a side, by their place in the order."""


class _Matching(NamedTuple):
    """Which rules of a side match a group: those that do, and those that would by name."""

    plain: tuple[int, ...]
    named: tuple[int, ...]


class Side:
    """The rules as enforced, or with those in audit mode."""

    def __init__(self, ruleset: Ruleset, sets: PeerSets, owner: Follower) -> None:
        self.ruleset = ruleset
        self._sets = sets
        self._owner = owner
        rules = tuple(enumerate(ruleset.rules))
        self._everyone = tuple(place for place, ranked in rules if ranked.everyone)
        self._by_name = tuple(place for place, ranked in rules if ranked.by_name)
        self._kinds_of_names = self._one_of_each(self._by_name)
        self._rules_of: dict[Atom, list[int]] = {}
        for place, ranked in rules:
            for atom in ranked.atoms:
                self._rules_of.setdefault(atom, []).append(place)
        self._groups = {atom: sets.follow(atom, self) for atom in self._rules_of}

    def close(self) -> None:
        """Follow nothing any more."""
        for atom in self._groups:
            self._sets.unfollow(atom, self)

    def touch(self, group: Group) -> None:
        """Pass it on."""
        self._owner.touch(group)

    def told_apart(self) -> dict[Group, list[int]]:
        """Return every group that some rule tells from everyone, with these rules."""
        found: dict[Group, list[int]] = {}
        for atom, groups in self._groups.items():
            for group in groups:
                found.setdefault(group, []).extend(self._rules_of[atom])
        return found

    def rules_for(self, group: Group) -> Places:
        """Return the rules that tell a group from everyone."""
        rules_of = self._rules_of
        meaning = [rules_of[atom] for atom, groups in self._groups.items() if group in groups]
        return tuple(place for places in meaning for place in places)

    def matching(self, special: Iterable[int], *, is_name: bool) -> _Matching:
        """Return which rules match a group that the rules `special` tell from everyone."""
        if is_name:
            return _Matching(tuple(sorted(set(special))), ())
        plain = {*self._everyone, *special}
        named = self._kinds_of_names
        if not plain.isdisjoint(self._by_name):
            named = self._one_of_each(place for place in self._by_name if place not in plain)
        return _Matching(tuple(sorted(plain)), named)

    def _one_of_each(self, by_name: Iterable[int]) -> Places:
        """Return rules by name without those of the normal tier that are like one before.

        Which name it is does not matter where only the address is known; thousands are common.
        """
        found: dict[object, int] = {}
        for place in by_name:
            ranked = self.ruleset.rules[place]
            alike = ranked.rule.matches if ranked.tier is Tier.NORMAL else place
            found.setdefault(alike, place)
        return tuple(found.values())


class CompiledDirection:
    """What a direction comes to, and what it must hear of."""

    def __init__(
        self,
        direction: Direction,
        sides: tuple[Side, ...],
        ports: tuple[NamedPort, ...],
        *,
        own_node_passes: bool,
    ) -> None:
        self._direction = direction
        self._sides = sides
        self._ports = ports
        self._own_node_passes = own_node_passes
        self._learns = direction is Direction.EGRESS and sides[0].ruleset.learns_names
        self._named = named_ports(r for side in sides for r in side.ruleset.rules)
        self._fallback = _fallback([side.ruleset for side in sides])
        self._tables: dict[object, Table] = {}
        self._distinct: dict[Table, Table] = {}
        nothing: tuple[Places, ...] = ((),) * len(sides)
        self._rest = self._table(None, nothing)
        self._peers: dict[int, Table] = {}
        told_apart = [side.told_apart() for side in sides]
        for group in set().union(*told_apart):
            self._judge(group, tuple(tuple(found.get(group, ())) for found in told_apart))

    def close(self) -> None:
        """Follow nothing any more."""
        for side in self._sides:
            side.close()

    def update(self, numbers: Iterable[int], groups: Iterable[Group]) -> None:
        """Forget what had these numbers, and judge groups anew that may be meant otherwise now."""
        for number in numbers:
            self._peers.pop(number, None)
        for group in groups:
            self._judge(group, tuple(side.rules_for(group) for side in self._sides))

    def policy(self) -> DirectionPolicy:
        """Return the verdicts as they are now."""
        peers = self._peers.copy()
        if self._own_node_passes:
            peers[int(Identity.HOST)] = _OPEN
        return DirectionPolicy(self._rest, peers)

    def _judge(self, group: Group, special: tuple[Places, ...]) -> None:
        if any(special):
            table = self._table(group, special)
            if table is not self._rest or group.name is not None:
                self._peers[group.number] = table

    def _table(self, group: Group | None, special: tuple[Places, ...]) -> Table:
        """Return the table of a group that these rules tell from everyone."""
        is_name = group is not None and group.name is not None
        ports = self._ports
        if self._direction is Direction.EGRESS:
            ports = ()
            if self._named and group is not None:
                ports = tuple(port for port in group.ports if port.name in self._named)
        key = (special, ports, is_name)
        table = self._tables.get(key)
        if table is None:
            matching = tuple(
                side.matching(places, is_name=is_name)
                for side, places in zip(self._sides, special, strict=True)
            )
            table = self._build(matching, ports, is_name=is_name)
            table = self._tables[key] = self._distinct.setdefault(table, table)
        return table

    def _build(
        self, matching: tuple[_Matching, ...], ports: tuple[NamedPort, ...], *, is_name: bool
    ) -> Table:
        covering: list[Covering] = []
        candidates: list[tuple[int, Candidate]] = []
        for which, (side, found) in enumerate(zip(self._sides, matching, strict=True)):
            named = frozenset(found.named)
            for place in sorted((*found.plain, *named)):
                ranked = side.ruleset.rules[place]
                candidate = Candidate(ranked, place in named)
                kind = (which, kind_of(candidate)) if kind_of(candidate) else None
                spans = spans_of(ranked.rule.matches, ports)
                covering.append(Covering(len(candidates), spans, kind))
                candidates.append((which, candidate))

        def verdict(places: tuple[int, ...], is_dns: bool) -> Verdict:
            decisions = [
                self._decide(which, [candidates[p][1] for p in places if candidates[p][0] == which],
                             is_name=is_name)
                for which in range(len(self._sides))
            ]  # fmt: skip
            return _verdict(decisions, learn=is_dns)

        return partition(covering, verdict, _DNS if self._learns else ())

    def _decide(self, which: int, candidates: list[Candidate], *, is_name: bool) -> Decision:
        ruleset = self._sides[which].ruleset
        if is_name:
            return decide_named(candidates, ruleset.isolated_by, self._fallback)
        return decide(candidates, ruleset.isolated_by)


def _fallback(rulesets: Sequence[Ruleset]) -> RuleRef:
    """Return what denies where no rule by name allows."""
    isolating = [found.isolated_by for found in rulesets if found.isolated_by is not None]
    return (*isolating, *(one.ref for found in rulesets for one in found.rules))[0]


def _verdict(decisions: list[Decision], *, learn: bool) -> Verdict:
    enforced, *audited = decisions
    action, redirect = enforced.action, enforced.redirect
    if learn and action is PolicyAction.ALLOW:
        action, redirect = PolicyAction.PROXY, _ANY_NAME
    audit = None
    for other in audited:
        rule = other.rule or other.passed_by
        if rule is not None and not _same(enforced, other):
            audit = other.action, rule
    return Verdict(action, enforced.rule, redirect, audit)


def _same(one: Decision, other: Decision) -> bool:
    denials = (PolicyAction.DENY, PolicyAction.DEFAULT_DENY)
    if one.action in denials and other.action in denials:
        return True
    return one.action is other.action and one.redirect == other.redirect
