"""What walks ask of the cluster's objects: pods of a Service, their troubles, nodes, conditions.

World, Service  ->  pods, texts
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cairn.diagnose.policy.world import Name, World
from cairn.kube.endpoint_slice import EndpointSlice, EndpointState
from cairn.kube.metadata import Key, Object, key_of, metadata_of
from cairn.kube.service import Service
from cairn.net import Address

CRASHED = ("CrashLoopBackOff", "Error", "OOMKilled", "ContainerCannotRun", "RunContainerError")
IMAGES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
FEW = 2
"""So many restarts are a habit."""
AGENT_LABELS = {"k8s-app": "cairn"}
OPERATOR_LABELS = {"k8s-app": "cairn-operator"}


def raw_service(world: World, key: Key) -> Object:
    """Return a Service as it is written."""
    return world.objects.get(Name("Service", *key), {})


def raw_pod(world: World, key: Key) -> Object:
    """Return a pod as the API has it."""
    return world.objects.get(Name("Pod", *key), {})


def pods_of_service(world: World, service: Service, *, deleting: bool = False) -> list[Object]:
    """Return the pods that a Service's selector takes: those that stay, or those that go."""
    wanted = dict(service.selector)
    if not wanted:
        return []
    return [
        pod
        for pod in world.of_kind("Pod")
        if key_of(pod).namespace == service.key.namespace
        and wanted.items() <= metadata_of(pod).labels.items()
        and metadata_of(pod).deleting is deleting
    ]


def is_ready(pod: Object) -> bool:
    """Return whether a pod is ready."""
    return _conditions(pod).get("Ready", {}).get("status") == "True"


def node_of(pod: Object) -> str:
    """Return the name of the node that a pod runs on."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod is not ready."""

    word: str
    """crash, image, pending or probe."""
    text: str
    """In one line."""
    container: str = ""
    """Which of its containers."""
    restarts: int = 0
    """Of that container."""


def pod_trouble(pod: Object) -> Trouble:
    """Return why a pod is not ready."""
    status = pod.get("status") or {}
    for state in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        if trouble := _container_trouble(state):
            return trouble
    phase = status.get("phase") or "Pending"
    if phase == "Pending":
        scheduled = _conditions(pod).get("PodScheduled", {})
        why = scheduled.get("message") if scheduled.get("status") == "False" else ""
        return Trouble("pending", why or "it is pending: its containers have not started")
    if phase in ("Succeeded", "Failed"):
        return Trouble("pending", f"its phase is {phase}: {status.get('message') or 'it ended'}")
    return Trouble("probe", _probe_trouble(pod))


def _container_trouble(state: Mapping[str, Any]) -> Trouble | None:
    name = str(state.get("name"))
    now, before = state.get("state") or {}, state.get("lastState") or {}
    waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
    last = before.get("terminated") or {}
    restarts = int(state.get("restartCount") or 0)
    if waiting.get("reason") in CRASHED or (ended and ended.get("exitCode")):
        code = (ended or last).get("exitCode")
        reason = str(waiting.get("reason") or ended.get("reason") or "Error")
        text = f"{reason}, exit status {code}" if code is not None else reason
        return Trouble("crash", text, name, restarts)
    if waiting.get("reason") in IMAGES:
        return Trouble("image", f"{waiting['reason']}: {waiting.get('message', '')}", name)
    if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        text = f"container {name}: {waiting.get('reason')}: {waiting.get('message', '')}"
        return Trouble("pending", text, name)
    if restarts >= FEW and not state.get("ready") and last.get("exitCode"):
        return Trouble("crash", f"exit status {last['exitCode']}", name, restarts)
    return None


def _probe_trouble(pod: Object) -> str:
    for container in (pod.get("spec") or {}).get("containers") or ():
        probe = container.get("readinessProbe") or {}
        if get := probe.get("httpGet"):
            return f"its readiness probe GET {get.get('path', '/')} at {get.get('port')} fails"
        if tcp := probe.get("tcpSocket"):
            return f"its readiness probe, a connection to port {tcp.get('port')}, fails"
        if probe:
            return f"its readiness probe ({', '.join(probe)}) fails"
    ready = _conditions(pod).get("Ready", {})
    return str(ready.get("message") or ready.get("reason") or "its condition Ready is not True")


def endpoints_of(
    world: World, service: Service
) -> Iterator[tuple[EndpointSlice, Address, EndpointState]]:
    """Yield every endpoint of a Service with its slice."""
    for part in world.slices.get(service.key, ()):
        for address, state in part.endpoints:
            yield part, address, state


def pod_at(world: World, address: Address) -> Key | None:
    """Return the pod that has an address."""
    for pod in world.pods.values():
        if pod.exists and address in pod.workload.addresses and not pod.workload.host_network:
            return pod.key
    return None


def daemon_pod(world: World, node: str) -> Object | None:
    """Return the agent's pod of a node."""
    for pod in _labelled(world, AGENT_LABELS):
        if node_of(pod) == node and not metadata_of(pod).deleting:
            return pod
    return None


def daemon_name(world: World, node: str) -> str:
    """Return the name of the agent's pod of a node, or what to find it by."""
    pod = daemon_pod(world, node)
    return key_of(pod).name if pod else "ds/cairn"


def operator_pods(world: World) -> list[Object]:
    """Return the operator's pods."""
    return [pod for pod in _labelled(world, OPERATOR_LABELS) if not metadata_of(pod).deleting]


def container_ready(pod: Object, name: str) -> bool:
    """Return whether one container of a pod is ready."""
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(state.get("name") == name and state.get("ready") for state in states)


def first_container(pod: Object) -> str:
    """Return the name of a pod's first container."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return str(containers[0].get("name")) if containers else ""


def condition(obj: Object, name: str) -> Mapping[str, Any]:
    """Return a condition of an object's status; empty if it has none of that type."""
    return _conditions(obj).get(name, {})


def not_ready_nodes(world: World) -> dict[str, str]:
    """Return the nodes that are not Ready, with the reason."""
    found = {}
    for obj in world.of_kind("Node"):
        ready = condition(obj, "Ready")
        if ready.get("status") != "True":
            text = ready.get("message") or ready.get("reason") or "no kubelet has reported"
            found[key_of(obj).name] = str(text)
    return found


def _labelled(world: World, labels: Mapping[str, str]) -> Iterator[Object]:
    for pod in world.of_kind("Pod"):
        metadata = metadata_of(pod)
        if metadata.namespace == "kube-system" and labels.items() <= metadata.labels.items():
            yield pod


def _conditions(obj: Object) -> dict[str, Mapping[str, Any]]:
    return {str(c.get("type")): c for c in (obj.get("status") or {}).get("conditions") or ()}


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names with commas, not too many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
