"""Defaults and rules of pods.

    pod spec  ->  completed pod spec; (new pod, old pod)  ->  list[FieldError]

Standards   Kubernetes API reference, "Pod v1"; immutability as in "Pod update and replacement"
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cairn.apiserver.duplicate import duplicate
from cairn.apiserver.kind import Context, FieldError, Json, Reason
from cairn.apiserver.naming import is_label

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_SPEC_DEFAULTS: Mapping[str, Any] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
}


def complete_pod(obj: Json, context: Context) -> None:
    """Fill in what a pod leaves open; a new pod is Pending."""
    spec = obj.get("spec")
    if isinstance(spec, dict):
        complete_pod_spec(spec)
        spec.setdefault("enableServiceLinks", True)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        spec.setdefault("priority", 0)
        account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    status = obj.setdefault("status", {})
    if isinstance(status, dict) and context.old is None:
        status.setdefault("phase", "Pending")
        status.setdefault("qosClass", _qos_class(spec) if isinstance(spec, dict) else "BestEffort")


def complete_pod_spec(spec: Json) -> None:
    """Fill in what the spec of a pod or of a template leaves open."""
    for name, value in _SPEC_DEFAULTS.items():
        spec.setdefault(name, duplicate(value))
    for _, container in _containers(spec):
        _complete_container(container)
        if spec.get("hostNetwork"):
            for port in container.get("ports") or ():
                port.setdefault("hostPort", port.get("containerPort"))
    for volume in spec.get("volumes") or ():
        _complete_volume(volume)


def _complete_container(container: Json) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    image = container.get("image") or ""
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault(
        "imagePullPolicy", "Always" if latest and "@" not in image else "IfNotPresent"
    )
    # A limit without a request asks for as much as it allows.
    resources = container["resources"]
    for name, amount in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)
    for probe in filter(None, (container.get(name) for name in _PROBES)):
        for name, value in _PROBE_DEFAULTS.items():
            if not probe.get(name):
                probe[name] = value
        _complete_http(probe)
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _complete_http(handler)


def _complete_http(action: Json) -> None:
    request = action.get("httpGet")
    if isinstance(request, dict):
        request.setdefault("path", "/")
        request.setdefault("scheme", "HTTP")


def _complete_volume(volume: Json) -> None:
    sources = [name for name in volume if name != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", 0o644)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")


def _qos_class(spec: Mapping[str, Any]) -> str:
    """Return the class of service that the resources make."""
    bare, full = True, True
    for _, container in _containers(spec):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        bare = bare and not limits and not requests
        full = full and {"cpu", "memory"} <= set(limits) and requests == limits
    return "BestEffort" if bare else "Guaranteed" if full else "Burstable"


def _containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    for group in CONTAINER_LISTS:
        items = spec.get(group)
        for index, container in enumerate(items if isinstance(items, list) else ()):
            if isinstance(container, dict):
                yield f"{group}[{index}]", container


def pod_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with a pod beyond its schema."""
    spec = new.get("spec")
    if not isinstance(spec, dict):
        return [FieldError("spec", Reason.REQUIRED, "Required value")]
    errors = pod_spec_errors(spec, "spec")
    if old is not None and _frozen(spec) != _frozen(old.get("spec") or {}):
        text = (
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`, `spec.initContainers[*].image`, "
            "`spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing "
            "tolerations), `spec.terminationGracePeriodSeconds`"
        )
        errors.append(FieldError("spec", Reason.FORBIDDEN, text))
    return errors


def _frozen(spec: Mapping[str, Any]) -> Json:
    """Return the part of a pod's spec that may not change."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds",
            "ephemeralContainers", "schedulingGates")  # fmt: skip
    kept = {name: value for name, value in spec.items() if name not in free}
    for group in CONTAINER_LISTS:
        if isinstance(kept.get(group), list):
            kept[group] = [{k: v for k, v in c.items() if k != "image"} for c in kept[group]]
    return kept


def pod_spec_errors(spec: Mapping[str, Any], path: str) -> list[FieldError]:
    """Return what is wrong with the spec of a pod or of a template."""
    if not spec.get("containers"):
        return [FieldError(f"{path}.containers", Reason.REQUIRED, "Required value")]
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    errors: list[FieldError] = []
    for where, container in _containers(spec):
        errors += _container_errors(container, f"{path}.{where}", volumes)
    names = [(where, container.get("name")) for where, container in _containers(spec)]
    for index, (where, name) in enumerate(names):
        elsewhere = [other for place, other in names[:index] if _group(place) != _group(where)]
        if name in elsewhere:
            text = f'Duplicate value: "{name}"'
            errors.append(FieldError(f"{path}.{where}.name", Reason.DUPLICATE, text))
    for index, volume in enumerate(spec.get("volumes") or ()):
        sources = [name for name in volume if name != "name"]
        if len(sources) > 1:
            text = f"Forbidden: may not specify more than 1 volume type: {', '.join(sources)}"
            errors.append(FieldError(f"{path}.volumes[{index}]", Reason.FORBIDDEN, text))
    return errors


def _group(where: str) -> str:
    return where.partition("[")[0]


def _container_errors(container: Json, path: str, volumes: set[Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    name, image = container.get("name"), container.get("image")
    if isinstance(name, str) and not is_label(name):
        text = f'Invalid value: "{name}": must be a lowercase RFC 1123 label'
        errors.append(FieldError(f"{path}.name", Reason.INVALID, text))
    if not image:
        errors.append(FieldError(f"{path}.image", Reason.REQUIRED, "Required value"))
    elif image != image.strip():
        text = f'Invalid value: "{image}": must not have leading or trailing whitespace'
        errors.append(FieldError(f"{path}.image", Reason.INVALID, text))
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            text = f'Not found: "{mount.get("name")}"'
            where = f"{path}.volumeMounts[{index}].name"
            errors.append(FieldError(where, Reason.INVALID, text))
    for name in _PROBES:
        probe = container.get(name)
        if isinstance(probe, Mapping):
            errors += _probe_errors(probe, f"{path}.{name}", once=name != "readinessProbe")
    return errors


def _probe_errors(probe: Mapping[str, Any], path: str, *, once: bool) -> list[FieldError]:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    errors = []
    if not handlers:
        text = "Required value: must specify a handler type (exec, httpGet, tcpSocket or grpc)"
        errors.append(FieldError(path, Reason.REQUIRED, text))
    if len(handlers) > 1:
        text = f"Forbidden: may not specify more than 1 handler type: {', '.join(handlers)}"
        errors.append(FieldError(f"{path}.{handlers[1]}", Reason.FORBIDDEN, text))
    if once and probe.get("successThreshold", 1) != 1:
        text = f"Invalid value: {probe['successThreshold']}: must be 1"
        errors.append(FieldError(f"{path}.successThreshold", Reason.INVALID, text))
    return errors
