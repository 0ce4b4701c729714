"""An EndpointSlice: the addresses behind one Service, with their conditions.

    discovery.k8s.io/v1 EndpointSlice  ->  EndpointSlice

Standards   KEP-752 (EndpointSlice), KEP-1669 (terminating endpoints), KEP-2433 and
            KEP-3015 (hints)
"""

from dataclasses import dataclass

from cairn.kube.metadata import Key, Metadata, Object, metadata_of
from cairn.kube.service import addresses
from cairn.net import Address, Protocol

SERVICE_NAME = "kubernetes.io/service-name"
"""Label that names the Service a slice belongs to."""


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
    target: str
    """Namespace/name of the pod, empty if there is none."""
    for_zones: frozenset[str] = frozenset()
    """Zones whose clients should use it; empty without a hint."""
    for_nodes: frozenset[str] = frozenset()
    """Nodes whose clients should use it; empty without a hint."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """One slice."""

    metadata: Metadata
    """Names and labels."""
    service: Key
    """The Service it belongs to; its name is empty for a slice of none."""
    ports: tuple[EndpointPort, ...]
    """Ports that every endpoint of the slice serves."""
    endpoints: tuple[Endpoint, ...]
    """As listed; one entry per address."""

    @staticmethod
    def from_object(obj: Object) -> "EndpointSlice":
        """Return the view of an EndpointSlice; absent conditions mean what KEP-1669 says."""
        metadata = metadata_of(obj)
        return EndpointSlice(
            metadata=metadata,
            service=Key(metadata.namespace, metadata.labels.get(SERVICE_NAME, "")),
            ports=tuple(
                EndpointPort(
                    raw.get("name") or "", Protocol[raw.get("protocol") or "TCP"], raw["port"]
                )
                for raw in obj.get("ports") or ()
                if raw.get("port")
            ),
            endpoints=tuple(
                endpoint for raw in obj.get("endpoints") or () for endpoint in _endpoints(raw)
            ),
        )


def _endpoints(raw: Object) -> tuple[Endpoint, ...]:
    conditions = raw.get("conditions") or {}
    ready = conditions.get("ready")
    ready = True if ready is None else bool(ready)
    serving = conditions.get("serving")
    target = raw.get("targetRef") or {}
    name = f"{target.get('namespace', '')}/{target.get('name', '')}" if target else ""
    hints = raw.get("hints") or {}
    # Consumers use the first address only (EndpointSlice API, "addresses").
    return tuple(
        Endpoint(
            address=address,
            node=raw.get("nodeName") or "",
            ready=ready,
            serving=ready if serving is None else bool(serving),
            terminating=bool(conditions.get("terminating")),
            target=name,
            for_zones=frozenset(hint.get("name") or "" for hint in hints.get("forZones") or ()),
            for_nodes=frozenset(hint.get("name") or "" for hint in hints.get("forNodes") or ()),
        )
        for address in addresses(raw.get("addresses") or ())[:1]
    )
