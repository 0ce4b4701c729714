"""Start one container of a pod: image, configuration, volumes, process.

Station, Pod, ContainerView, Sandbox  ->  Running, or Refused(reason, message)
"""

import asyncio
import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cairn.drive.kube_client import ApiError
from cairn.kube.metadata import Key, Object
from cairn.kube.resource import CONFIG_MAPS, SECRETS
from cairn.lab.images.table import Image, UnknownImage, find_image
from cairn.lab.kubelet import runtime, volumes
from cairn.lab.kubelet.container_plan import (
    ConfigError,
    PodFacts,
    arguments,
    build_environment,
    host_name,
    references,
    user_of,
)
from cairn.lab.kubelet.container_view import ContainerView
from cairn.lab.kubelet.credentials import account_of
from cairn.lab.kubelet.runtime import ContainerPlan, Running
from cairn.lab.kubelet.sandbox import Sandbox
from cairn.lab.kubelet.station import SERVICE_ADDRESS, Station
from cairn.linux.mount import mounts

_UNSHARED = ("/proc", "/sys", "/run", "/var/run", "/var/lib/cairn")
"""Mounts of the machine below these are not a container's business."""


@dataclass(frozen=True, slots=True)
class PodFiles:
    """What a pod's containers are made from."""

    facts: PodFacts
    """Names, addresses, ConfigMaps and Secrets."""
    volumes: dict[str, Path]
    """Where each volume lies."""


class Refused(Exception):
    """A container that cannot start now."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


async def prepare_pod(station: Station, pod: Object, sandbox: Sandbox) -> PodFiles:
    """Fetch and write what the pod's containers need; raises Refused (FailedMount)."""
    namespace = pod["metadata"].get("namespace") or "default"
    config_maps: dict[str, dict[str, str]] = {}
    secrets: dict[str, dict[str, str]] = {}
    try:
        for kind, name in sorted(references(pod)):
            resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
            data = await _data(station, resource, Key(namespace, name))
            if data is not None:
                (config_maps if kind == "ConfigMap" else secrets)[name] = data
    except ApiError as error:
        raise Refused("FailedMount", error.message) from error
    on_host = not sandbox.netns
    host, port = station.api_address if on_host else SERVICE_ADDRESS
    facts = PodFacts(
        node=station.node,
        host_addresses=station.addresses,
        pod_addresses=sandbox.addresses,
        service_host=host,
        service_port=port,
        config_maps=config_maps,
        secrets=secrets,
    )
    account = account_of(station.pki, pod)
    try:
        places = await asyncio.to_thread(
            volumes.prepare, station.places, pod, facts, account, station.names
        )
    except (volumes.MountError, ConfigError, OSError) as error:
        raise Refused("FailedMount", f"MountVolume.SetUp failed: {error}") from error
    return PodFiles(facts, places)


async def _data(station: Station, resource: Any, key: Key) -> dict[str, str] | None:
    try:
        obj = await station.client.get(resource, key)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    if resource is CONFIG_MAPS:
        return dict(obj.get("data") or {})
    encoded = obj.get("data") or {}
    return {name: base64.b64decode(text).decode(errors="replace") for name, text in encoded.items()}


def image_of(view: ContainerView) -> Image:
    """Return the container's image; raises Refused (ErrImagePull)."""
    reference = str(view.spec.get("image") or "")
    try:
        return find_image(reference)
    except UnknownImage as error:
        raise Refused("ErrImagePull", str(error)) from error


async def start(
    station: Station, pod: Object, view: ContainerView, sandbox: Sandbox, files: PodFiles
) -> Running:
    """Start a container; raises Refused."""
    image = image_of(view)
    try:
        plan = build_plan(station, pod, view, sandbox, files, image)
    except ConfigError as error:
        raise Refused("CreateContainerConfigError", str(error)) from error
    except volumes.MountError as error:
        raise Refused("CreateContainerConfigError", str(error)) from error
    folder = station.places.container(pod["metadata"]["uid"], view.name)
    try:
        return await runtime.start(plan, folder, view.attempt)
    except (runtime.StartFailed, OSError) as error:
        raise Refused("RunContainerError", f"failed to start container: {error}") from error


def build_plan(
    station: Station,
    pod: Object,
    view: ContainerView,
    sandbox: Sandbox,
    files: PodFiles,
    image: Image,
) -> ContainerPlan:
    """Return all that the shim must know; raises ConfigError, MountError."""
    metadata, places, spec = pod["metadata"], station.places, view.spec
    uid = metadata["uid"]
    environment = build_environment(pod, spec, image, files.facts)
    if not any(v.get("name") == "PATH" for v in spec.get("env") or ()):
        environment["PATH"] = station.path
    folder = places.container(uid, view.name)
    logs = places.logs(metadata.get("namespace") or "default", metadata["name"], uid)
    user, group = user_of(pod, spec)
    return ContainerPlan(
        argv=arguments(spec, image, environment),
        environment=environment,
        directory=str(spec.get("workingDir") or "/"),
        hostname=host_name(pod, files.facts),
        netns=sandbox.netns,
        group=str(places.pod_group(uid) / view.name),
        shim_group=str(places.shims),
        binds=volumes.binds(places, pod, spec, files.volumes),
        shared=_machine_mounts(),
        scratch=str(folder / "scratch"),
        log=str(logs / view.name / f"{view.attempt}.log"),
        shim_log=str(folder / "shim.log"),
        exit=str(folder / "exit.json"),
        uid=user,
        gid=group,
        tty=bool(spec.get("tty")),
        stdin=bool(spec.get("stdin")),
        stdin_fifo=str(folder / "stdin"),
    )


def _machine_mounts() -> list[str]:
    """Return the machine's mounts that a container sees as they are: /dev, further disks."""
    targets = [m.target for m in mounts() if m.target != "/"]
    kept: list[str] = []
    for target in sorted(set(targets)):
        inside = [*kept, *_UNSHARED]
        if not any(target == outer or target.startswith(outer + "/") for outer in inside):
            kept.append(target)
    return kept
