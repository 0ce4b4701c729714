"""The relay's flows, as Hubble's API serves them.

Relay  ->  hubble.observed.Observed
"""

import asyncio
import socket
import time
from collections.abc import Sequence

from cairn.flow.store import FlowStore
from cairn.hubble.observed import NodeView, PeerView
from cairn.hubble.tls import SERVER_NAME
from cairn.relay.relay import Relay


class ObservedRelay:
    """All nodes' flows."""

    is_relay = True
    events = None

    def __init__(self, relay: Relay, changed: asyncio.Event) -> None:
        self.name = socket.gethostname()
        self.changed = changed
        self._relay = relay
        self._server_name = SERVER_NAME if relay.agents is not None else ""
        self._began_ns = time.monotonic_ns()

    @property
    def store(self) -> FlowStore:
        """The last flows."""
        return self._relay.store

    @property
    def uptime_ns(self) -> int:
        """How long it has been serving."""
        return time.monotonic_ns() - self._began_ns

    @property
    def ready(self) -> bool:
        """Whether any node's flows come."""
        return any(state.connected for state in self._relay.states)

    def now_ns(self) -> int:
        """Return the time since 1970."""
        return time.time_ns()

    def nodes(self) -> Sequence[NodeView]:
        """Return how it stands with each node."""
        now_s = time.monotonic()
        return [
            NodeView(
                state.name,
                state.target.partition(":")[2],
                connected=state.connected,
                error=state.error,
                seen=state.flows,
                tls=self._relay.agents is not None,
                server_name=self._server_name,
                uptime_ns=int((now_s - state.since_s) * 1e9) if state.connected else 0,
            )
            for state in self._relay.states
        ]

    def peers(self) -> Sequence[PeerView]:
        """Return every node."""
        return [
            PeerView(state.name, state.target.partition(":")[2], self._server_name)
            for state in self._relay.states
        ]
