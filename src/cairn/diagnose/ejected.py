"""Backends that their nodes found dead, for the overview.

    CiliumNode, EndpointSlices, pods by address  ->  Ejection (who, where, why)

Invariants  An ejection of an address that no EndpointSlice lists any more is history, and left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.node import ejections_of
from cairn.net import L4Address


@dataclass(frozen=True, slots=True)
class Ejection:
    """One backend that does not serve."""

    where: L4Address
    """Its address and port."""
    node: str
    """Who found it."""
    reason: str
    """What was wrong."""
    service: Key
    """A Service that has it."""
    pod: str
    """Namespace/name; empty if it is no pod."""


def ejections(
    nodes: Iterable[Object], slices: Iterable[EndpointSlice], pods: Mapping[str, str]
) -> Iterator[Ejection]:
    """Yield the ejected backends of Services, one for each Service that has it.

    `pods`: namespace/name of pods by their address.
    """
    said = {
        (key_of(node).name, where): reason
        for node in nodes
        for where, reason in ejections_of(node).items()
    }
    for part in slices if said else ():
        for address, state in part.endpoints:
            for port in part.ports:
                where = L4Address(address, port.protocol, port.port)
                reason = said.get((state.node, where))
                if reason is not None:
                    pod = pods.get(str(address), "")
                    yield Ejection(where, state.node, reason, part.service, pod)


def pods_by_address(slices: Iterable[Object]) -> dict[str, str]:
    """Return namespace/name of the pods behind v1.EndpointSlices, by their address."""
    found: dict[str, str] = {}
    for part in slices:
        for endpoint in part.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            if target:
                name = f"{target.get('namespace', '')}/{target.get('name', '')}"
                found |= dict.fromkeys(endpoint.get("addresses") or (), name)
    return found
