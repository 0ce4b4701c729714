"""How a pod's author has it probed for readiness, by the port that is asked.

    v1.Pod  ->  PodProbes(addresses, requests)

Invariants  A probe that names another port than a container's, or that cannot be read, is none.
Standards   Kubernetes v1.Probe, v1.HTTPGetAction
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.service import addresses
from cairn.net import Address


@dataclass(frozen=True, slots=True)
class HttpGet:
    """One readiness probe by HTTP."""

    path: str
    """Path and query."""
    host: str
    """Whom the request names; empty: the pod's address."""
    secure: bool
    """Whether it goes over TLS."""
    headers: tuple[tuple[str, str], ...]
    """Further header fields."""


@dataclass(frozen=True, slots=True)
class PodProbes:
    """What of a pod matters for checking it."""

    metadata: Metadata
    """Names."""
    addresses: tuple[Address, ...]
    """Its addresses; its node's if it has the node's network."""
    host_network: bool
    """Whether it has the node's network."""
    ports: frozenset[int]
    """Ports that its containers name."""
    requests: Mapping[int, HttpGet]
    """Readiness probes by HTTP, by port number."""

    @staticmethod
    def from_object(obj: Object) -> "PodProbes":
        """Return the view of a v1.Pod."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        entries = status.get("podIPs") or [{"ip": status.get("podIP") or ""}]
        containers = spec.get("containers") or ()
        return PodProbes(
            metadata=metadata_of(obj),
            addresses=addresses(entry.get("ip") or "" for entry in entries),
            host_network=bool(spec.get("hostNetwork")),
            ports=frozenset(
                raw["containerPort"]
                for container in containers
                for raw in container.get("ports") or ()
                if raw.get("containerPort")
            ),
            requests={port: get for container in containers for port, get in _requests(container)},
        )


def _requests(container: Object) -> Iterator[tuple[int, HttpGet]]:
    get = (container.get("readinessProbe") or {}).get("httpGet")
    if not get:
        return
    port = get.get("port")
    if isinstance(port, str) and not port.isdigit():
        named = {p.get("name"): p.get("containerPort") for p in container.get("ports") or ()}
        port = named.get(port)
    if not port:
        return
    headers = tuple(
        (str(h.get("name") or ""), str(h.get("value") or "")) for h in get.get("httpHeaders") or ()
    )
    secure = (get.get("scheme") or "HTTP") == "HTTPS"
    yield int(port), HttpGet(get.get("path") or "/", get.get("host") or "", secure, headers)
