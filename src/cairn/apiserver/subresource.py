"""Subresources that are writes of another shape: scale, binding, eviction, finalize.

    Target, body, Transaction  ->  Written

Standards   autoscaling/v1 Scale; v1 Binding; policy/v1 Eviction; KEP-95 (scale of custom resources)
Not here    status (write); log, exec, attach and portforward (proxy).
"""

from collections.abc import Mapping
from typing import Any

from cairn.apiserver.environment import timestamp
from cairn.apiserver.kind import FieldError, Json, Kind, Reason, Scale
from cairn.apiserver.patch import apply_patch
from cairn.apiserver.status import bad_request, conflict, invalid, not_found
from cairn.apiserver.store import Transaction
from cairn.apiserver.write import Target, Writer, Written

SCALE = Kind("autoscaling", "v1", "Scale", "scales", "scale", namespaced=True)


def scale_of(kind: Kind, obj: Mapping[str, Any]) -> Json:
    """Return the Scale of an object."""
    paths = kind.scale or Scale()
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = _value(obj, paths.selector)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": _value(obj, paths.spec_replicas) or 0},
        "status": {
            "replicas": _value(obj, paths.status_replicas) or 0,
            "selector": selector if isinstance(selector, str) else _selector_text(selector or {}),
        },
    }


def set_scale(
    txn: Transaction, writer: Writer, target: Target, body: Any, content_type: str | None
) -> Written:
    """Write the replicas of a Scale: whole if `content_type` is None, else a patch."""
    entry = txn.get(target.resource, target.key)
    if entry is None:
        raise not_found(target.kind, target.key.name)
    obj = entry.decode() | {"apiVersion": target.kind.api_version}
    scale = body
    if content_type is not None:
        scale = apply_patch(SCALE, scale_of(target.kind, obj), body, content_type)
    if not isinstance(scale, dict):
        raise bad_request("the body is not a Scale: expected a JSON object")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        text = f"Invalid value: {replicas!r}: must be greater than or equal to 0"
        error = FieldError("spec.replicas", Reason.INVALID, text)
        raise invalid(SCALE, target.key.name, [error])
    _set(obj, (target.kind.scale or Scale()).spec_replicas, replicas)
    obj["metadata"]["resourceVersion"] = (scale.get("metadata") or {}).get("resourceVersion") or ""
    return writer.update(txn, Target(target.kind, target.key, manager=target.manager), obj)


def bind(txn: Transaction, writer: Writer, target: Target, body: Any) -> Written:
    """Put a pod on the node that a Binding names."""
    entry = txn.get("pods", target.key)
    if entry is None:
        raise not_found(target.kind, target.key.name)
    node = ((body if isinstance(body, dict) else {}).get("target") or {}).get("name")
    if not node:
        raise bad_request("binding: target.name is missing, expected the name of a node")
    obj = entry.decode()
    if entry.deleting:
        raise conflict(target.kind, target.key.name, "pod is being deleted")
    if obj["spec"].get("nodeName"):
        why = f'pod {target.key.name} is already assigned to node "{obj["spec"]["nodeName"]}"'
        raise conflict(target.kind, target.key.name, why)
    obj["spec"]["nodeName"] = node
    status = obj.setdefault("status", {})
    others = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    now = timestamp(writer.environment.now())
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    status["conditions"] = [*others, bound]
    return Written(txn.put("pods", obj), created=True)


def finalize(txn: Transaction, writer: Writer, target: Target, obj: Any) -> Written:
    """Write a namespace's finalizers; it is gone with the last one."""
    if not isinstance(obj, dict):
        raise bad_request("the body is not a Namespace: expected a JSON object")
    entry = txn.get(target.resource, target.key)
    if entry is None:
        raise not_found(target.kind, target.key.name)
    current = entry.decode()
    finalizers = (obj.get("spec") or {}).get("finalizers") or []
    current["spec"] = (current.get("spec") or {}) | {"finalizers": finalizers}
    given = (obj.get("metadata") or {}).get("resourceVersion")
    current["metadata"]["resourceVersion"] = given or str(entry.revision)
    return writer.update(txn, target, current)


def _value(obj: Any, path: str) -> Any:
    for name in path.strip(".").split("."):
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def _set(obj: Json, path: str, value: Any) -> None:
    *above, last = path.strip(".").split(".")
    for name in above:
        obj = obj.setdefault(name, {})
    obj[last] = value


def _selector_text(selector: Mapping[str, Any]) -> str:
    """Return a label selector as text: `a=b,c in (d,e),!f`."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        labels: Mapping[str, Any] = {k: v for k, v in selector.items() if isinstance(v, str)}
    else:
        labels = selector.get("matchLabels") or {}
    terms = [f"{name}={value}" for name, value in sorted(labels.items())]
    for term in selector.get("matchExpressions") or ():
        values = ",".join(sorted(term.get("values") or ()))
        key = term.get("key")
        spelled = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        terms.append(str(spelled.get(term.get("operator"), key)))
    return ",".join(terms)
