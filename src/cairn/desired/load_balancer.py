"""Where connections to a Service's addresses may go.

    compile.services, compile.host_ports  ->  LbState  ->  apply.load_balancer

Invariants  `backends` of a frontend are ordered and without duplicates, the same on every node.
Units       ports in host order; times in seconds
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from cairn.net import L4Address, Network, parse_address

ANY_NODE = {4: parse_address("0.0.0.0"), 6: parse_address("::")}  # noqa: S104
"""Stands for every node's address of a family: where node ports listen."""


class Kind(Enum):
    """How clients come to a frontend."""

    CLUSTER_IP = "cluster-ip"
    """From inside, by sockets."""
    LOAD_BALANCER = "load-balancer"
    """At an address that the nodes own."""
    EXTERNAL_IP = "external-ip"
    """At an address that somebody else brings to the nodes."""
    NODE_PORT = "node-port"
    """At any node's address."""
    HOST_PORT = "host-port"
    """At the address of the pod's own node."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One place that serves connections."""

    address: L4Address
    """Where it listens."""
    node: str
    """The node it lives on; empty if outside the cluster."""
    draining: bool = False
    """Takes no new connections but keeps those it has."""
    ejected: bool = False
    """Its node found that it does not serve; it drains then, unless no other is left."""
    for_zones: frozenset[str] = frozenset()
    """Zones whose sockets should prefer it; empty without a hint."""
    for_nodes: frozenset[str] = frozenset()
    """Nodes whose sockets should prefer it; empty without a hint."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """What stands behind one address and port of a Service."""

    service: str
    """The Service it belongs to, as namespace/name."""
    kind: Kind
    """How clients come to it."""
    backends: tuple[Backend, ...]
    """Those that take new connections, and those that drain."""
    local: bool = False
    """Whether packets reach only backends of the node that takes them (traffic policy Local)."""
    socket_local: bool = False
    """Whether sockets reach only backends of their own node."""
    affinity_s: int = 0
    """How long an idle client keeps its backend; 0: each connection goes anywhere."""
    source_ranges: tuple[Network, ...] = ()
    """Whom it serves; empty for everyone."""

    @property
    def external(self) -> bool:
        """Whether packets reach it, and not only sockets of the nodes."""
        return self.kind is not Kind.CLUSTER_IP

    @property
    def active(self) -> tuple[Backend, ...]:
        """The backends that take new connections."""
        return tuple(backend for backend in self.backends if not backend.draining)


LbState = Mapping[L4Address, Frontend]
"""Frontends by the address, protocol and port that clients connect to."""
