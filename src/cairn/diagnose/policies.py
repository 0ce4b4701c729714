"""Network policies, counted, and what is to be known of them.

policies of every language  ->  PolicyCounts; one line per sentence, with the objects it is about
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from cairn.diagnose.gaps import Told, subject_of
from cairn.kube.metadata import Object, key_of
from cairn.kube.policy.standing import State, standing_of


@dataclass(frozen=True, slots=True)
class PolicyCounts:
    """How many policies stand how."""

    enforced: int = 0
    """In force."""
    audit: int = 0
    """Whose verdicts are recorded only."""
    disabled: int = 0
    """Out of force by their annotation."""
    invalid: int = 0
    """Not understood."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.enforced + self.audit + self.disabled + self.invalid


def tell_policies(objects: Iterable[Object]) -> tuple[PolicyCounts, list[Told]]:
    """Return the counts, and every sentence, invalid policies first, equal ones in one line."""
    states: Counter[State] = Counter()
    found: dict[tuple[str, str, bool], list[str]] = {}
    for obj in objects:
        standing = standing_of(obj)
        states[standing.state] += 1
        kind, name = str(obj.get("kind")), str(key_of(obj))
        if standing.state is State.INVALID:
            text = f"is not understood, and what was in force of it before stays: {standing.error}"
            found.setdefault((kind, text, True), []).append(name)
        for finding in standing.findings:
            found.setdefault((kind, finding.message, False), []).append(name)
    told = [
        Told(subject_of(kind, names), text, severe)
        for (kind, text, severe), names in sorted(found.items(), key=lambda item: not item[0][2])
    ]
    return PolicyCounts(**{state.value: states[state] for state in State}), told
