"""What a malformed path attribute leads to: the outcomes of revised error handling, as words.

    a wrong attribute  ->  Treatment, Finding

Invariants  The gravest treatment found in an UPDATE decides (RFC 7606 s3 h).
Standards   RFC 7606 s2
"""

from dataclasses import dataclass
from enum import IntEnum

from cairn.bgp.error import UpdateError


class Treatment(IntEnum):
    """The outcomes, mildest first."""

    DISCARD_ATTRIBUTE = 1
    TREAT_AS_WITHDRAW = 2
    DISABLE_FAMILY = 3
    SESSION_RESET = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was wrong in an UPDATE, and what was done about it."""

    treatment: Treatment
    """What was done."""
    attribute: str
    """Name of the attribute, or of the message's field."""
    reason: str
    """What was found."""
    subcode: UpdateError
    """The subcode with which RFC 4271 would have ended the session."""

    def __str__(self) -> str:
        return f"{self.attribute}: {self.reason}"
