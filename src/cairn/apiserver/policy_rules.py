"""Network policies at admission: one that is not understood is refused, with the field and why.

    (new, old)  ->  list[FieldError]

Invariants  A policy whose spec stays as it was stored is not refused: its labels, annotations and
            finalizers can change whatever a newer version thinks of it.
Not here    The languages (cairn.kube.policy).
"""

from collections.abc import Mapping
from typing import Any

from cairn.apiserver.kind import FieldError, Reason
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import InvalidPolicy

_RULES = ("spec", "specs")


def policy_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with a network policy of any kind."""
    if old is not None and all(new.get(name) == old.get(name) for name in _RULES):
        return []
    try:
        read_policies(new)
    except InvalidPolicy as error:
        return [FieldError(error.path, Reason.INVALID, f"Invalid value: {error.reason}")]
    return []


def policy_notes(obj: Mapping[str, Any]) -> list[str]:
    """Return what the author of a policy should know."""
    try:
        found = [finding for policy in read_policies(obj) for finding in policy.findings]
    except InvalidPolicy:
        return []  # it is refused, or stood before and is told of at the object
    return [finding.message for finding in found]
