"""One thing that a linted object's author should know.

an object and its surroundings  ->  Found
"""

from dataclasses import dataclass
from enum import IntEnum

from cairn.kube.policy.rule import PolicyRef


class Weight(IntEnum):
    """How much it matters."""

    ERROR = 3
    """It does not do what stands there, or it cuts something off that is needed."""
    WARNING = 2
    """It does what stands there, which is hardly what was meant."""
    NOTE = 1
    """It works; worth knowing."""


@dataclass(frozen=True, slots=True)
class Found:
    """One finding."""

    code: str
    """CamelCase word that stays the same, for machines."""
    weight: Weight
    """How much it matters."""
    subject: str
    """Kind, namespace and name of the object."""
    path: str
    """Field of the object; "" for the whole."""
    message: str
    """What stands there, why that matters, what to write."""


def of(ref: PolicyRef, code: str, weight: Weight, path: str, message: str) -> Found:
    """Return a finding about a policy; `path` is of a rule, or of the object if it has a root."""
    rooted = not path or path.startswith(("spec", "metadata"))
    return Found(code, weight, str(ref), path if rooted else f"spec.{path}", message)
