"""One direction of one subject: whose connections are judged how.

    Ruleset (enforced), Ruleset (with audit)  ->  DirectionPolicy, kept true as groups come and go

Invariants  A group that no rule tells from everyone has no entry: `rest` is for it.
Cost        compiled once in proportion to the groups that its rules mean; after that in
            proportion to the groups that came or went
"""

from collections.abc import Iterable
from typing import NamedTuple

from cairn.abi.structs import Identity, PolicyAction
from cairn.compile.policy.decision import Candidate, Decision, decide, decide_named
from cairn.compile.policy.group import Atom, Group
from cairn.compile.policy.partition import Span, named_ports, partition, spans_of
from cairn.compile.policy.peer_sets import Follower, PeerSets
from cairn.compile.policy.ruleset import RankedRule, Ruleset
from cairn.desired.policy import DirectionPolicy, Redirect, Table, Verdict
from cairn.kube.policy.rule import Direction, DnsRule, RuleRef
from cairn.kube.policy.workload import NamedPort
from cairn.net import Protocol

_DNS: tuple[Span, ...] = ((int(Protocol.TCP), 53, 53), (int(Protocol.UDP), 53, 53))
_ANY_NAME = Redirect(dns=(DnsRule(pattern="*"),), direction=Direction.EGRESS)
_OPEN = Table(Verdict(PolicyAction.ALLOW, None))


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
        self._groups: dict[Atom, set[Group]] = {}
        self._rules_of: dict[Atom, list[int]] = {}
        self._everyone: list[int] = []
        self._by_name: list[int] = []
        for place, ranked in enumerate(ruleset.rules):
            if ranked.everyone:
                self._everyone.append(place)
            elif ranked.by_name:
                self._by_name.append(place)
            for atom in ranked.atoms:
                self._rules_of.setdefault(atom, []).append(place)
        for atom in self._rules_of:
            self._groups[atom] = sets.follow(atom, self)

    def close(self) -> None:
        """Follow nothing any more."""
        for atom in self._groups:
            self._sets.unfollow(atom, self)

    def touch(self, group: Group) -> None:
        """Pass it on."""
        self._owner.touch(group)

    def groups(self) -> Iterable[Group]:
        """Return every group that some rule tells from everyone."""
        return set().union(*self._groups.values())

    def matching(self, group: Group | None) -> _Matching:
        """Return which rules match a group; None: one that no rule tells from everyone."""
        plain = set() if group is not None and group.name is not None else set(self._everyone)
        if group is not None:
            for atom, groups in self._groups.items():
                if group in groups:
                    plain.update(self._rules_of[atom])
        named = () if group is not None and group.name is not None else self._by_name
        return _Matching(tuple(sorted(plain)), tuple(n for n in named if n not in plain))


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
        self._tables: dict[object, Table] = {}
        self._rest = self._table(None)
        self._peers: dict[Group, Table] = {}
        self.update({group for side in sides for group in side.groups()})

    def close(self) -> None:
        """Follow nothing any more."""
        for side in self._sides:
            side.close()

    def update(self, groups: Iterable[Group]) -> None:
        """Judge groups anew that may be meant by other peers than before."""
        for group in groups:
            table = self._table(group)
            if table is self._rest and group.name is None:
                self._peers.pop(group, None)
            else:
                self._peers[group] = table

    def forget(self, groups: Iterable[Group]) -> None:
        """Forget groups that are gone."""
        for group in groups:
            self._peers.pop(group, None)

    def policy(self) -> DirectionPolicy:
        """Return the verdicts as they are now."""
        peers = {group.number: table for group, table in self._peers.items()}
        if self._own_node_passes:
            peers[Identity.HOST] = _OPEN
        return DirectionPolicy(self._rest, peers)

    def _table(self, group: Group | None) -> Table:
        ports = self._ports
        if self._direction is Direction.EGRESS:
            ports = group.ports if group is not None else ()
            ports = tuple(port for port in ports if port.name in self._named)
        matching = tuple(side.matching(group) for side in self._sides)
        is_name = group is not None and group.name is not None
        key = (matching, ports, is_name)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = self._build(matching, ports, is_name=is_name)
        return table

    def _build(
        self, matching: tuple[_Matching, ...], ports: tuple[NamedPort, ...], *, is_name: bool
    ) -> Table:
        numbered: list[tuple[int, tuple[Span, ...] | None]] = []
        candidates: list[tuple[int, Candidate]] = []
        for which, (side, found) in enumerate(zip(self._sides, matching, strict=True)):
            for place in sorted((*found.plain, *found.named)):
                ranked = side.ruleset.rules[place]
                numbered.append((len(candidates), spans_of(ranked.rule.matches, ports)))
                candidates.append((which, Candidate(ranked, place in found.named)))

        def verdict(places: tuple[int, ...], is_dns: bool) -> Verdict:
            decisions = [
                self._decide(which, [candidates[p][1] for p in places if candidates[p][0] == which],
                             is_name=is_name)
                for which in range(len(self._sides))
            ]  # fmt: skip
            return _verdict(decisions, learn=is_dns)

        return partition(numbered, verdict, _DNS if self._learns else ())

    def _decide(self, which: int, candidates: list[Candidate], *, is_name: bool) -> Decision:
        ruleset = self._sides[which].ruleset
        if is_name:
            return decide_named(candidates, _fallback(ruleset))
        return decide(candidates, ruleset.isolated_by)


def _fallback(ruleset: Ruleset) -> RuleRef:
    """Return what denies where no rule by name allows."""
    if ruleset.isolated_by is not None:
        return ruleset.isolated_by
    by_name: Iterable[RankedRule] = (r for r in ruleset.rules if r.by_name)
    return next(iter(by_name), ruleset.rules[0]).ref


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
