"""One step of a walk: what was looked at, what was found.

evidence, finding  ->  Step
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from cairn.diagnose.finding import Finding, Kind


class Outcome(Enum):
    """What a step came to."""

    OK = "ok"
    WARN = "warn"
    """It works, and not as it should."""
    BROKEN = "broken"
    """Nobody gets past here."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    SKIPPED = "skipped"
    """It is not on the way, or what is before it is broken."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    name: str
    """Its name in the table of steps."""
    outcome: Outcome
    evidence: str
    """One line."""
    findings: tuple[Finding, ...] = ()
    """Why it is broken, or what to know; the heaviest first."""
    follows: str = ""
    """An earlier step that is broken and explains it."""


def ok(evidence: str) -> Step:
    """Return a step that holds."""
    return Step("", Outcome.OK, evidence)


def unknown(evidence: str) -> Step:
    """Return a step that could not be looked at."""
    return Step("", Outcome.UNKNOWN, evidence)


def skipped(evidence: str) -> Step:
    """Return a step that is not to be looked at."""
    return Step("", Outcome.SKIPPED, evidence)


def broken(finding: Finding, *more: Finding, evidence: str = "") -> Step:
    """Return a step that nobody gets past."""
    return Step("", Outcome.BROKEN, evidence or finding.cause, (finding, *more))


def warn(finding: Finding, *more: Finding, evidence: str = "") -> Step:
    """Return a step that holds, though not as it should."""
    return Step("", Outcome.WARN, evidence or finding.cause, (finding, *more))


def found(kind: Kind, subject: str, values: Mapping[str, object], *evidence: str) -> Finding:
    """Return a finding with what was seen."""
    return Finding(kind, subject, evidence, {k: str(v) for k, v in values.items()})
