"""Which of the rules that match a connection decides, and what.

    rules that match, in order  ->  Decision

The ladder: the first rule of the Admin tier that matches, unless it says Pass;
a deny of the normal tier; an allow of it; its default deny; the first rule of the Baseline tier
that matches; else the connection is let through. An allow of the normal tier counts where nothing
isolates the subject, too: it is not left to the Baseline tier.

A rule by name cannot be told from the address. Where it matches but for the name and would
have been asked before a denial, the denial is spelled DEFAULT_DENY, so that the data plane asks the
names; where some rule by name would not have been asked, it is spelled DENY, so that it does not.

Invariants  Several rules that allow under conditions are one condition: any of theirs. One that
            allows without lifts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cairn.abi.structs import PolicyAction
from cairn.compile.policy.ruleset import RankedRule
from cairn.desired.policy import Redirect
from cairn.kube.policy.rule import Action, Direction, Rule, RuleRef, Tier


class Candidate(NamedTuple):
    """A rule that matches a connection."""

    ranked: RankedRule
    """The rule."""
    needs_name: bool
    """Whether it matches only if the address was learnt for its name."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a connection."""

    action: PolicyAction
    """What is done."""
    rule: RuleRef | None
    """Which rule decided; None: none had to."""
    redirect: Redirect | None = None
    """With PROXY: what the proxy applies."""
    passed_by: RuleRef | None = None
    """The rule that left it to the tiers below."""


def decide(candidates: Sequence[Candidate], isolated_by: RuleRef | None) -> Decision:
    """Return the decision among rules that match, in the order in which they are asked."""
    names = sum(candidate.needs_name for candidate in candidates)
    asked = 0
    passed_by = None
    for ranked, needs_name in candidates:
        if ranked.tier > Tier.ADMIN:
            break
        if needs_name:
            asked += 1
        elif ranked.rule.action is Action.PASS:
            passed_by = ranked.ref
            break
        else:
            return _final(ranked, (), asked=asked, names=names)
    normal = [candidate for candidate in candidates if candidate.ranked.tier is Tier.NORMAL]
    plain = [ranked for ranked, needs_name in normal if not needs_name]
    for ranked in plain:
        if ranked.rule.action is Action.DENY:
            return _final(ranked, (), asked=asked, names=names)
    allows = [ranked for ranked in plain if ranked.rule.action is Action.ALLOW]
    if allows:
        first = next((ranked for ranked in allows if not conditional(ranked.rule)), allows[0])
        return _final(first, allows, asked=asked, names=names)
    asked += len(normal) - len(plain)
    if isolated_by is not None:
        # Names of the Baseline tier say nothing of who is isolated.
        names = sum(needs_name and ranked.tier < Tier.BASELINE for ranked, needs_name in candidates)
        return Decision(_denial(PolicyAction.DEFAULT_DENY, asked, names), isolated_by)
    for ranked, needs_name in candidates:
        if ranked.tier is not Tier.BASELINE:
            continue
        if needs_name:
            asked += 1
        elif ranked.rule.action is Action.PASS:
            passed_by = ranked.ref
            break
        else:
            return _final(ranked, (), asked=asked, names=names)
    return Decision(PolicyAction.ALLOW, None, passed_by=passed_by)


def decide_named(
    candidates: Sequence[Candidate], isolated_by: RuleRef | None, fallback: RuleRef
) -> Decision:
    """Return what the rules by one name say; DEFAULT_DENY by `fallback` where they say nothing."""
    decision = decide(candidates, isolated_by)
    if decision.rule is None:
        return Decision(PolicyAction.DEFAULT_DENY, fallback)
    return decision


def kind_of(candidate: Candidate) -> tuple[Tier, Action] | None:
    """Return a kind of candidates of which only the first ever decides; None: each may count."""
    ranked, needs_name = candidate
    if needs_name or conditional(ranked.rule):
        return None
    return ranked.tier, ranked.rule.action


def conditional(rule: Rule) -> bool:
    """Return whether a proxy has to look at what a rule allows."""
    return rule.http is not None or rule.dns is not None or bool(rule.server_names)


def _final(ranked: RankedRule, allows: Sequence[RankedRule], *, asked: int, names: int) -> Decision:
    if ranked.rule.action is Action.DENY:
        return Decision(_denial(PolicyAction.DENY, asked, names), ranked.ref)
    if not conditional(ranked.rule):
        return Decision(PolicyAction.ALLOW, ranked.ref)
    redirect = _redirect([other.rule for other in allows] or [ranked.rule])
    return Decision(PolicyAction.PROXY, ranked.ref, redirect)


def _denial(action: PolicyAction, asked: int, names: int) -> PolicyAction:
    if not names:
        return action
    return PolicyAction.DEFAULT_DENY if asked == names else PolicyAction.DENY


def _redirect(rules: Sequence[Rule]) -> Redirect:
    """Return the union of the conditions of `rules`, without repetitions, in their order."""
    http = [rule.http for rule in rules if rule.http is not None]
    dns = [rule.dns for rule in rules if rule.dns is not None]
    direction: Direction = rules[0].direction
    return Redirect(
        http=tuple(dict.fromkeys(one for some in http for one in some)) if http else None,
        dns=tuple(dict.fromkeys(one for some in dns for one in some)) if dns else None,
        server_names=tuple(dict.fromkeys(name for rule in rules for name in rule.server_names)),
        direction=direction,
    )
