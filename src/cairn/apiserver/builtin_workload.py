"""Schemas, defaults and rules of Deployments, ReplicaSets and DaemonSets.

object  ->  completed object; (new, old)  ->  list[FieldError]
"""

from collections.abc import Mapping
from typing import Any

from cairn.apiserver.builtin_meta import CONDITIONS, LABEL_SELECTOR
from cairn.apiserver.builtin_pod import POD_TEMPLATE
from cairn.apiserver.builtin_pod_rules import complete_pod_spec, pod_spec_errors
from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.kind import Context, FieldError, Json, Reason
from cairn.apiserver.naming import label_errors
from cairn.apiserver.notation import (
    Schema,
    anything,
    boolean,
    int_or_string,
    integer,
    obj,
    string,
)
from cairn.kube.selector import InvalidSelector, parse_selector

_SURGE = int_or_string("How many more pods than wanted there may be, as a number or 25%.")
_UNAVAILABLE = int_or_string("How many pods less than wanted there may be, as a number or 25%.")
_ROLLING = obj("Bounds of a rolling update.", maxSurge=_SURGE, maxUnavailable=_UNAVAILABLE)
_REPLICAS = integer("How many pods are wanted; 1 if not set.", low=0)
_SELECTOR = LABEL_SELECTOR | {
    "description": "Labels of the pods that belong to this; they must be on the template too."
}
_MIN_READY = integer("Seconds a pod must have been ready to count as available.", low=0)
_HISTORY = integer("How many old versions are kept; 10 if not set.", low=0)
_TEMPLATE_KEYS = ("selector", "template")


def _strategy(*types: str) -> Schema:
    return obj(
        "How old pods are replaced by new ones.",
        type=string("Name of the strategy.", enum=types),
        rollingUpdate=_ROLLING,
    ) | {"x-kubernetes-patch-strategy": "retainKeys"}


def _status(description: str, *counts: str) -> Schema:
    fields: dict[str, Any] = {
        name: integer("Number of pods, or generation that was seen.") for name in counts
    }
    return obj(description, conditions=CONDITIONS, **fields)


DEPLOYMENT = obj(
    "A number of equal pods, with rolling updates.",
    spec=obj(
        "What is wanted.",
        title="DeploymentSpec",
        required=_TEMPLATE_KEYS,
        replicas=_REPLICAS,
        selector=_SELECTOR,
        template=POD_TEMPLATE,
        strategy=_strategy("RollingUpdate", "Recreate"),
        minReadySeconds=_MIN_READY,
        revisionHistoryLimit=_HISTORY,
        progressDeadlineSeconds=integer("Seconds after which an update counts as stuck.", low=0),
        paused=boolean("Whether changes of the template wait."),
    ),
    status=_status(
        "What there is.", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
        "unavailableReplicas", "terminatingReplicas", "observedGeneration", "collisionCount",
    ),
)  # fmt: skip
REPLICA_SET = obj(
    "A number of equal pods; usually made by a Deployment.",
    spec=obj(
        "What is wanted.",
        title="ReplicaSetSpec",
        required=("selector",),
        replicas=_REPLICAS,
        selector=_SELECTOR,
        template=POD_TEMPLATE,
        minReadySeconds=_MIN_READY,
    ),
    status=_status(
        "What there is.", "replicas", "fullyLabeledReplicas", "readyReplicas",
        "availableReplicas", "terminatingReplicas", "observedGeneration",
    ),
)  # fmt: skip
CONTROLLER_REVISION = obj(
    "What a DaemonSet was at one time.",
    required=("revision",),
    data=anything("The patch that makes it so again."),
    revision=integer("Which one it was, counted from 1."),
)
DAEMON_SET = obj(
    "One pod on every node, or on every chosen node.",
    spec=obj(
        "What is wanted.",
        title="DaemonSetSpec",
        required=_TEMPLATE_KEYS,
        selector=_SELECTOR,
        template=POD_TEMPLATE,
        updateStrategy=_strategy("RollingUpdate", "OnDelete"),
        minReadySeconds=_MIN_READY,
        revisionHistoryLimit=_HISTORY,
    ),
    status=_status(
        "What there is.", "currentNumberScheduled", "numberMisscheduled",
        "desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable",
        "numberUnavailable", "observedGeneration", "collisionCount",
    ),
)  # fmt: skip


