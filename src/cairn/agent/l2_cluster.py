"""What the cluster says about who may answer on a segment: policies, nodes, requests to probe.

    informers  ->  policies, nodes, request;  on_change()

Invariants  An object that cannot be read leaves the last good one and is named in the log.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from cairn.drive.informer import Informer, RawObject
from cairn.drive.kube_client import Client
from cairn.kube.l2_policy import L2Policy, l2_policy_of
from cairn.kube.metadata import Key
from cairn.kube.node import Node, NodeFacts
from cairn.kube.probe_request import ProbeRequest, probe_request_of
from cairn.kube.resource import CILIUM_NODES, L2_POLICIES, NODES

log = logging.getLogger("l2")


class L2Cluster:
    """Follows three kinds for one node."""

    def __init__(
        self,
        client: Client,
        node: str,
        *,
        on_change: Callable[[], None],
        on_ready: Callable[[str], None],
        on_request: Callable[[ProbeRequest], None],
    ) -> None:
        """Follow them; `on_ready` hears of a node that has become Ready again."""
        self.policies: dict[str, L2Policy] = {}
        """By name."""
        self.nodes: dict[str, Node] = {}
        """v1.Node, by name."""
        self.facts: dict[str, NodeFacts] = {}
        """What the nodes' agents tell, by name."""
        self._node = node
        self._on_change = on_change
        self._on_ready = on_ready
        self._on_request = on_request
        self._request: ProbeRequest | None = None
        self._informers = (
            Informer(client, L2_POLICIES, on_change=self._policy),
            Informer(client, NODES, on_change=self._node_changed),
            Informer(client, CILIUM_NODES, on_change=self._facts_changed),
        )

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run for the picture to follow the cluster."""
        return [informer.run() for informer in self._informers]

    async def synced(self) -> None:
        """Wait until the picture is whole."""
        for informer in self._informers:
            await informer.synced.wait()

    def _policy(self, key: Key, _old: RawObject | None, new: RawObject | None) -> None:
        if new is None:
            self.policies.pop(key.name, None)
        else:
            policy = l2_policy_of(new)
            if policy.metadata.generation == self._generation(key.name):
                return  # its status alone
            self.policies[key.name] = policy
        self._on_change()

    def _generation(self, name: str) -> int:
        before = self.policies.get(name)
        return before.metadata.generation if before else -1

    def _node_changed(self, key: Key, _old: RawObject | None, new: RawObject | None) -> None:
        before = self.nodes.pop(key.name, None)
        if new is None:
            self._on_change()
            return
        node = self.nodes[key.name] = Node.from_object(new)
        if before is None or _judged(before) != _judged(node):
            if before is not None and node.ready and not before.ready:
                self._on_ready(key.name)
            self._on_change()

    def _facts_changed(self, key: Key, _old: RawObject | None, new: RawObject | None) -> None:
        before = self.facts.pop(key.name, None)
        if new is not None:
            self.facts[key.name] = NodeFacts.from_object(new)
            if key.name == self._node:
                self._take_request(new)
        if before != self.facts.get(key.name):
            self._on_change()

    def _take_request(self, obj: RawObject) -> None:
        request = probe_request_of(obj)
        if request is not None and request != self._request:
            self._request = request
            self._on_request(request)


def _judged(node: Node) -> tuple[object, ...]:
    return node.ready, node.metadata.labels
