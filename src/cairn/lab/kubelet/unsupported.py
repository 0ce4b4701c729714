"""What a pod asks for and the lab's kubelet does not do: named, never passed over.

    Pod  ->  paths of fields that are not honoured

Pure.  What is not honoured changes nothing of how the pod runs; fields that would make it run
wrongly (unknown volumes, references) are refused where they are used.
"""

from collections.abc import Iterator
from typing import Any

from cairn.kube.metadata import Object

_POD = ("hostPID", "hostIPC", "shareProcessNamespace", "activeDeadlineSeconds", "readinessGates")
_POD_SECURITY = ("fsGroup", "sysctls", "supplementalGroups", "seLinuxOptions")
_CONTAINER = ("volumeDevices", "resizePolicy")
_SECURITY = ("capabilities", "readOnlyRootFilesystem", "seLinuxOptions")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def unsupported_fields(pod: Object) -> list[str]:
    """Return the paths, below spec, of the fields that are not honoured, in order."""
    spec = pod.get("spec") or {}
    found = [name for name in _POD if spec.get(name)]
    security = spec.get("securityContext") or {}
    found += [f"securityContext.{name}" for name in _POD_SECURITY if security.get(name)]
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            where = f"{group}[{container.get('name')}]"
            found += [f"{where}.{path}" for path in _of_container(container)]
    if spec.get("ephemeralContainers"):
        found.append("ephemeralContainers")
    return found


def _of_container(container: Object) -> Iterator[str]:
    yield from (name for name in _CONTAINER if container.get(name))
    if (container.get("resources") or {}).get("limits"):
        yield "resources.limits"
    security = container.get("securityContext") or {}
    # Privileged containers have every capability as it is: nothing is taken from them.
    yield from (f"securityContext.{n}" for n in _SECURITY if _matters(security, n))
    if (container.get("lifecycle") or {}).get("postStart"):
        yield "lifecycle.postStart"
    for probe in _PROBES:
        if "grpc" in (container.get(probe) or {}):
            yield f"{probe}.grpc"
    for mount in container.get("volumeMounts") or ():
        if mount.get("subPathExpr"):
            yield f"volumeMounts[{mount.get('name')}].subPathExpr"


def _matters(security: dict[str, Any], name: str) -> bool:
    return bool(security.get(name)) and not (name == "capabilities" and security.get("privileged"))
