"""This node's flows, as Hubble's API serves them.

FlowFeed, AgentEvents, nodes of the cluster  ->  hubble.observed.Observed
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cairn import __version__
from cairn.agent.flow_feed import FlowFeed
from cairn.flow.store import FlowStore
from cairn.hubble.agent_event import AgentEvents
from cairn.hubble.observed import NodeView, PeerView
from cairn.kube.node import NodeFacts
from cairn.net import Address

PORT = 4244
BEGAN_NS = time.monotonic_ns()


@dataclass(frozen=True)
class ObservedNode:
    """One node."""

    name: str
    """Of the node."""
    feed: FlowFeed
    """Where its flows are."""
    events: AgentEvents
    """What its agent did."""
    known: Mapping[str, NodeFacts]
    """Every node of the cluster, as it changes."""
    server_name: str = ""
    """That the certificates of all nodes have; empty: no TLS."""

    is_relay = False
    ready = True

    @property
    def store(self) -> FlowStore:
        """The last flows."""
        return self.feed.store

    @property
    def changed(self) -> asyncio.Event:
        """Set when there are new ones."""
        return self.feed.changed

    @property
    def uptime_ns(self) -> int:
        """How long the agent has been running."""
        return time.monotonic_ns() - BEGAN_NS

    def now_ns(self) -> int:
        """Return the time since 1970."""
        return time.time_ns()

    def nodes(self) -> Sequence[NodeView]:
        """Return this node alone: others tell of themselves."""
        store = self.store
        own = next((peer.address for peer in self.peers() if peer.name == self.name), "")
        return (
            NodeView(
                self.name,
                own,
                connected=True,
                seen=store.seen,
                stored=len(store),
                capacity=store.capacity,
                uptime_ns=self.uptime_ns,
                version=f"cairn v{__version__}",
                tls=bool(self.server_name),
                server_name=self.server_name,
            ),
        )

    def peers(self) -> Sequence[PeerView]:
        """Return every node."""
        return [
            PeerView(name, observer_address(facts.internal_ips[0]), self.server_name)
            for name, facts in sorted(self.known.items())
            if facts.internal_ips
        ]


def observer_address(host: Address) -> str:
    """Return host and port of a node's Observer."""
    return f"[{host}]:{PORT}" if host.version == 6 else f"{host}:{PORT}"
