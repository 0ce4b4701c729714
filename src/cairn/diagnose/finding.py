"""What a finding is: a kind of the registry, whom it is about, what was seen.

    Kind, subject, evidence, values  ->  one line of cause, one line that mends it

Invariants  Two findings of one kind about one subject are told apart by their values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Weight(IntEnum):
    """How much it matters."""

    ERROR = 3
    """It does not do what stands there, or something does not work because of it."""
    WARNING = 2
    """It works, and will not for long, or does not do what was meant."""
    NOTE = 1
    """It works; worth knowing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the registry."""

    code: str
    """CRN-nnn: never reused, never changed."""
    name: str
    """CamelCase word, for machines and for those who grep."""
    title: str
    """What it is, in a few words."""
    weight: Weight
    """How much it matters."""
    cause: str
    """One line, with {names} of the values that a finding has."""
    mend: str
    """A command, or one line that says what to do; with {names} likewise."""
    about: str = ""
    """What it means to those who use the network, in one sentence."""

    @property
    def area(self) -> int:
        """The hundred of its code."""
        return int(self.code[4:]) // 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found."""

    kind: Kind
    """What it is."""
    subject: str
    """Kind and name of what it is about."""
    evidence: tuple[str, ...] = ()
    """What was seen, one line each."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What cause and mend are filled with; {subject} is always there."""

    @property
    def cause(self) -> str:
        """One line: what is wrong, and why."""
        return self._fill(self.kind.cause)

    @property
    def mend(self) -> str:
        """One line: what to do."""
        return self._fill(self.kind.mend)

    def _fill(self, text: str) -> str:
        values = _Values({"subject": self.subject, **self.values})
        return " ".join(text.format_map(values).split())


class _Values(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def plain(finding: Finding) -> dict[str, object]:
    """Return a finding as plain values, for JSON and YAML."""
    return {
        "code": finding.kind.code,
        "name": finding.kind.name,
        "weight": finding.kind.weight.name.lower(),
        "subject": finding.subject,
        "cause": finding.cause,
        "evidence": list(finding.evidence),
        "mend": finding.mend,
        "page": f"docs/findings/{finding.kind.code}.md",
    }
