"""Conditions with their times: what is new keeps its old transition time unless its status turned.

    conditions as stored, conditions wanted, now  ->  the list to write

Invariants  Conditions of others stay; equal content gives an equal list, so that nothing is
            written over and over.
Standards   Kubernetes API conventions, "Typical status properties"
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cairn.kube.finding import Finding


def condition(
    name: str, status: str, reason: str, message: str, *, generation: int = 0
) -> dict[str, Any]:
    """Return a condition without its time."""
    found: dict[str, Any] = {"type": name, "status": status, "reason": reason, "message": message}
    if generation:
        found["observedGeneration"] = generation
    return found


def merge(
    stored: Iterable[Mapping[str, Any]],
    wanted: Sequence[Mapping[str, Any]],
    *,
    now: str,
    owned: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return `stored` with `wanted` put in; those of `owned` that are not wanted are left out."""
    gone = set(owned) - {item["type"] for item in wanted}
    merged = {item["type"]: dict(item) for item in stored if item.get("type") not in gone}
    for item in wanted:
        old = merged.get(item["type"], {})
        same = old.get("status") == item["status"]
        since = old.get("lastTransitionTime") if same else None
        merged[item["type"]] = {**item, "lastTransitionTime": since or now}
    return list(merged.values())


def findings_condition(findings: Sequence[Finding], generation: int) -> list[dict[str, Any]]:
    """Return the condition that lists findings; none if there are none."""
    if not findings:
        return []
    text = "; ".join(finding.message for finding in findings)
    return [condition("cairn.io/Findings", "True", findings[0].reason, text, generation=generation)]
