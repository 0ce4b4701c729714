"""Label selectors: which labels an object must carry.

    {"matchLabels": …, "matchExpressions": […]}  ->  Selector  ->  matches(labels)

Standards   Kubernetes metav1.LabelSelector: requirements are ANDed; an empty selector matches all;
            NotIn matches objects without the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Operator(StrEnum):
    """The relation of a key to its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class InvalidSelector(ValueError):
    """A selector that the API's rules do not allow."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label key."""

    key: str
    """Label key."""
    operator: Operator
    """How the key relates to `values`."""
    values: frozenset[str] = frozenset()
    """Empty for Exists and DoesNotExist."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether `labels` satisfy this requirement."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold."""

    requirements: tuple[Requirement, ...] = ()
    """Empty: every object matches."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether `labels` satisfy every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(_spell(requirement) for requirement in self.requirements) or "<everything>"


def parse_selector(raw: Mapping[str, Any] | None) -> Selector:
    """Return the selector that `raw` spells; raises InvalidSelector."""
    raw = raw or {}
    simple = [
        Requirement(key, Operator.IN, frozenset({value}))
        for key, value in sorted((raw.get("matchLabels") or {}).items())
    ]
    return Selector((*simple, *(_requirement(item) for item in raw.get("matchExpressions") or ())))


def _requirement(item: Mapping[str, Any]) -> Requirement:
    key, word = item.get("key") or "", item.get("operator") or ""
    values = frozenset(str(value) for value in item.get("values") or ())
    if not key:
        raise InvalidSelector("matchExpressions: key is missing")
    if word not in tuple(Operator):
        raise InvalidSelector(f"matchExpressions: operator {word!r} of key {key!r} is unknown")
    operator = Operator(word)
    wants_values = operator in (Operator.IN, Operator.NOT_IN)
    if wants_values != bool(values):
        rule = "needs values" if wants_values else "takes no values"
        raise InvalidSelector(f"matchExpressions: operator {word} of key {key!r} {rule}")
    return Requirement(key, operator, values)


def _spell(requirement: Requirement) -> str:
    values = sorted(requirement.values)
    match requirement.operator:
        case Operator.IN if len(values) == 1:
            return f"{requirement.key}={values[0]}"
        case Operator.NOT_IN if len(values) == 1:
            return f"{requirement.key}!={values[0]}"
        case Operator.IN | Operator.NOT_IN:
            word = "in" if requirement.operator is Operator.IN else "notin"
            return f"{requirement.key} {word} ({','.join(values)})"
        case Operator.EXISTS:
            return requirement.key
        case Operator.DOES_NOT_EXIST:
            return f"!{requirement.key}"
