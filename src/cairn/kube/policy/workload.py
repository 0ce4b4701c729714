"""A pod as policies see it: what selects it, where it is, what its ports are called.

    v1.Pod  ->  Workload

Invariants  A pod that has ended has no addresses: somebody else may have them already.
Cost        about 400 octets of memory for a pod of a replica set: what repeats is held once
Standards   Kubernetes v1.Pod, v1.ContainerPort; KEP-753 (sidecar containers)
Not here    The labels that policies select by (kube.policy.rule.workload_labels).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import NamedTuple

from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.service import addresses
from cairn.net import Address, Protocol

_ENDED = ("Succeeded", "Failed")


class NamedPort(NamedTuple):
    """A port of a container that has a name."""

    name: str
    """As policies may call it."""
    protocol: Protocol
    """Transport protocol."""
    port: int
    """Its number."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What of one pod matters to policies."""

    key: Key
    """Namespace and name."""
    labels: Mapping[str, str]
    """Its own labels; equal ones are one object."""
    service_account: str
    """Empty: the namespace's `default`."""
    node: str
    """Where it runs; empty while it has no place."""
    addresses: tuple[Address, ...]
    """Its addresses, the primary one first."""
    ports: tuple[NamedPort, ...] = ()
    """Its named ports, sorted."""
    host_network: bool = False
    """Whether it has the node's own network, and is no subject of its own."""
    owner: str = ""
    """Kind and name of what made it: `Deployment/web`; empty: nothing did."""

    @property
    def namespace(self) -> str:
        """Where it lives."""
        return self.key.namespace

    @staticmethod
    def from_object(obj: Object) -> "Workload":
        """Return the view of a v1.Pod."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        labels = (obj.get("metadata") or {}).get("labels") or {}
        ended = status.get("phase") in _ENDED
        entries = status.get("podIPs") or [{"ip": status.get("podIP") or ""}]
        return Workload(
            key=key_of(obj),
            labels=_shared_labels(tuple(sorted(labels.items()))),
            service_account=intern(spec.get("serviceAccountName") or ""),
            node=intern(spec.get("nodeName") or ""),
            addresses=() if ended else addresses(entry.get("ip") or "" for entry in entries),
            ports=_shared_ports(tuple(sorted(set(_named_ports(spec))))),
            host_network=bool(spec.get("hostNetwork")),
            owner=intern(_owner(obj.get("metadata") or {})),
        )


def _owner(metadata: Object) -> str:
    """Return what made a pod; for a ReplicaSet of a Deployment the Deployment."""
    for raw in metadata.get("ownerReferences") or ():
        if not raw.get("controller"):
            continue
        kind, name = raw.get("kind") or "", raw.get("name") or ""
        template = (metadata.get("labels") or {}).get("pod-template-hash")
        if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
            return f"Deployment/{name.removesuffix(f'-{template}')}"
        return f"{kind}/{name}"
    return ""


def _named_ports(spec: Object) -> Iterator[NamedPort]:
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for raw in container.get("ports") or ():
            if raw.get("name"):
                protocol = Protocol[raw.get("protocol") or "TCP"]
                yield NamedPort(intern(raw["name"]), protocol, raw["containerPort"])


# Replicas repeat each other, so a few thousand entries serve a cluster.
@lru_cache(maxsize=8192)
def _shared_labels(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return MappingProxyType({intern(key): intern(value) for key, value in items})


@lru_cache(maxsize=4096)
def _shared_ports(ports: tuple[NamedPort, ...]) -> tuple[NamedPort, ...]:
    return ports
