"""One thing that a linted object's author should know.

an object and its surroundings  ->  Found
"""

from dataclasses import dataclass

from cairn.diagnose.finding import Weight
from cairn.kube.policy.rule import PolicyRef

__all__ = ["Found", "Weight", "of"]


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
