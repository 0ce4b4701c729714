"""The rule that comes nearest to letting a denied connection through, and what it lacks.

Policies, subject, other end, port  ->  Near(rule, sentence), or none that comes near
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.miss import (
    Miss,
    Place,
    Surroundings,
    named_in,
    peer_misses,
    port_misses,
    selector_misses,
)
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
from cairn.kube.selector import Selector

FARTHEST = 6
"""Sum of weights from which a rule is no more near than any other."""


@dataclass(frozen=True, slots=True)
class Question:
    """One connection, for one of its ends."""

    subject: End
    """Whose policy is asked."""
    other: End
    """Who is at the other end."""
    place: Place
    """Protocol and port at the end that is reached."""
    direction: Direction
    """As seen from the subject."""

    @property
    def reached(self) -> End:
        """The end at which the port is."""
        return self.subject if self.direction is Direction.INGRESS else self.other


@dataclass(frozen=True, slots=True)
class Near:
    """A rule that would have allowed it."""

    rule: RuleRef
    """Which."""
    sentence: str
    """What would have to be so, and what to write."""


def selects(policy: Policy, end: End) -> bool:
    """Return whether a policy is about an end."""
    if end.kind is Kind.NODE:
        return policy.nodes is not None and policy.nodes.matches(end.labels)
    return policy.subject is not None and policy.subject.matches(end.labels)


def misses(
    policy: Policy, rule: Rule, asked: Question, around: Surroundings, requires: Iterable[Selector]
) -> tuple[Miss, ...]:
    """Return why a rule is not about a connection; nothing if it is."""
    found = [*_subject(policy, asked.subject)]
    what = named_in(policy.ref, asked.direction, rule.path, asked.other)
    options = [peer_misses(peer, asked.other, what, around, requires) for peer in rule.peers]
    if options:
        found += min(options, key=weigh)
    found += port_misses(rule, asked.place, asked.reached, policy.ref)
    return tuple(found)


def weigh(found: Iterable[Miss]) -> int:
    """Return how far a rule is from matching."""
    return sum(miss.weight for miss in found)


def requires_of(policies: Iterable[Policy], asked: Question) -> tuple[Selector, ...]:
    """Return what every LabelPeer must match besides, for this subject."""
    return tuple(
        selector
        for policy in policies
        if selects(policy, asked.subject)
        for direction, selector in policy.requires
        if direction is asked.direction
    )


def nearest(
    policies: Mapping[PolicyRef, Policy], asked: Question, around: Surroundings
) -> Near | None:
    """Return the rule that lacks least; None if every rule lacks much."""
    requires = requires_of(policies.values(), asked)
    candidates: list[tuple[tuple[int, int, str], Policy, Rule, tuple[Miss, ...]]] = []
    for policy in policies.values():
        for rule in policy.rules:
            if rule.direction is not asked.direction or rule.action is not Action.ALLOW:
                continue
            if rule.implied:
                continue
            found = misses(policy, rule, asked, around, requires)
            if policy.disabled or policy.audit:
                found = (*found, _idle(policy))
            if found and weigh(found) <= FARTHEST:
                order = (weigh(found), len(found), str(policy.ref) + rule.path)
                candidates.append((order, policy, rule, found))
    if not candidates:
        return None
    _, policy, rule, found = min(candidates, key=lambda c: c[0])
    ref = RuleRef(policy.ref, rule.path)
    return Near(ref, f"{ref} would allow it if {_joined(m.clause for m in found)}: {found[0].mend}")


def allowing(
    policies: Mapping[PolicyRef, Policy], asked: Question, around: Surroundings
) -> Iterator[tuple[Policy, Rule]]:
    """Yield the rules of the normal tier that are about a connection, whatever else decides."""
    requires = requires_of(policies.values(), asked)
    for policy in policies.values():
        if policy.disabled or policy.tier is not Tier.NORMAL:
            continue
        for rule in policy.rules:
            if rule.direction is asked.direction and not misses(
                policy, rule, asked, around, requires
            ):
                yield policy, rule


def _subject(policy: Policy, end: End) -> Iterator[Miss]:
    selector = policy.nodes if end.kind is Kind.NODE else policy.subject
    if selector is None:
        what = "pods" if policy.nodes is None else "nodes"
        yield Miss(9, f"{end.text} were one of the {what} that it is about", "write another policy")
        return
    field = "podSelector" if policy.ref.kind == "NetworkPolicy" else "endpointSelector"
    for miss in selector_misses(selector, end, field):
        # A policy about others is farther than a rule about others, and one of another
        # namespace is farther still.
        elsewhere = f"in namespace {_only_namespace(selector)}" in miss.clause
        mend = f"label it so, or have the policy's {field} select it"
        yield Miss(5 if elsewhere else 3, miss.clause, mend)


def _only_namespace(selector: Selector) -> str:
    found = [value for r in selector.requirements if r.key == NAMESPACE for value in r.values]
    return " or ".join(sorted(found))


def _idle(policy: Policy) -> Miss:
    if policy.disabled:
        clause = "the policy were not disabled by its annotation policy.cilium.io/disabled"
        return Miss(1, clause, "remove the annotation")
    clause = "the policy were not in audit mode (annotation policy.cilium.io/audit-mode)"
    return Miss(1, clause, "remove the annotation")


def _joined(clauses: Iterable[str]) -> str:
    *first, last = dict.fromkeys(clauses)
    return f"{', '.join(first)} and {last}" if first else last
