"""What becomes of one connection, at both ends, by which rule, and what would let it pass.

World, two Ends, port, request  ->  Trace(verdict, egress of the sender, ingress of the receiver)

Invariants  The verdict is the Engine's; only the words are made here.
"""

from dataclasses import dataclass

from cairn.abi.structs import PolicyAction
from cairn.desired.policy import Verdict
from cairn.diagnose.policy.end import End, Kind, as_seen_from
from cairn.diagnose.policy.layer7 import Request, allows, spell_redirect
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.near import Question, allowing, nearest
from cairn.diagnose.policy.world import World
from cairn.kube.policy.rule import Action, Direction, RuleRef

NO_REQUEST = Request()


@dataclass(frozen=True, slots=True)
class Side:
    """What one end's policies say."""

    direction: str
    """egress or ingress."""
    subject: str
    """Whose policies."""
    allowed: bool
    """Whether it may pass here."""
    verdict: str
    """allowed, denied, default deny, not isolated, not judged, proxied."""
    policy: str
    """Which policy decided; "" for none."""
    rule: str
    """Where in its spec; "" for its isolation."""
    why: str
    """One sentence."""
    mend: str = ""
    """For a denial: the nearest rule that would have allowed it, and what is missing."""
    snippet: str = ""
    """The rule as it is written, as YAML."""
    audit: str = ""
    """What policies in audit mode would have decided otherwise."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What becomes of a connection."""

    sender: str
    """Who opens it."""
    receiver: str
    """Who is reached."""
    at: str
    """Protocol and port."""
    allowed: bool
    """Whether both ends let it pass."""
    sides: tuple[Side, ...]
    """Egress of the sender, ingress of the receiver."""


def trace(
    world: World, sender: End, receiver: End, place: Place, request: Request = NO_REQUEST
) -> Trace:
    """Return what becomes of a connection."""
    target, source = as_seen_from(receiver, sender), as_seen_from(sender, receiver)
    out = _side(world, Question(sender, target, place, Direction.EGRESS), request)
    into = _side(world, Question(receiver, source, place, Direction.INGRESS), request)
    return Trace(sender.text, receiver.text, str(place), out.allowed and into.allowed, (out, into))


def verdict_of(world: World, asked: Question) -> Verdict | None:
    """Return what the subject's policies decide; None if none can be about it."""
    subject = asked.subject
    if not subject.judged:
        return None
    other = as_seen_from(asked.other, subject)
    policy = world.policy_of(subject)
    way = policy.ingress if asked.direction is Direction.INGRESS else policy.egress
    if way is None:
        return Verdict(PolicyAction.ALLOW, None)
    names = other.selectors if asked.direction is Direction.EGRESS else ()
    return way.at(other.identity, asked.place.protocol, asked.place.port, names)


def _side(world: World, asked: Question, request: Request) -> Side:
    name, subject = asked.direction.value, asked.subject.text
    verdict = verdict_of(world, asked)
    if verdict is None:
        why = f"{subject} is outside the cluster: no policy of it says what {subject} may do"
        if asked.subject.kind is not Kind.WORLD:
            why = f"policies are about pods and nodes, and {subject} is neither"
        return Side(name, subject, True, "not judged", "", "", why)
    if verdict.action is PolicyAction.ALLOW and verdict.rule is None:
        return Side(name, subject, True, *_unruled(world, asked))
    policy = str(verdict.rule.policy) if verdict.rule else ""
    path = verdict.rule.path if verdict.rule else ""
    snippet = world.snippet(verdict.rule) if verdict.rule else ""
    allowed, word, why, mend = _judged(world, asked, verdict, request)
    return Side(name, subject, allowed, word, policy, path, why, mend, snippet, _audited(verdict))


def _unruled(world: World, asked: Question) -> tuple[str, str, str, str]:
    """Return verdict, policy, rule and why where no rule decided."""
    policy = world.policy_of(asked.subject)
    way = policy.ingress if asked.direction is Direction.INGRESS else policy.egress
    if way is None:
        why = f"no policy isolates {asked.subject.text} for {asked.direction.value}: it is open"
        return "not isolated", "", "", why
    why = f"{asked.other.text} is the node of {asked.subject.text}, which always reaches its pods"
    return "allowed", "", "", why


def _judged(
    world: World, asked: Question, verdict: Verdict, request: Request
) -> tuple[bool, str, str, str]:
    """Return whether it passes, the word for it, why, and the mend."""
    rule = verdict.rule
    match verdict.action:
        case PolicyAction.ALLOW:
            return True, "allowed", f"{rule} allows it" + _implied(world, rule), ""
        case PolicyAction.DENY:
            return False, "denied", f"{rule} forbids it", _undeny(world, asked, rule)
        case PolicyAction.PROXY if verdict.redirect is not None:
            said = allows(verdict.redirect, request)
            what = spell_redirect(verdict.redirect)
            if said is None:
                return True, "proxied", f"{rule} allows the connection, and on it {what}", ""
            if said:
                return True, "allowed", f"{rule} allows the request: {what}", ""
            mend = f"ask for what {rule} allows, or add the request to its rules"
            return False, "denied", f"{rule} lets only {what} pass", mend
    isolating = f"{rule.policy} isolates it" if rule else "a policy isolates it"
    why = f"{isolating} for {asked.direction.value}, and no rule allows this"
    near = nearest(world.policies, asked, world)
    return False, "default deny", why, near.sentence if near else _write(asked)


def _implied(world: World, rule: RuleRef | None) -> str:
    found = world.rule(rule) if rule else None
    return " (implied, not written)" if found and found.implied else ""


def _undeny(world: World, asked: Question, rule: RuleRef | None) -> str:
    others = [
        str(RuleRef(policy.ref, other.path))
        for policy, other in allowing(world.policies, asked, world)
        if other.action is Action.ALLOW and not policy.audit
    ]
    also = f", and it wins over {others[0]}" if others else ""
    return f"a rule that denies comes before all that allow{also}: narrow or remove {rule}"


def _write(asked: Question) -> str:
    other, way = asked.other, "from" if asked.direction is Direction.INGRESS else "to"
    return (
        f"no rule of any policy comes near: write one for {asked.subject.text} with "
        f"{asked.direction.value} {way} {other.text} at {asked.place}"
    )


def _audited(verdict: Verdict) -> str:
    if verdict.audit is None:
        return ""
    action, rule = verdict.audit
    word = "let it pass" if action in (PolicyAction.ALLOW, PolicyAction.PROXY) else "deny it"
    return f"{rule}, in audit mode, would {word} if it were enforced"
