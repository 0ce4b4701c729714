"""The host ports that a pod asks for.

    v1.Pod  ->  PodPorts(addresses, ports)

Invariants  A pod in the node's own network has none: its ports are the node's already. Neither has
            a pod that has ended or has no address yet.
Standards   Kubernetes v1.ContainerPort
"""

from dataclasses import dataclass

from cairn.kube.metadata import Key, Object, metadata_of
from cairn.kube.service import addresses
from cairn.net import Address, Protocol

_ENDED = ("Succeeded", "Failed")
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104


@dataclass(frozen=True, slots=True)
class HostPort:
    """One port of a container that is open at the node, too."""

    protocol: Protocol
    """Transport protocol."""
    port: int
    """At the pod."""
    host_port: int
    """At the node."""
    host_ip: Address | None
    """At which of the node's addresses; None for all."""


@dataclass(frozen=True, slots=True)
class PodPorts:
    """What of a pod matters for its host ports."""

    key: Key
    """Namespace and name."""
    node: str
    """Where it runs."""
    addresses: tuple[Address, ...]
    """Its addresses."""
    ports: tuple[HostPort, ...]
    """As listed."""

    @staticmethod
    def from_object(obj: Object) -> "PodPorts":
        """Return the view of a v1.Pod."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        metadata = metadata_of(obj)
        idle = spec.get("hostNetwork") or status.get("phase") in _ENDED
        entries = status.get("podIPs") or [{"ip": status.get("podIP") or ""}]
        return PodPorts(
            key=metadata.key,
            node=spec.get("nodeName") or "",
            addresses=addresses(entry.get("ip") or "" for entry in entries),
            ports=()
            if idle
            else tuple(
                _port(raw)
                for container in spec.get("containers") or ()
                for raw in container.get("ports") or ()
                if raw.get("hostPort")
            ),
        )


def _port(raw: Object) -> HostPort:
    text = raw.get("hostIP") or ""
    return HostPort(
        protocol=Protocol[raw.get("protocol") or "TCP"],
        port=raw["containerPort"],
        host_port=raw["hostPort"],
        host_ip=None if text in _EVERYWHERE else next(iter(addresses([text])), None),
    )
