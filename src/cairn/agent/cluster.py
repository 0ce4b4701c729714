"""The agent's picture of the cluster: the objects it follows, as views, with what has changed.

    informers  ->  views by key, dirty keys  ->  wake-up of whoever compiles

Invariants  A change marks the keys it touches and nothing else, so that one changed object costs
            work in proportion to what it concerns.
            An object that cannot be read marks its key with an error and keeps the last good view.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from cairn.diagnose.process_facts import WatchFact
from cairn.drive.informer import Informer, RawObject
from cairn.drive.kube_client import Client
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.pod_ports import PodPorts
from cairn.kube.pod_probe import PodProbes
from cairn.kube.pool import Pool, pool_of
from cairn.kube.resource import (
    BGP_NODE_CONFIGS,
    CIDR_GROUPS,
    CILIUM_NODES,
    ENDPOINT_SLICES,
    PODS,
    POOLS,
    SERVICES,
    Resource,
)
from cairn.kube.service import Service

log = logging.getLogger(__name__)

Handler = Callable[[Key, RawObject | None], None]
"""Takes an object as it is now; None if it is gone."""


class Cluster:
    """What one node's agent knows of the cluster."""

    def __init__(self, client: Client, node: str) -> None:
        self.services: dict[Key, Service] = {}
        """Every Service."""
        self.slices: dict[Key, dict[Key, EndpointSlice]] = defaultdict(dict)
        """Every EndpointSlice, by its Service and its own key."""
        self.nodes: dict[str, NodeFacts] = {}
        """Every node's facts, this one's included."""
        self.pods: dict[Key, PodPorts] = {}
        """This node's pods that ask for host ports."""
        self.probes: dict[Key, PodProbes] = {}
        """How this node's pods are probed."""
        self.pools: dict[Key, Pool] = {}
        """Every pool of load-balancer addresses."""
        self.groups: dict[Key, CidrGroup] = {}
        """Every group of networks."""
        self.bgp: NodeConfig | None = None
        """What this node is to do in BGP."""
        self.dirty_services: set[Key] = set()
        """Services to compile again."""
        self.dirty_pods: set[Key] = set()
        """Pods whose host ports changed."""
        self.dirty_probes: set[Key] = set()
        """Pods whose addresses or probes changed."""
        self.dirty_ejections = False
        """Whether any node found backends dead, or well again."""
        self.dirty_pools = False
        """Whether any pool changed."""
        self.dirty_groups = False
        """Whether any group of networks changed."""
        self.dirty_nodes = False
        """Whether any node's facts changed."""
        self.dirty_bgp = False
        """Whether the BGP configuration changed."""
        self.changed = asyncio.Event()
        """Set when anything above became dirty."""
        self.changed_at = time.monotonic()
        """When the first of what is dirty became so."""
        self.on_service: Callable[[Key], None] = lambda _: None
        """Called when a Service or its slices changed, besides `dirty_services`."""
        self.on_group: Callable[[Key], None] = lambda _: None
        """Called when a group of networks changed, besides `dirty_groups`."""
        self.authority_ends = client.authority_ends
        """When the API server's authority ends, since 1970."""
        self._service_of: dict[Key, Key] = {}
        self._informers = tuple(self._followed(client, node))

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run for the picture to follow the cluster."""
        return [informer.run() for informer in self._informers]

    async def synced(self) -> None:
        """Wait until the picture is whole."""
        for informer in self._informers:
            await informer.synced.wait()

    @property
    def reachable(self) -> bool:
        """Whether the API server answered lately."""
        return all(informer.reachable for informer in self._informers)

    def watches(self) -> tuple[WatchFact, ...]:
        """Return how each list is followed."""
        return tuple(informer_fact(informer) for informer in self._informers)

    def _followed(self, client: Client, node: str) -> Iterator[Informer]:
        """Yield an informer for each kind of object, or for this node's own of it."""

        def follow(
            resource: Resource, handler: Handler, *, keep: bool = False, field_selector: str = ""
        ) -> Informer:
            return Informer(
                client,
                resource,
                on_change=self._guard(handler),
                keep=keep,
                field_selector=field_selector,
            )

        yield follow(SERVICES, self._service)
        yield follow(ENDPOINT_SLICES, self._slice)
        yield follow(CILIUM_NODES, self._node)
        yield follow(POOLS, self._pool)
        yield follow(CIDR_GROUPS, self._group)
        yield follow(PODS, self._pod, field_selector=f"spec.nodeName={node}")
        own = f"metadata.name={node}"
        yield follow(BGP_NODE_CONFIGS, self._config, keep=True, field_selector=own)

    def _guard(self, handler: Handler) -> Callable[[Key, RawObject | None, RawObject | None], None]:
        def on_change(key: Key, _old: RawObject | None, new: RawObject | None) -> None:
            try:
                handler(key, new)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                kind = (new or {}).get("kind", "object")
                log.error("%s %s cannot be read, keeping the last good one: %s", kind, key, error)
            if not self.changed.is_set():
                self.changed_at = time.monotonic()
            self.changed.set()

        return on_change

    def _service(self, key: Key, obj: RawObject | None) -> None:
        if obj is None:
            self.services.pop(key, None)
        else:
            self.services[key] = Service.from_object(obj)
        self._mark(key)

    def _slice(self, key: Key, obj: RawObject | None) -> None:
        new = None if obj is None else EndpointSlice.from_object(obj)
        before = self._service_of.pop(key, None)
        if before is not None:
            self.slices[before].pop(key, None)
            if not self.slices[before]:
                del self.slices[before]
            self._mark(before)
        if new is not None:
            self._service_of[key] = new.service
            self.slices[new.service][key] = new
            self._mark(new.service)

    def _mark(self, service: Key) -> None:
        self.dirty_services.add(service)
        self.on_service(service)

    def _node(self, key: Key, obj: RawObject | None) -> None:
        if obj is None:
            self.nodes.pop(key.name, None)
            self.dirty_ejections = True
        else:
            facts = NodeFacts.from_object(obj)
            before = self.nodes.get(key.name)
            self.dirty_ejections |= facts.ejected != (before.ejected if before else frozenset())
            self.nodes[key.name] = facts
            if before and replace(before, ejected=facts.ejected) == facts:
                return
        self.dirty_nodes = True

    def _pool(self, key: Key, obj: RawObject | None) -> None:
        new = None if obj is None else pool_of(obj)
        before = self.pools.pop(key, None)
        if new is not None:
            self.pools[key] = new
        self.dirty_pools |= (new and new.blocks) != (before and before.blocks)

    def _group(self, key: Key, obj: RawObject | None) -> None:
        if obj is None:
            self.groups.pop(key, None)
        else:
            self.groups[key] = CidrGroup.from_object(obj)
        self.dirty_groups = True
        self.on_group(key)

    def _pod(self, key: Key, obj: RawObject | None) -> None:
        new = None if obj is None else PodPorts.from_object(obj)
        before = self.pods.pop(key, None)
        if new is not None and new.ports:
            self.pods[key] = new
        if self.pods.get(key) != before:
            self.dirty_pods.add(key)
        self._probe(key, obj)

    def _probe(self, key: Key, obj: RawObject | None) -> None:
        new = None if obj is None else PodProbes.from_object(obj)
        if new is not None:
            # A pod's status changes often, and what is probed never.
            before = self.probes.get(key)
            if before and replace(before, metadata=new.metadata) == new:
                return
            self.probes[key] = new
            self.dirty_probes.add(key)
        elif self.probes.pop(key, None):
            self.dirty_probes.add(key)

    def _config(self, _key: Key, obj: RawObject | None) -> None:
        new = None if obj is None else NodeConfig.from_object(obj)
        # Our own status patches come back as changes: only another spec is news.
        if new and self.bgp and new.instances == self.bgp.instances:
            return
        self.bgp = new
        self.dirty_bgp = True


def informer_fact(informer: Informer) -> WatchFact:
    """Return how one list is followed."""
    return WatchFact(informer.resource.plural, informer.silent_s, informer.error)
