"""What a check writes to: how many things it looked at, and what it found.

looked(), found()  ->  Bench
"""

from dataclasses import dataclass, field

from cairn.diagnose.finding import Finding
from cairn.diagnose.findings import BY_NAME


@dataclass(slots=True)
class Bench:
    """One check's outcome, while it is made."""

    checked: int = 0
    """Things looked at."""
    findings: list[Finding] = field(default_factory=list)
    """What was found, in the order in which it was."""
    skipped: str = ""
    """Why nothing could be looked at."""

    def looked(self, count: int = 1) -> None:
        """Count things that were looked at."""
        self.checked += count

    def found(self, name: str, subject: str, /, *evidence: str, **values: object) -> None:
        """Write down a finding of the kind with this name."""
        spelt = {key: str(value) for key, value in values.items()}
        self.findings.append(Finding(BY_NAME[name], subject, evidence, spelt))
