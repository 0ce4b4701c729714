"""An EndpointSlice: the addresses behind one Service, with their conditions.

    discovery.k8s.io/v1 EndpointSlice  ->  EndpointSlice

Cost        170 octets of memory for each endpoint: what repeats is held once
Standards   KEP-752 (EndpointSlice), KEP-1669 (terminating endpoints), KEP-2433 and
            KEP-3015 (hints)
"""

from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from cairn.kube.metadata import Key, Object
from cairn.kube.service import addresses
from cairn.net import Address, Protocol

SERVICE_NAME = "kubernetes.io/service-name"
"""Label that names the Service a slice belongs to."""
_NO_HINTS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """One port of all endpoints of a slice."""

    name: str
    """The Service port's name that it serves."""
    protocol: Protocol
    """Transport protocol."""
    port: int
    """Port at the endpoint."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a Service."""

    address: Address
    """Pod or host address."""
    node: str
    """Name of the node it lives on; empty if outside the cluster."""
    ready: bool
    """Takes new connections."""
    serving: bool
    """Answers, though perhaps terminating."""
    terminating: bool
    """Is being deleted."""
    for_zones: frozenset[str] = _NO_HINTS
    """Zones whose clients should use it; empty without a hint."""
    for_nodes: frozenset[str] = _NO_HINTS
    """Nodes whose clients should use it; empty without a hint."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """One slice."""

    service: Key
    """The Service it belongs to; its name is empty for a slice of none."""
    ports: tuple[EndpointPort, ...]
    """Ports that every endpoint of the slice serves."""
    endpoints: tuple[Endpoint, ...]
    """As listed; one entry per address."""

    @staticmethod
    def from_object(obj: Object) -> "EndpointSlice":
        """Return the view of an EndpointSlice; absent conditions mean what KEP-1669 says."""
        metadata = obj.get("metadata") or {}
        labels = metadata.get("labels") or {}
        return EndpointSlice(
            service=Key(intern(metadata.get("namespace") or ""), labels.get(SERVICE_NAME) or ""),
            ports=tuple(
                _port(raw.get("name") or "", raw.get("protocol") or "TCP", raw["port"])
                for raw in obj.get("ports") or ()
                if raw.get("port")
            ),
            endpoints=tuple(
                endpoint for raw in obj.get("endpoints") or () for endpoint in _endpoints(raw)
            ),
        )


@lru_cache(maxsize=1024)
def _port(name: str, protocol: str, port: int) -> EndpointPort:
    # Few differ, and ten thousand slices have them.
    return EndpointPort(name, Protocol[protocol], port)


def _endpoints(raw: Object) -> tuple[Endpoint, ...]:
    conditions = raw.get("conditions") or {}
    ready = conditions.get("ready")
    ready = True if ready is None else bool(ready)
    serving = conditions.get("serving")
    hints = raw.get("hints") or {}
    # Consumers use the first address only (EndpointSlice API, "addresses").
    return tuple(
        Endpoint(
            address=address,
            node=intern(raw.get("nodeName") or ""),
            ready=ready,
            serving=ready if serving is None else bool(serving),
            terminating=bool(conditions.get("terminating")),
            for_zones=_hints(hints.get("forZones")),
            for_nodes=_hints(hints.get("forNodes")),
        )
        for address in addresses(raw.get("addresses") or ())[:1]
    )


def _hints(listed: list[Object] | None) -> frozenset[str]:
    return frozenset(intern(hint.get("name") or "") for hint in listed) if listed else _NO_HINTS
