"""Compile one Service and its EndpointSlices into load-balancer frontends.

    kube.Service, kube.EndpointSlice  ->  desired.LbState of that Service

Pure and keyed: one changed slice costs the work of one Service.

Shapes      one frontend per (address, port); all of one port share its backends
Invariants  While a ready endpoint exists, terminating ones only drain; without any ready one,
            terminating ones that still serve take connections too.
            externalTrafficPolicy Local holds for packets; sockets of the cluster that ask an
            outside address reach every pod, as through kube-proxy.
Standards   KEP-752 (EndpointSlice), KEP-1669 (terminating endpoints)
Not here    Endpoints that are named in vain (endpoint_faults.py), which node announces an address
            (announcements.py), the Maglev table (maglev.py).
"""

from collections.abc import Iterable, Iterator
from functools import partial

from cairn.compile.endpoint_faults import is_used
from cairn.desired.load_balancer import ANY_NODE, Backend, Frontend, Kind, LbState
from cairn.kube.endpoint_slice import EndpointSlice, EndpointState
from cairn.kube.service import Service, ServicePort
from cairn.net import L4Address


def compile_service(service: Service, slices: Iterable[EndpointSlice]) -> LbState:
    """Return the frontends of one Service; none for headless and ExternalName Services."""
    if service.type == "ExternalName":
        return {}
    known = tuple(slices)
    frontends: dict[L4Address, Frontend] = {}
    name = str(service.key)
    for port in service.ports:
        by_family = {family: _backends(service, port, family, known) for family in (4, 6)}
        for where, kind in _places(service, port):
            inside = kind is Kind.CLUSTER_IP
            frontends[where] = Frontend(
                name,
                kind,
                by_family[where.address.version],
                local=not inside and service.external_traffic_policy == "Local",
                socket_local=inside and service.internal_traffic_policy == "Local",
                affinity_s=service.affinity_s,
                source_ranges=service.source_ranges if kind is Kind.LOAD_BALANCER else (),
                source_rate=0 if inside else service.source_rate,
            )
    return frontends


def ready_nodes(service: Service, slices: Iterable[EndpointSlice]) -> frozenset[str]:
    """Return the nodes that hold an endpoint which takes new connections now."""
    known = tuple(slices)
    state = compile_service(service, known)
    return frozenset(backend.node for frontend in state.values() for backend in frontend.active)


def _places(service: Service, port: ServicePort) -> Iterator[tuple[L4Address, Kind]]:
    """Yield where one port of a Service listens; whom two kinds claim belongs to the last."""
    at = partial(L4Address, protocol=port.protocol, port=port.port)
    if service.type in ("NodePort", "LoadBalancer") and port.node_port:
        for version in {address.version for address in service.cluster_ips}:
            yield L4Address(ANY_NODE[version], port.protocol, port.node_port), Kind.NODE_PORT
    for address in service.cluster_ips:
        yield at(address), Kind.CLUSTER_IP
    for address in service.external_ips:
        yield at(address), Kind.EXTERNAL_IP
    if service.type == "LoadBalancer":
        for address in service.load_balancer_ips:
            yield at(address), Kind.LOAD_BALANCER


def _backends(
    service: Service, port: ServicePort, version: int, slices: tuple[EndpointSlice, ...]
) -> tuple[Backend, ...]:
    found: dict[L4Address, EndpointState] = {}
    for part in slices:
        for target in part.ports:
            if target.name != port.name or target.protocol != port.protocol:
                continue
            for address, state in part.endpoints:
                if address.version == version and is_used(service, address):
                    where = L4Address(address, port.protocol, target.port)
                    found[where] = _better(found.get(where), state)
    return _chosen(found, publish_not_ready=service.publish_not_ready)


def _better(known: EndpointState | None, other: EndpointState) -> EndpointState:
    # Slices may list an address twice while endpoints move between them (KEP-752). Which one came
    # first differs from node to node, and all must choose alike.
    return other if known is None else max(known, other, key=_order)


def _order(state: EndpointState) -> tuple[bool, bool, bool, str]:
    return state.ready, state.serving, not state.terminating, state.node


def _chosen(
    found: dict[L4Address, EndpointState], *, publish_not_ready: bool
) -> tuple[Backend, ...]:
    ordered = sorted(found.items(), key=lambda item: item[0].sort_key())
    ready = {where for where, e in ordered if e.ready or (publish_not_ready and not e.terminating)}
    leaving = {where for where, e in ordered if e.terminating and e.serving and where not in ready}
    return tuple(
        Backend(
            where,
            state.node,
            draining=bool(ready) and where in leaving,
            for_zones=state.for_zones,
            for_nodes=state.for_nodes,
        )
        for where, state in ordered
        if where in ready or where in leaving
    )
