"""The relay's flows, as Hubble's API serves them.

Relay  ->  hubble.observed.Observed
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError

from cairn.flow.store import FlowStore
from cairn.hubble.observed import NodeView, PeerView
from cairn.hubble.proto import message
from cairn.hubble.tls import SERVER_NAME
from cairn.relay.relay import Relay

STATUS = "/observer.Observer/ServerStatus"
ASK_S = 2.0


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

    async def asked_nodes(self) -> Sequence[NodeView]:
        """Return how it stands with each node, and what those that answer say of themselves."""
        answers = await self._relay.ask(STATUS, ASK_S)
        return [_told(view, answers.get(view.name, b"")) for view in self.nodes()]

    def peers(self) -> Sequence[PeerView]:
        """Return every node."""
        return [
            PeerView(state.name, state.target.partition(":")[2], self._server_name)
            for state in self._relay.states
        ]


def _told(view: NodeView, octets: bytes) -> NodeView:
    """Return a node's view with what its own ServerStatus says, if it answered."""
    try:
        status = message("observer.ServerStatusResponse").FromString(octets)
    except DecodeError:
        return view
    if not status.max_flows:
        return view
    return replace(
        view,
        seen=status.seen_flows,
        stored=status.num_flows,
        capacity=status.max_flows,
        uptime_ns=status.uptime_ns,
        version=status.version,
    )
