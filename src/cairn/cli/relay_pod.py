"""The pods in which a relay runs.

Kubernetes API  ->  Key of a pod, its port
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import PODS

LABEL = ("k8s-app", "hubble-relay")
RELAYS = "=".join(LABEL)
"""Label of the relay's pods."""
PORT = 4245
"""Of the relay's gRPC API in its pod, unless the pod names another `grpc`."""
LOOK = f"kubectl get pods --all-namespaces -l {RELAYS} -o wide"


async def running_relays(client: Client) -> list[dict[str, Any]]:
    """Return the relay's pods that run, those that are ready first."""
    pods, _ = await client.list(PODS, label_selector=RELAYS)
    return sorted(filter(_runs, pods), key=lambda pod: not is_ready(pod))


def address_of(pod: Mapping[str, Any]) -> tuple[Key, int]:
    """Return the pod, and the port of its gRPC API."""
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == "grpc":
                return key_of(pod), int(port["containerPort"])
    return key_of(pod), PORT


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod's condition Ready holds."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def relay_state(pods: Iterable[Mapping[str, Any]]) -> str:
    """Return in a few words how the relay is, by all pods of the cluster."""
    key, value = LABEL
    relays = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(key) == value]
    if not relays:
        return "none: flows stay on their nodes (cairn hubble enable)"
    ready = sum(is_ready(pod) for pod in relays)
    return "ready" if ready else f"not ready: {LOOK}"


def _runs(pod: dict[str, Any]) -> bool:
    status = pod.get("status")
    metadata = pod.get("metadata")
    if not isinstance(status, dict) or not isinstance(metadata, dict):
        return False
    return status.get("phase") == "Running" and not metadata.get("deletionTimestamp")
