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


@dataclass(frozen=True, slots=True)
class Joint:
    """One verdict for both ends."""

    allowed: bool
    """Whether it passes."""
    word: str
    """allowed, denied, or allowed with what a proxy lets pass."""
    out: str
    """Rule that decided for the sender; "" for none."""
    into: str
    """Rule that decided for the receiver; likewise."""
    barred: str
    """Rule that keeps it out; "" if it passes."""

    def rule_after(self, before: "Joint") -> str:
        """Return the rule that makes the difference to another verdict on the same connection."""
        if self.barred:
            return self.barred
        changed = [rule for rule, old in self._pairs(before) if rule and rule != old]
        return ", ".join(changed) or "no policy isolates it any more"

    def _pairs(self, before: "Joint") -> tuple[tuple[str, str], ...]:
        return (self.out, before.out), (self.into, before.into)


def judge(
    world: World, sender: End, receiver: End, place: Place, request: Request = NO_REQUEST
) -> Joint:
    """Return what becomes of a connection."""
    out = verdict_of(world, Question(sender, receiver, place, Direction.EGRESS))
    into = verdict_of(world, Question(receiver, sender, place, Direction.INGRESS))
    words: list[str] = []
    barred = ""
    for verdict in (out, into):
        if verdict is None:
            continue
        if not _passes(verdict, request):
            barred = barred or _rule(verdict)
        elif verdict.action is PolicyAction.PROXY and verdict.redirect is not None:
            words.append(spell_redirect(verdict.redirect))
    word = "denied" if barred else "allowed" + (f": {'; '.join(words)}" if words else "")
    return Joint(not barred, word, _rule(out), _rule(into), barred)


def _passes(verdict: Verdict, request: Request) -> bool:
    if not verdict.allows:
        return False
    if verdict.action is PolicyAction.PROXY and verdict.redirect is not None:
        return allows(verdict.redirect, request) is not False
    return True


def _rule(verdict: Verdict | None) -> str:
    return str(verdict.rule) if verdict is not None and verdict.rule else ""
