"""Rules that never decide: covered by others, overridden, contradicted.

policies  ->  Found

Cost        each rule is compared with those of policies that are about the same namespace; where
            these are too many, with equal ones alone, and a finding says so
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from cairn.diagnose.lint.cover import conditions_cover, rule_covers, selector_covers
from cairn.diagnose.lint.found import Found, Weight, of
from cairn.kube.policy.rule import (
    NAMESPACE,
    Action,
    Direction,
    Policy,
    PolicyRef,
    Rule,
    RuleRef,
    Tier,
)

Entry = tuple[Policy, int, Rule]
"""A rule with its place in its policy."""
MOST_PAIRS = 2_000_000
EVERYWHERE = ""
"""In place of a namespace: policies of the whole cluster."""


def find(policies: Iterable[Policy], linted: frozenset[PolicyRef]) -> Iterator[Found]:
    """Yield what never decides in the linted policies, whatever policy overrides it."""
    field = _Field(policies)
    asked = [entry for entry in field.entries if entry[0].ref in linted]
    for entry in asked:
        yield from _first(entry, field.near(entry, len(asked)))
    if field.too_many:
        yield Found(
            "NotAllCompared",
            Weight.NOTE,
            "NetworkPolicy",
            "",
            f"{len(asked)} rules are too many to compare each with each: those that name the same "
            "peers were compared; lint fewer files at once to compare all",
        )


class _Field:
    """All rules, by whom they may be about."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.entries: list[Entry] = []
        self.too_many = False
        self._by_place: dict[tuple[Direction, str], list[Entry]] = defaultdict(list)
        self._alike: dict[tuple[Direction, object], list[Entry]] = defaultdict(list)
        for policy in policies:
            if policy.disabled or policy.audit:
                continue
            places = _namespaces(policy) or (EVERYWHERE,)
            for number, rule in enumerate(policy.rules):
                if rule.implied:
                    continue
                entry = policy, number, rule
                self.entries.append(entry)
                self._alike[rule.direction, rule.peers].append(entry)
                for place in places:
                    self._by_place[rule.direction, place].append(entry)

    def near(self, entry: Entry, asked: int) -> Iterable[Entry]:
        """Return the rules that may be about the same connections."""
        policy, _, rule = entry
        places = (*_namespaces(policy), EVERYWHERE)
        near = [self._by_place.get((rule.direction, place), []) for place in places]
        if asked * sum(map(len, near)) > MOST_PAIRS:
            self.too_many = True
            return self._alike[rule.direction, rule.peers]
        return chain.from_iterable(near)


def _namespaces(policy: Policy) -> tuple[str, ...]:
    if policy.subject is None:
        return ()
    for requirement in policy.subject.requirements:
        if requirement.key == NAMESPACE and requirement.values:
            return tuple(sorted(requirement.values))
    return ()


def _first(entry: Entry, others: Iterable[Entry]) -> Iterator[Found]:
    """Yield why a rule never decides: the first reason is enough."""
    for other in others:
        if other[2] is not entry[2] and (found := _compare(entry, other)):
            yield found
            return


def _compare(entry: Entry, other: Entry) -> Found | None:
    policy, _, rule = entry
    above, _, wide = other
    if not rule_covers(wide, rule) or not _about_the_same(above, policy):
        return None
    name = RuleRef(above.ref, wide.path)
    if above.tier is not policy.tier:
        if above.tier is Tier.ADMIN and wide.action is not Action.PASS:
            text = (
                f"never decides: {name} of the Admin tier covers it and comes first "
                f"({wide.action.value}); narrow that, or let it pass on to the tiers below"
            )
            return of(policy.ref, "ShadowedRule", Weight.WARNING, rule.path, text)
        return None
    if policy.tier is not Tier.NORMAL:
        return _by_order(entry, other, name)
    return _by_union(entry, other, name)


def _about_the_same(above: Policy, policy: Policy) -> bool:
    if policy.subject is None:
        return selector_covers(above.nodes, policy.nodes)
    return selector_covers(above.subject, policy.subject)


def _by_order(entry: Entry, other: Entry, name: RuleRef) -> Found | None:
    policy, number, rule = entry
    above, place, wide = other
    same = above.ref == policy.ref
    if not (above.priority < policy.priority or (same and place < number)):
        return None
    text = (
        f"never decides: {name} covers it and comes first ({wide.action.value}); put this one "
        "before it, or remove it"
    )
    return of(policy.ref, "ShadowedRule", Weight.WARNING, rule.path, text)


def _by_union(entry: Entry, other: Entry, name: RuleRef) -> Found | None:
    policy, number, rule = entry
    above, place, wide = other
    if wide.action is Action.DENY and rule.action is Action.ALLOW:
        if rule_covers(rule, wide) and _about_the_same(policy, above):
            text = (
                f"allows just what {name} denies, and denying wins: nothing passes by this rule; "
                "remove one of the two"
            )
            return of(policy.ref, "ContradictoryRules", Weight.ERROR, rule.path, text)
        text = f"never allows anything: {name} denies all of it, and denying wins; narrow that rule"
        return of(policy.ref, "ShadowedRule", Weight.WARNING, rule.path, text)
    if wide.action is not rule.action or not conditions_cover(wide, rule):
        return None
    if rule_covers(rule, wide) and conditions_cover(rule, wide) and _about_the_same(policy, above):
        # Equal ones: only the later of the two is told of.
        if (str(above.ref), place) > (str(policy.ref), number):
            return None
        text = f"says the same as {name}; remove one of the two"
        return of(policy.ref, "ShadowedRule", Weight.NOTE, rule.path, text)
    if (rule.http is not None or rule.dns is not None or rule.server_names) and wide.http is None:
        text = (
            f"checks no request: {name} allows the same connections without conditions, and what "
            "any rule allows passes; remove that one, or give it the same conditions"
        )
        return of(policy.ref, "ShadowedRule", Weight.ERROR, rule.path, text)
    text = f"never decides: {name} allows all of it already; remove this rule or narrow that one"
    if wide.action is Action.DENY:
        text = f"never decides: {name} denies all of it already; remove this rule"
    return of(policy.ref, "ShadowedRule", Weight.NOTE, rule.path, text)
