"""The nodes' views of the load balancer, made one, with the names that the maps do not know.

    rows by node (observe.lb_view), Services and EndpointSlices  ->  one row per frontend or backend

Invariants  What the nodes say alike is said once; what they do not is named with the nodes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.compile.services import compile_service
from cairn.desired.load_balancer import Frontend
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.service import Service
from cairn.observe.lb_rows import ACTIVE, DRAINING, HERE, BackendRow, FrontendRow, TableRow, name_of

_EJECTED = {DRAINING: "ejected", ACTIVE: "ejected, but no other is left"}


@dataclass(frozen=True, slots=True)
class Names:
    """What the API objects say of frontends and nodes."""

    frontends: Mapping[str, Frontend]
    """By address:port/PROTOCOL."""
    nodes: Mapping[str, str]
    """Node names by address."""
    ejected: frozenset[tuple[str, int]] = frozenset()
    """Address and port of backends that their nodes found not to serve."""


@dataclass(frozen=True, slots=True)
class MergedFrontend:
    """One frontend, as all nodes have it."""

    service: str
    """namespace/name; empty if no Service claims it."""
    kind: str
    """How clients come to it."""
    address: str
    port: int
    protocol: str
    ready: dict[str, int]
    """Backends that take new connections, by node that was asked."""
    local: dict[str, int]
    """Those of them on the node itself."""
    draining: int
    """Backends that keep what they have, by the EndpointSlices."""
    flags: tuple[str, ...]
    affinity_s: int
    missing: tuple[str, ...]
    """Nodes that lack it."""


@dataclass(frozen=True, slots=True)
class MergedBackend:
    """One backend; counters are sums over the nodes."""

    address: str
    port: int
    node: str
    """Name of its node; empty if none is known."""
    services: tuple[str, ...]
    """namespace/name of those that choose it."""
    state: str
    """active, draining, ejected or unused; with the nodes that say so if they differ."""
    opened: int
    answered: int
    refused: int
    reset: int


def names_of(
    services: Iterable[Service], slices: Iterable[EndpointSlice], nodes: Iterable[NodeFacts]
) -> Names:
    """Return the names that the objects give."""
    facts = tuple(nodes)
    parts: dict[Key, list[EndpointSlice]] = defaultdict(list)
    for part in slices:
        parts[part.service].append(part)
    found: dict[str, Frontend] = {}
    for service in services:
        state = compile_service(service, parts.get(service.key, ()))
        found |= {str(where): frontend for where, frontend in state.items()}
    addresses = {str(address): node.name for node in facts for address in node.internal_ips}
    ejected = {(str(where.address), where.port) for node in facts for where in node.ejected}
    return Names(found, addresses, frozenset(ejected))


def merge_frontends(
    by_node: Mapping[str, Iterable[FrontendRow]], names: Names
) -> list[MergedFrontend]:
    """Return one row per frontend, in the order of the first node that has it."""
    rows: dict[str, dict[str, FrontendRow]] = defaultdict(dict)
    for node, found in by_node.items():
        for row in found:
            rows[f"{name_of(row.address, row.port)}/{row.protocol}"][node] = row
    merged = []
    for name, said in rows.items():
        first = next(iter(said.values()))
        known = names.frontends.get(name)
        merged.append(
            MergedFrontend(
                service=known.service if known else "",
                kind=known.kind.value if known else "",
                address=first.address,
                port=first.port,
                protocol=first.protocol,
                ready={node: row.ready for node, row in said.items()},
                local={node: row.local for node, row in said.items()},
                draining=sum(b.draining for b in known.backends) if known else 0,
                flags=first.flags,
                affinity_s=first.affinity_s,
                missing=tuple(node for node in by_node if node not in said),
            )
        )
    return merged


def merge_backends(
    by_node: Mapping[str, Iterable[BackendRow]], names: Names
) -> list[MergedBackend]:
    """Return one row per backend."""
    rows: dict[tuple[str, int], dict[str, BackendRow]] = defaultdict(dict)
    for node, found in by_node.items():
        for row in found:
            rows[row.address, row.port][node] = row
    return [
        MergedBackend(
            address=address,
            port=port,
            node=_node_of(said, names),
            services=_services(said.values(), names),
            state=_state(said, ejected=(address, port) in names.ejected),
            opened=sum(row.opened for row in said.values()),
            answered=sum(row.answered for row in said.values()),
            refused=sum(row.refused for row in said.values()),
            reset=sum(row.reset for row in said.values()),
        )
        for (address, port), said in rows.items()
    ]


def differing(by_node: Mapping[str, Iterable[TableRow]]) -> list[str]:
    """Return a line for each frontend whose table is not the same on all nodes that were asked."""
    tables: dict[str, dict[str, str]] = defaultdict(dict)
    for node, found in by_node.items():
        for row in found:
            tables[row.frontend][node] = row.digest
    lines = []
    for frontend, digests in tables.items():
        missing = [node for node in by_node if node not in digests]
        if len(set(digests.values())) > 1:
            said = ", ".join(f"{node} {digest}" for node, digest in digests.items())
            lines.append(f"{frontend}: the nodes' tables differ: {said}")
        if missing:
            lines.append(f"{frontend}: no table on {', '.join(missing)}")
    return lines


def _node_of(said: Mapping[str, BackendRow], names: Names) -> str:
    for node, row in said.items():
        if row.node == HERE:
            return node
    address = next((row.node for row in said.values() if row.node), "")
    return names.nodes.get(address, address)


def _services(rows: Iterable[BackendRow], names: Names) -> tuple[str, ...]:
    frontends = {name for row in rows for name in row.frontends}
    known = {names.frontends[name].service for name in frontends if name in names.frontends}
    return tuple(sorted(known))


def _state(said: Mapping[str, BackendRow], *, ejected: bool) -> str:
    nodes: dict[str, list[str]] = defaultdict(list)
    for node, row in said.items():
        # In the maps one that is ejected drains, or goes on if no other is left.
        state = _EJECTED.get(row.state, row.state) if ejected else row.state
        nodes[state].append(node)
    if len(nodes) == 1:
        return next(iter(nodes))
    return "; ".join(f"{state} on {', '.join(where)}" for state, where in sorted(nodes.items()))
