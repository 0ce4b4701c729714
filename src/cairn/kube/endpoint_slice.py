"""An EndpointSlice: the addresses behind one Service, with their conditions.

    discovery.k8s.io/v1 EndpointSlice  ->  EndpointSlice

Cost        100 octets of memory for each endpoint: what repeats is held once
Standards   KEP-752 (EndpointSlice), KEP-1669 (terminating endpoints), KEP-2433 and
            KEP-3015 (hints)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import NamedTuple

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
class EndpointState:
    """What is said of an endpoint besides its address: few differ."""

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


class Endpoint(NamedTuple):
    """One address behind a Service."""

    address: Address
    """Pod or host address."""
    state: EndpointState
    """Where it lives, and whether it serves."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """One slice."""

    service: Key
    """The Service it belongs to; its name is empty for a slice of none."""
    ports: tuple[EndpointPort, ...]
    """Ports that every endpoint of the slice serves."""
    addresses: tuple[Address, ...]
    """Of its endpoints, as listed; one entry per address."""
    states: tuple[EndpointState, ...]
    """Of its endpoints, in the same order."""

    @property
    def endpoints(self) -> Iterator[Endpoint]:
        """Yield every endpoint, as listed."""
        return map(Endpoint, self.addresses, self.states)

    @staticmethod
    def from_object(obj: Object) -> "EndpointSlice":
        """Return the view of an EndpointSlice; absent conditions mean what KEP-1669 says."""
        metadata = obj.get("metadata") or {}
        labels = metadata.get("labels") or {}
        found = tuple(one for raw in obj.get("endpoints") or () for one in _endpoints(raw))
        return EndpointSlice(
            service=Key(intern(metadata.get("namespace") or ""), labels.get(SERVICE_NAME) or ""),
            ports=tuple(
                _port(raw.get("name") or "", raw.get("protocol") or "TCP", raw["port"])
                for raw in obj.get("ports") or ()
                if raw.get("port")
            ),
            addresses=tuple(address for address, _ in found),
            states=tuple(state for _, state in found),
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
    state = _state(
        raw.get("nodeName") or "",
        ready,
        ready if serving is None else bool(serving),
        bool(conditions.get("terminating")),
        _hints(hints.get("forZones")),
        _hints(hints.get("forNodes")),
    )
    # Consumers use the first address only (EndpointSlice API, "addresses").
    return tuple(Endpoint(address, state) for address in addresses(raw.get("addresses") or ())[:1])


_state = lru_cache(maxsize=4096)(EndpointState)


def _hints(listed: list[Object] | None) -> frozenset[str]:
    return frozenset(intern(hint.get("name") or "") for hint in listed) if listed else _NO_HINTS
