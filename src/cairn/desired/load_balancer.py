"""Where connections to a Service's addresses may go.

    compile.services  ->  LbState  ->  apply.load_balancer

Invariants  `backends` of a frontend are ordered and without duplicates, the same on every node.
Units       ports in host order
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cairn.net import L4Address


@dataclass(frozen=True, slots=True)
class Backend:
    """One place that serves connections."""

    address: L4Address
    """Where it listens."""
    node: str
    """The node it lives on; empty if outside the cluster."""
    draining: bool = False
    """Takes no new connections but keeps those it has."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """What stands behind one address and port of a Service."""

    service: str
    """The Service it belongs to, as namespace/name."""
    external: bool
    """Whether clients outside the cluster reach it: a VIP."""
    backends: tuple[Backend, ...]
    """Those that take new connections, and those that drain."""
    local: bool = False
    """Whether a node serves it from its own backends only (traffic policy Local)."""
    affinity: bool = False
    """Whether a client keeps its backend (session affinity ClientIP)."""

    @property
    def active(self) -> tuple[Backend, ...]:
        """The backends that take new connections."""
        return tuple(backend for backend in self.backends if not backend.draining)


LbState = Mapping[L4Address, Frontend]
"""Frontends by the address, protocol and port that clients connect to."""
