"""Keeps the guard of the node as things are: who is logged in, its routers, the API server.

    host policies, the cluster's objects, the kernel's connections  ->  the guard in the engine

Invariants  There is a guard while a policy selects the node, unless one of them says otherwise, and
            none else: a node without host policies stays unpoliced.
            Who was logged in when a policy came stays let in while it stands.
Not here    What the guard allows (compile.host_guard).
"""

import asyncio
from collections.abc import Callable, Iterable

from cairn.agent.cluster import Cluster
from cairn.compile.host_guard import GUARD, SSH_PORT, HostNeeds, guard_policy, wants_guard
from cairn.compile.policy.engine import Engine
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import Policy
from cairn.linux.tcp_table import connected_to
from cairn.net import Address, L4Address, Network, Protocol

LOOK_S = 2.0
"""How often to look who is logged in, while a policy is about the node."""
APISERVER = Key("default", "kubernetes")


class HostGuard:
    """The guard of one node."""

    def __init__(
        self,
        node: str,
        engine: Engine,
        cluster: Cluster,
        *,
        segments: tuple[Network, ...],
        policies: Callable[[], Iterable[Policy]],
        on_change: Callable[[], None],
    ) -> None:
        """`segments`: its own subnets; `policies`: those in force that are about it."""
        self._node = node
        self._engine = engine
        self._cluster = cluster
        self._segments = segments
        self._policies = policies
        self._on_change = on_change
        self._needs: HostNeeds | None = None

    def look(self) -> None:
        """Have the guard that is needed now, before policies are compiled."""
        if not wants_guard(self._policies()):
            if self._needs is not None:
                self._needs = None
                self._engine.drop_policy(GUARD)
            return
        before = self._needs.sessions if self._needs else ()
        needs = self._found(frozenset(before))
        if needs != self._needs:
            self._needs = needs
            self._engine.put_policy(guard_policy(needs))

    async def run(self) -> None:
        """Look again from time to time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            before = self._needs
            self.look()
            if self._needs != before:
                self._on_change()

    def _found(self, sessions: frozenset[Address]) -> HostNeeds:
        others = (facts for name, facts in self._cluster.nodes.items() if name != self._node)
        instances = self._cluster.bgp.instances if self._cluster.bgp else ()
        return HostNeeds(
            api_servers=tuple(sorted(self._api_servers(), key=L4Address.sort_key)),
            bgp_peers=tuple((p.address, p.port) for i in instances for p in i.peers),
            segments=self._segments,
            nodes=tuple(address for facts in others for address in facts.internal_ips),
            sessions=tuple(sorted({*sessions, *connected_to(SSH_PORT)}, key=str)),
        )

    def _api_servers(self) -> set[L4Address]:
        return {
            L4Address(address, Protocol.TCP, port.port)
            for piece in self._cluster.slices.get(APISERVER, {}).values()
            for address in piece.addresses
            for port in piece.ports
        }
