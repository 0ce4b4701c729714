"""Which node a pod may run on, and which one it gets.

    Pod, nodes, load  ->  node name, or the reasons why there is none

Invariants  Pods of one owner are spread: the node with the fewest of them wins, then the one with
            the fewest pods, then the first by name.
Standards   Kubernetes node affinity (required), taints and tolerations
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cairn.lab.controllers.world import Raw

NOT_READY = "node.kubernetes.io/not-ready"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
BLOCKING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Load:
    """How full the nodes are, seen from one pod."""

    same_owner: Mapping[str, int]
    """Pods of the same owner, per node."""
    pods: Mapping[str, int]
    """All pods, per node."""
    avoided: frozenset[str] = frozenset()
    """Nodes that the pod's anti-affinity keeps it off."""


def choose_node(pod: Raw, nodes: Sequence[Raw], load: Load) -> tuple[str, str]:
    """Return (node, ""), or ("", why none) in the words of the Kubernetes scheduler."""
    reasons: Counter[str] = Counter()
    fitting = []
    for node in nodes:
        why = why_unfit(pod["spec"], node)
        if not why and node["metadata"]["name"] in load.avoided:
            why = "didn't match pod anti-affinity rules"
        if why:
            reasons[why] += 1
        else:
            fitting.append(node["metadata"]["name"])
    if fitting:
        return min(fitting, key=lambda n: (load.same_owner.get(n, 0), load.pods.get(n, 0), n)), ""
    listed = ", ".join(f"{count} node(s) {why}" for why, count in sorted(reasons.items()))
    return "", f"0/{len(nodes)} nodes are available" + (f": {listed}." if listed else ".")


def why_unfit(spec: Raw, node: Raw, effects: Sequence[str] = BLOCKING) -> str:
    """Return why a pod of this spec must not run on a node; empty if it may.

    Only taints of `effects` count: NoExecute alone tells whether a pod there may stay.
    """
    labels = node["metadata"].get("labels") or {}
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return "didn't match Pod's node affinity/selector"
    if not _affinity_matches(spec, node):
        return "didn't match Pod's node affinity/selector"
    for taint in taints_of(node):
        if taint.get("effect") in effects and not tolerates(spec, taint):
            value = f"={taint['value']}" if taint.get("value") else ""
            return f"had untolerated taint {{{taint['key']}{value}}}"
    return ""


def taints_of(node: Raw) -> list[Raw]:
    """Return a node's taints, with those that its state implies before they are written."""
    taints = list(node["spec"].get("taints") or ())
    keys = {taint.get("key") for taint in taints}
    if node["spec"].get("unschedulable") and UNSCHEDULABLE not in keys:
        taints.append({"key": UNSCHEDULABLE, "effect": "NoSchedule"})
    told = NOT_READY in keys or any("unreachable" in str(key) for key in keys)
    if not told and not node_ready(node):
        taints.append({"key": NOT_READY, "effect": "NoSchedule"})
    return taints


def node_ready(node: Raw) -> bool:
    """Return whether a node's Ready condition holds."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def tolerates(spec: Raw, taint: Raw) -> bool:
    """Return whether one of a pod's tolerations covers a taint."""
    return toleration_of(spec, taint) is not None


def toleration_of(spec: Raw, taint: Raw) -> Raw | None:
    """Return the toleration that covers a taint, or None."""
    for item in spec.get("tolerations") or ():
        if item.get("effect") and item["effect"] != taint.get("effect"):
            continue
        key = item.get("key")
        if item.get("operator") == "Exists":
            if not key or key == taint.get("key"):
                return dict(item)
        elif key == taint.get("key") and (item.get("value") or "") == (taint.get("value") or ""):
            return dict(item)
    return None


def _affinity_matches(spec: Raw, node: Raw) -> bool:
    required = (((spec.get("affinity") or {}).get("nodeAffinity")) or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not required:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Raw, node: Raw) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    demands = term.get("matchExpressions") or []
    field_demands = term.get("matchFields") or []
    if not demands and not field_demands:
        return False
    return _all_match(demands, labels) and _all_match(field_demands, fields)


def _all_match(demands: Iterable[Raw], labels: Mapping[str, str]) -> bool:
    return all(_matches(demand, labels) for demand in demands)


def _matches(demand: Raw, labels: Mapping[str, str]) -> bool:
    value = labels.get(demand.get("key") or "")
    values = demand.get("values") or []
    match demand.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as word:
            numbers = _numbers(value, values)
            if numbers is None:
                return False
            have, limit = numbers
            return have > limit if word == "Gt" else have < limit
        case _:
            return False


def _numbers(value: str | None, values: Sequence[str]) -> tuple[int, int] | None:
    try:
        return int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return None
