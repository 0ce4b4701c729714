"""The rules of one subject in one direction, in the order in which they are asked.

    policies that select the subject, direction  ->  Ruleset

Order       Admin by priority, then name; the normal tier by name, what is implied after what is
            written; Baseline as Admin
Invariants  Every LabelPeer that the normal tier allows carries what fromRequires and toRequires
            add; what it denies is not narrowed by them.
Not here    Who a peer means (peer_sets), which of the rules decides (decision).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cairn.compile.policy.group import Atom, PortNamePeer, names_reserved
from cairn.kube.policy.rule import (
    NAMESPACE,
    Action,
    Direction,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    LabelPeer,
    Peer,
    Policy,
    PortMatch,
    Rule,
    RuleRef,
    ServicePeer,
    Tier,
)
from cairn.kube.selector import Operator, Requirement, Selector

Expand = Callable[[ServicePeer | GroupPeer], Iterable[Atom]]
"""Turns a peer that names another object into those that it comes to at the moment."""

_IS_POD = Requirement(NAMESPACE, Operator.EXISTS)


@dataclass(frozen=True, slots=True, eq=False)
class RankedRule:
    """One rule with its place."""

    tier: Tier
    """When it is asked."""
    ref: RuleRef
    """Which rule."""
    rule: Rule
    """What it says."""
    everyone: bool
    """Whether it is about everyone."""
    atoms: tuple[Atom, ...]
    """Whom else it is about."""

    @property
    def by_name(self) -> bool:
        """Whether it is about addresses that are learnt for names."""
        return not self.everyone and any(isinstance(atom, FqdnPeer) for atom in self.atoms)


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """All rules of one subject in one direction."""

    rules: tuple[RankedRule, ...]
    """In the order in which they are asked."""
    isolated_by: RuleRef | None
    """The policy that closes the subject to all that is not allowed; None: none does."""

    @property
    def says_nothing(self) -> bool:
        """Whether no policy bears on this direction."""
        return not self.rules and self.isolated_by is None

    @property
    def learns_names(self) -> bool:
        """Whether it needs to know what names resolve to."""
        return any(ranked.by_name for ranked in self.rules)


def compile_ruleset(
    policies: Iterable[Policy],
    direction: Direction,
    *,
    expand: Expand,
) -> Ruleset:
    """Return the rules of all `policies` in one direction."""
    chosen = sorted(policies, key=lambda policy: policy.ref)
    required = [
        requirement
        for policy in chosen
        for way, selector in policy.requires
        if way is direction and policy.tier is Tier.NORMAL
        for requirement in selector.requirements
    ]
    ranked: list[tuple[tuple[object, ...], RankedRule]] = []
    for policy in chosen:
        for number, rule in enumerate(policy.rules):
            if rule.direction is direction:
                narrowed = policy.tier is Tier.NORMAL and rule.action is Action.ALLOW
                extra = required if narrowed else ()
                key = (policy.tier, *_place(policy, rule), number)
                ranked.append((key, _rank(policy, rule, extra, expand)))
    ranked.sort(key=lambda pair: pair[0])
    isolating = [p.ref for p in chosen if p.tier is Tier.NORMAL and direction in p.isolates]
    rules = tuple(rule for _, rule in ranked)
    return Ruleset(rules, RuleRef(isolating[0], "") if isolating else None)


def _place(policy: Policy, rule: Rule) -> tuple[object, ...]:
    if policy.tier is Tier.NORMAL:
        return (rule.implied, policy.ref)
    return (policy.priority, policy.ref.name, policy.ref)


def _rank(policy: Policy, rule: Rule, extra: Sequence[Requirement], expand: Expand) -> RankedRule:
    everyone = not rule.peers or EntityPeer("all") in rule.peers
    atoms: dict[Atom, None] = {}
    if everyone:
        if rule.direction is Direction.EGRESS:
            names = {m.name for m in rule.matches if isinstance(m, PortMatch) and m.name}
            atoms = {PortNamePeer(name): None for name in sorted(names)}
    else:
        for peer in rule.peers:
            atoms |= dict.fromkeys(_atoms(peer, extra, expand))
    return RankedRule(policy.tier, RuleRef(policy.ref, rule.path), rule, everyone, tuple(atoms))


def _atoms(peer: Peer, extra: Sequence[Requirement], expand: Expand) -> Iterable[Atom]:
    if isinstance(peer, ServicePeer | GroupPeer):
        return expand(peer)
    if isinstance(peer, LabelPeer) and extra:
        own = peer.selector.requirements
        # What is required may name reserved groups, but must not let a peer mean them that
        # means pods only.
        pods = () if names_reserved(peer.selector) else (_IS_POD,)
        return (LabelPeer(Selector((*own, *pods, *extra))),)
    return (peer,)
