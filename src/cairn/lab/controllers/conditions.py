"""Status conditions of workloads and pods, with their times.

    conditions, one more  ->  conditions

Standards   Kubernetes API conventions, "Typical status properties"
"""

from typing import Any

from cairn.lab.controllers.world import Raw


def find(obj: Raw, name: str) -> dict[str, Any]:
    """Return one condition of an object; empty if it has none of that type."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == name:
            return dict(condition)
    return {}


def put(
    conditions: list[dict[str, Any]],
    name: str,
    *,
    status: bool,
    reason: str,
    message: str,
    now: str,
) -> list[dict[str, Any]]:
    """Return the list with one condition set; unchanged content keeps its times."""
    wanted = {"type": name, "status": str(status), "reason": reason, "message": message}
    result = []
    old: dict[str, Any] = {}
    for condition in conditions:
        if condition.get("type") == name:
            old = condition
        else:
            result.append(condition)
    if all(old.get(field) == value for field, value in wanted.items()):
        return conditions
    turned = old.get("status") != wanted["status"]
    since = now if turned else old.get("lastTransitionTime") or now
    return [*result, {**old, **wanted, "lastTransitionTime": since, "lastUpdateTime": now}]
