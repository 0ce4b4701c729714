"""What becomes of a connection with both ends' policies taken together.

World, two Ends, port, request  ->  Joint(verdict, the rule that decided)
"""

from dataclasses import dataclass

from cairn.abi.structs import PolicyAction
from cairn.desired.policy import Verdict
from cairn.diagnose.policy.end import End
from cairn.diagnose.policy.layer7 import Request, allows, spell_redirect
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.near import Question
from cairn.diagnose.policy.trace import NO_REQUEST, verdict_of
from cairn.diagnose.policy.world import World
from cairn.kube.policy.rule import Direction

ALLOWED, DENIED = "allowed", "denied"


@dataclass(frozen=True, slots=True)
class Joint:
    """One verdict for both ends."""

    allowed: bool
    """Whether it passes."""
    word: str
    """allowed, denied, or allowed with what a proxy lets pass."""
    sides: tuple[tuple[str, str], ...]
    """Of the sender and of the receiver: the verdict, and the rule that decided; "" for none."""
    barred: str
    """Rule that keeps it out; "" if it passes."""

    def rule_after(self, before: "Joint") -> str:
        """Return the rule that makes the difference to another verdict on the same connection."""
        if self.barred:
            return self.barred
        changed = [
            rule
            for (word, rule), old in zip(self.sides, before.sides, strict=True)
            if rule and (word, rule) != old
        ]
        return ", ".join(changed) or "no policy isolates it any more"


def judge(
    world: World, sender: End, receiver: End, place: Place, request: Request = NO_REQUEST
) -> Joint:
    """Return what becomes of a connection."""
    out = verdict_of(world, Question(sender, receiver, place, Direction.EGRESS))
    into = verdict_of(world, Question(receiver, sender, place, Direction.INGRESS))
    sides = tuple((_word(verdict, request), _rule(verdict)) for verdict in (out, into))
    barred = next((rule for word, rule in sides if word == DENIED), "")
    limits = [word for word, _ in sides if word not in (DENIED, ALLOWED)]
    if any(word == DENIED for word, _ in sides):
        return Joint(False, DENIED, sides, barred)
    word = f"{ALLOWED}: {'; '.join(limits)}" if limits else ALLOWED
    return Joint(True, word, sides, "")


def _word(verdict: Verdict | None, request: Request) -> str:
    """Return `denied`, `allowed`, or what a proxy lets pass."""
    if verdict is None:
        return ALLOWED
    if not _passes(verdict, request):
        return DENIED
    if verdict.action is PolicyAction.PROXY and verdict.redirect is not None:
        return spell_redirect(verdict.redirect)
    return ALLOWED


def _passes(verdict: Verdict, request: Request) -> bool:
    if not verdict.allows:
        return False
    if verdict.action is PolicyAction.PROXY and verdict.redirect is not None:
        return allows(verdict.redirect, request) is not False
    return True


def _rule(verdict: Verdict | None) -> str:
    return str(verdict.rule) if verdict is not None and verdict.rule else ""