def complete_deployment(obj: Json, context: Context) -> None:
    """Fill in what a Deployment leaves open."""
    spec = _complete_template(obj)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _complete_rolling(spec.setdefault("strategy", {}), surge="25%", unavailable="25%")


def complete_replica_set(obj: Json, context: Context) -> None:
    """Fill in what a ReplicaSet leaves open."""
    _complete_template(obj).setdefault("replicas", 1)


def complete_daemon_set(obj: Json, context: Context) -> None:
    """Fill in what a DaemonSet leaves open."""
    spec = _complete_template(obj)
    spec.setdefault("revisionHistoryLimit", 10)
    _complete_rolling(spec.setdefault("updateStrategy", {}), surge=0, unavailable=1)


def _complete_template(obj: Json) -> Json:
    spec: Json = obj.setdefault("spec", {})
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        complete_pod_spec(template["spec"])
    return spec


def _complete_rolling(strategy: Json, *, surge: int | str, unavailable: int | str) -> None:
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", surge)
        rolling.setdefault("maxUnavailable", unavailable)


def workload_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with a workload: selector, template and strategy."""
    spec = new.get("spec")
    if not isinstance(spec, Mapping):
        return [FieldError("spec", Reason.REQUIRED, "Required value")]
    errors = _selector_errors(spec)
    before = (old or {}).get("spec") or {}
    if old is not None and spec.get("selector") != before.get("selector"):
        text = f"Invalid value: {spec.get('selector')}: field is immutable"
        errors.append(FieldError("spec.selector", Reason.INVALID, text))
    template = spec.get("template") or {}
    pod = template.get("spec")
    if not isinstance(pod, Mapping):
        return errors
    if pod.get("restartPolicy") != "Always":
        text = f'Unsupported value: "{pod.get("restartPolicy")}": supported values: "Always"'
        path = "spec.template.spec.restartPolicy"
        errors.append(FieldError(path, Reason.NOT_SUPPORTED, text))
    errors += pod_spec_errors(duplicate(dict(pod)), "spec.template.spec")
    for name in ("strategy", "updateStrategy"):
        errors += _rolling_errors(spec.get(name) or {}, f"spec.{name}")
    return errors


def _selector_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    selector = spec.get("selector")
    if not isinstance(selector, Mapping):
        return []
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        text = "Invalid value: {}: empty selector is invalid: it would take every pod"
        return [FieldError("spec.selector", Reason.INVALID, text)]
    try:
        parsed = parse_selector(selector)
    except InvalidSelector as problem:
        return [FieldError("spec.selector", Reason.INVALID, f"Invalid value: {problem}")]
    metadata = (spec.get("template") or {}).get("metadata") or {}
    labels = metadata.get("labels") or {}
    errors = label_errors(labels, "spec.template.metadata.labels")
    if not parsed.matches(labels):
        text = f"Invalid value: {labels}: `selector` does not match template `labels`"
        errors.append(FieldError("spec.template.metadata.labels", Reason.INVALID, text))
    return errors


def _rolling_errors(strategy: Mapping[str, Any], path: str) -> list[FieldError]:
    rolling = strategy.get("rollingUpdate")
    if not isinstance(rolling, Mapping):
        return []
    path = f"{path}.rollingUpdate"
    if strategy.get("type") != "RollingUpdate":
        text = f"Forbidden: may not be specified when strategy type is {strategy.get('type')!r}"
        return [FieldError(path, Reason.FORBIDDEN, text)]
    errors = []
    for name in ("maxSurge", "maxUnavailable"):
        if _amount(rolling.get(name, 0)) is None:
            text = f'Invalid value: "{rolling[name]}": must be a number or a percentage like 25%'
            errors.append(FieldError(f"{path}.{name}", Reason.INVALID, text))
    if not errors and not any(_amount(rolling.get(k, 0)) for k in ("maxSurge", "maxUnavailable")):
        text = "Invalid value: 0: may not be 0 when `maxSurge` is 0: no pod could be replaced"
        errors.append(FieldError(f"{path}.maxUnavailable", Reason.INVALID, text))
    return errors


def _amount(value: Any) -> int | None:
    """Return the number of a count or percentage; None if it is neither."""
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return int(value[:-1])
    return value if isinstance(value, int) and value >= 0 else None
