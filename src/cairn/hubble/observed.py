"""What the Observer is told to serve: a node's flows, or the relay's.

agent, relay  ->  Observed
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cairn.flow.store import FlowStore
from cairn.hubble.agent_event import AgentEvents


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, as the server knows it."""

    name: str
    """Of the node."""
    address: str
    """Host and port of its Observer."""
    connected: bool
    """Whether its flows come."""
    error: str = ""
    """Why they do not."""
    seen: int = 0
    """How many flows it ever had; of a relay's view: how many came."""
    stored: int = 0
    """How many it holds; 0: not known."""
    capacity: int = 0
    """How many it can hold; 0: not known."""
    uptime_ns: int = 0
    """How long it has been serving; a relay: for how long it hears it."""
    version: str = ""
    """Empty: not known."""
    tls: bool = False
    """Whether its Observer speaks TLS."""
    server_name: str = ""
    """That its certificate has."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """One node's Observer."""

    name: str
    """Of the node."""
    address: str
    """Host and port."""
    server_name: str = ""
    """That its certificate has; empty: no TLS."""


class Observed(Protocol):
    """A source of flows."""

    @property
    def name(self) -> str:
        """Name of the node, or of the relay's pod."""
        ...

    @property
    def store(self) -> FlowStore:
        """The last flows."""
        ...

    @property
    def changed(self) -> asyncio.Event:
        """Set when there are new flows or a node's state changed; who waits clears it first."""
        ...

    @property
    def is_relay(self) -> bool:
        """Whether its flows are of many nodes."""
        ...

    @property
    def ready(self) -> bool:
        """Whether flows come."""
        ...

    @property
    def events(self) -> AgentEvents | None:
        """What the agent did; a relay has none."""
        ...

    def now_ns(self) -> int:
        """Return the time since 1970."""
        ...

    @property
    def uptime_ns(self) -> int:
        """How long it has been serving."""
        ...

    def nodes(self) -> Sequence[NodeView]:
        """Return all nodes, by name; a node itself returns what it knows of itself."""
        ...

    def peers(self) -> Sequence[PeerView]:
        """Return every node of the cluster that has an Observer."""
        ...
