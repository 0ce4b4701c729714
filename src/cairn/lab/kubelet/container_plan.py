"""What a container of a pod is, as processes see it: program, environment, mounts.

    Pod, container, PodFacts  ->  Program, environment, mounts

Pure.  `runtime.py` adds where it runs and starts it.

Standards   Kubernetes API reference, Container and EnvVar; $(NAME) expansion of EnvVar.value
Not here    Making the volumes' folders (volumes.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cairn.kube.metadata import Object
from cairn.lab.images.table import Image

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")


class ConfigError(Exception):
    """A container that cannot be made from what the pod refers to (CreateContainerConfigError)."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is known about a pod besides its object."""

    node: str
    """Name of its node."""
    host_addresses: tuple[str, ...]
    """The node's addresses, one per family."""
    pod_addresses: tuple[str, ...]
    """The pod's addresses, one per family."""
    service_host: str
    """Where the API server is, as pods see it."""
    service_port: str
    """Likewise, its port."""
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Data of the pod's ConfigMaps by name."""
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Decoded data of the pod's Secrets by name."""


def arguments(container: Object, image: Image, environment: Mapping[str, str]) -> list[str]:
    """Return the container's argv: command and args replace the image's, as in Kubernetes."""
    command = list(container.get("command") or ())
    args = list(container.get("args") or ())
    if not command:
        command = list(image.entrypoint)
        args = args or list(image.arguments)
    argv = [expand(word, environment) for word in (*command, *args)]
    if not argv:
        raise ConfigError(
            f"image {image.name} runs nothing by itself: give the container a command"
        )
    return argv


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with $(NAME) replaced; unknown names stay, $$ is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return environment.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def build_environment(
    pod: Object, container: Object, image: Image, facts: PodFacts
) -> dict[str, str]:
    """Return the container's environment; raises ConfigError."""
    environment = {
        "PATH": PATH,
        "HOME": "/root",
        "HOSTNAME": host_name(pod, facts),
        "KUBERNETES_SERVICE_HOST": facts.service_host,
        "KUBERNETES_SERVICE_PORT": facts.service_port,
        "KUBERNETES_PORT": f"tcp://{facts.service_host}:{facts.service_port}",
        **image.environment,
        **image.pod_environment(pod, facts.node),
    }
    if container.get("tty"):
        environment["TERM"] = "xterm"
    for source in container.get("envFrom") or ():
        environment.update(_from_source(source, facts))
    for variable in container.get("env") or ():
        text = _value(variable, pod, container, facts, environment)
        if text is not None:
            environment[variable["name"]] = text
    return environment


def host_name(pod: Object, facts: PodFacts) -> str:
    """Return the host name that the pod sees."""
    spec = pod.get("spec") or {}
    if spec.get("hostNetwork"):
        return facts.node
    return str(spec.get("hostname") or pod["metadata"]["name"])[:63]


def references(pod: Object) -> set[tuple[str, str]]:
    """Return ("ConfigMap" or "Secret", name) of all that containers and volumes refer to."""
    spec = pod.get("spec") or {}
    found: set[tuple[str, str]] = set()
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for source in container.get("envFrom") or ():
            found |= _named(source.get("configMapRef"), source.get("secretRef"))
        for variable in container.get("env") or ():
            origin = variable.get("valueFrom") or {}
            found |= _named(origin.get("configMapKeyRef"), origin.get("secretKeyRef"))
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            secret = source.get("secret") or {}
            named = {"name": secret.get("secretName") or secret.get("name")}
            found |= _named(source.get("configMap"), named)
    return found


def field_value(pod: Object, path: str, facts: PodFacts) -> str:
    """Return what a fieldRef names; raises ConfigError."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": facts.node,
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.hostIP": ",".join(facts.host_addresses[:1]),
        "status.hostIPs": ",".join(facts.host_addresses),
        "status.podIP": ",".join(facts.pod_addresses[:1]),
        "status.podIPs": ",".join(facts.pod_addresses),
    }
    if path in simple:
        return str(simple[path])
    if match := re.fullmatch(r"metadata\.(labels|annotations)(?:\['(.+)'\])?", path):
        entries = metadata.get(match[1]) or {}
        if match[2]:
            return str(entries.get(match[2], ""))
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    raise ConfigError(f"fieldRef {path!r} is not supported; use one of {', '.join(simple)}")


def _named(config_map: Object | None, secret: Object | None) -> set[tuple[str, str]]:
    found = set()
    if config_map and config_map.get("name"):
        found.add(("ConfigMap", str(config_map["name"])))
    if secret and secret.get("name"):
        found.add(("Secret", str(secret["name"])))
    return found


def _from_source(source: Object, facts: PodFacts) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for word, noun, known in (
        ("configMapRef", "configmap", facts.config_maps),
        ("secretRef", "secret", facts.secrets),
    ):
        reference = source.get(word)
        if reference:
            data = _data(reference, noun, known)
            return {prefix + key: value for key, value in data.items()}
    return {}


def _data(reference: Object, noun: str, known: Mapping[str, Mapping[str, str]]) -> Any:
    name = reference.get("name") or ""
    if name in known:
        return known[name]
    if reference.get("optional"):
        return {}
    raise ConfigError(f'{noun} "{name}" not found')


def _value(
    variable: Object,
    pod: Object,
    container: Object,
    facts: PodFacts,
    environment: Mapping[str, str],
) -> str | None:
    origin = variable.get("valueFrom") or {}
    if not origin:
        return expand(variable.get("value") or "", environment)
    if reference := origin.get("fieldRef"):
        return field_value(pod, reference.get("fieldPath") or "", facts)
    if reference := origin.get("resourceFieldRef"):
        return _resource(container, reference)
    for word, noun, known in (
        ("configMapKeyRef", "configmap", facts.config_maps),
        ("secretKeyRef", "secret", facts.secrets),
    ):
        if reference := origin.get(word):
            data, key = _data(reference, noun, known), reference.get("key") or ""
            if key in data:
                return str(data[key])
            if reference.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {key} in {noun} {reference.get('name')}")
    raise ConfigError(f"env {variable.get('name')}: valueFrom {sorted(origin)} is not supported")


def _resource(container: Object, reference: Object) -> str:
    kind, _, resource = str(reference.get("resource")).partition(".")
    amounts = (container.get("resources") or {}).get(kind) or {}
    return str(amounts.get(resource, "0"))


def user_of(pod: Object, container: Object) -> tuple[int | None, int | None]:
    """Return the uid and gid that the pod asks for; None stands for root."""
    contexts: Sequence[Mapping[str, Any]] = (
        container.get("securityContext") or {},
        (pod.get("spec") or {}).get("securityContext") or {},
    )
    uid = next((c["runAsUser"] for c in contexts if c.get("runAsUser") is not None), None)
    gid = next((c["runAsGroup"] for c in contexts if c.get("runAsGroup") is not None), uid)
    return uid, gid
