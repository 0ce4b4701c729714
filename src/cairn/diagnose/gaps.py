"""What objects ask for in vain, gathered: one line per sentence, with all objects it is about.

objects  ->  (subject, sentence, whether it is severe)
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cairn.kube.metadata import Object, key_of
from cairn.kube.unsupported import Gap, Weight, unsupported

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence about one object or several of a kind."""

    subject: str
    """Kind and names."""
    message: str
    """What does not happen, and what to do."""
    severe: bool
    """Whether a promise of protection is not kept."""


def tell_gaps(objects: Iterable[Object]) -> list[Told]:
    """Return every gap of the objects, the heaviest first, equal ones in one line."""
    found: dict[tuple[str, Gap], list[str]] = {}
    for obj in objects:
        for gap in unsupported(obj):
            found.setdefault((str(obj["kind"]), gap), []).append(str(key_of(obj)))
    ordered = sorted(found.items(), key=lambda item: -item[0][1].weight)
    return [
        Told(subject_of(kind, names), gap.message, gap.weight is Weight.UNSAFE)
        for (kind, gap), names in ordered
    ]


def subject_of(kind: str, names: list[str]) -> str:
    """Return a kind with the names of its objects, not too many."""
    shown = ", ".join(sorted(names)[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{kind} {shown}" + (f" and {more} more" if more > 0 else "")
