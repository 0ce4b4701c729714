"""What policies speak of, followed and handed to the engine: a piece at a time, latest state first.

    informers  ->  pending changes  ->  Engine

Invariants  Handing over takes at most the time that it is given, but for one object: CNI calls and
            health checks go on meanwhile, at the start of a large cluster too.
            An object that cannot be read leaves its last good form in force, over restarts too,
            and is told of.
Cost        a pod's status that changes nothing costs its decoding and a comparison
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

from cairn.agent.cluster import Cluster
from cairn.agent.policy_pods import PodSeen, PolicyPods
from cairn.agent.policy_store import PolicyStore
from cairn.agent.policy_tell import PolicyTell
from cairn.compile.policy.engine import Engine
from cairn.drive.informer import Informer, RawObject
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key, metadata_of
from cairn.kube.node import Node
from cairn.kube.policy.mark import join_marks, mark_of
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import InvalidPolicy, Policy
from cairn.kube.policy.workload import Workload
from cairn.kube.resource import (
    CIDR_GROUPS,
    NAMESPACES,
    NODES,
    PODS,
    POLICY_KINDS,
    SERVICES,
    Resource,
)
from cairn.net import Address, Network

APISERVER = Key("default", "kubernetes")
"""The Service whose endpoints are the API servers."""
INVALID = "PolicyInvalid"

log = logging.getLogger("policy")


class ObjectKey(NamedTuple):
    """An object of any kind."""

    kind: str
    key: Key


class PolicyCluster:
    """The objects that decide who may reach whom."""

    def __init__(
        self,
        client: Client,
        own: tuple[str, tuple[Address, ...]],
        *,
        engine: Engine,
        cluster: Cluster,
        pods: PolicyPods,
        store: PolicyStore,
        tell: PolicyTell,
    ) -> None:
        """Follow for the node that `own` names, with the addresses that it has besides."""
        self.policies: dict[ObjectKey, tuple[Policy, ...]] = {}
        """In force, by the object that they come from."""
        self.invalid: dict[ObjectKey, str] = {}
        """Objects that are not understood, with the reason."""
        self._marks: dict[ObjectKey, int] = {}
        self.changed = asyncio.Event()
        """Set when there is something to hand over."""
        self.moved_networks: set[Network] = set()
        """Networks of pods that came or went since somebody emptied this."""
        self.on_policies: Callable[[tuple[Policy, ...], tuple[Policy, ...]], None] = lambda *_: None
        """Called with what an object's policies were, and are."""
        self._pod_networks: dict[str, tuple[Network, ...]] = {}
        self._own = own
        self._engine = engine
        self._cluster = cluster
        self._pods = pods
        self._store = store
        self._tell = tell
        self._pending: dict[ObjectKey, Any] = {}
        self._handlers: dict[str, Callable[[Key, Any], None]] = {
            PODS.kind: pods.put,
            NAMESPACES.kind: self._namespace,
            NODES.kind: self._node,
            SERVICES.kind: self._service,
            CIDR_GROUPS.kind: self._group,
        }
        self._informers = tuple(self._followed(client))
        cluster.on_service = lambda key: self.note(SERVICES.kind, key, None)
        cluster.on_group = lambda key: self.note(CIDR_GROUPS.kind, key, None)

    def runners(self) -> list[Coroutine[Any, Any, None]]:
        """Return what must run for the engine to follow the cluster."""
        return [informer.run() for informer in self._informers]

    async def synced(self) -> None:
        """Hand over what there is, until all of it is known."""
        while self.drain(0.01) or not all(i.synced.is_set() for i in self._informers):
            await asyncio.sleep(0 if self._pending else 0.01)
        self._store.keep((kind, key) for kind, key in {**self.policies, **self.invalid})

    def in_force(self) -> Iterator[Policy]:
        """Yield every policy that is understood, or was."""
        for policies in self.policies.values():
            yield from policies

    def marks(self) -> dict[str, int]:
        """Return the mark of each namespace's policies, as they were taken up."""
        return join_marks((what.key.namespace, mark) for what, mark in self._marks.items())

    def pod_networks(self) -> set[Network]:
        """Return the networks that nodes give their pods' addresses from."""
        return {network for networks in self._pod_networks.values() for network in networks}

    def drain(self, budget_s: float) -> bool:
        """Hand over what changed, for so long; return whether there is more."""
        until = time.monotonic() + budget_s
        while self._pending:
            what = next(iter(self._pending))
            self._hand_over(what, self._pending.pop(what))
            if time.monotonic() >= until:
                break
        return bool(self._pending)

    def _followed(self, client: Client) -> Iterator[Informer]:
        def follow(resource: Resource, *, optional: bool = False) -> Informer:
            def on_change(key: Key, _old: RawObject | None, new: RawObject | None) -> None:
                self.note(resource.kind, key, new)

            return Informer(client, resource, on_change=on_change, keep=False, optional=optional)

        def on_pod(key: Key, _old: RawObject | None, new: RawObject | None) -> None:
            pod = None
            if new is not None:
                pod = PodSeen(metadata_of(new).uid, Workload.from_object(new))
            self._pods.seen(key, pod)
            self.note(PODS.kind, key, pod)

        yield Informer(client, PODS, on_change=on_pod, keep=False)
        yield follow(NAMESPACES)
        yield follow(NODES)
        for resource in POLICY_KINDS:
            yield follow(resource, optional=True)

    def note(self, kind: str, key: Key, obj: Any) -> None:
        """Take note of an object as it is now, None if it is gone; `drain` hands it over."""
        self._pending[ObjectKey(kind, key)] = obj
        self.changed.set()

    def _hand_over(self, what: ObjectKey, obj: Any) -> None:
        handler = self._handlers.get(what.kind)
        try:
            if handler is not None:
                handler(what.key, obj)
            else:
                self._policy(what, obj)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.error("%s %s cannot be taken up, keeping what was: %r", *what, error)

    def _namespace(self, key: Key, obj: RawObject | None) -> None:
        if obj is None:
            self._engine.drop_namespace(key.name)
        else:
            self._engine.put_namespace(key.name, metadata_of(obj).labels)

    def _node(self, key: Key, obj: RawObject | None) -> None:
        if obj is None:
            self._engine.drop_node(key.name)
            self._take_pod_networks(key.name, ())
            return
        node = Node.from_object(obj)
        name, addresses = self._own
        more = addresses if name == node.name else ()
        every = tuple(dict.fromkeys((*node.internal_ips, *more)))
        self._engine.put_node(node.name, node.metadata.labels, every)
        self._take_pod_networks(key.name, node.pod_networks)

    def _take_pod_networks(self, name: str, networks: tuple[Network, ...]) -> None:
        before = self._pod_networks.pop(name, ())
        if networks:
            self._pod_networks[name] = networks
        if before != networks:
            self.moved_networks |= {*before, *networks}

    def _service(self, key: Key, _: None) -> None:
        slices = tuple(self._cluster.slices.get(key, {}).values())
        service = self._cluster.services.get(key)
        if service is None:
            self._engine.drop_service(key)
        else:
            self._engine.put_service(service, slices)
        if key == APISERVER:
            self._engine.put_apiserver(address for piece in slices for address in piece.addresses)

    def _group(self, key: Key, _: None) -> None:
        group = self._cluster.groups.get(key)
        if group is None:
            self._engine.drop_group(key.name)
        else:
            self._engine.put_group(group)

    def _policy(self, what: ObjectKey, obj: RawObject | None) -> None:
        if obj is None:
            self._marks.pop(what, None)
            self._take(what, ())
            self.invalid.pop(what, None)
            self._store.put(*what, None)
            self._tell.gone(_about(what))
            return
        about = _about(what, obj)
        self._marks[what] = mark_of({"kind": what.kind, **obj})
        try:
            policies = read_policies(obj)
        except InvalidPolicy as error:
            self.invalid[what] = str(error)
            text = self._keep_last_good(what, error)
            self._tell.wrong(about, INVALID, text, event=self._speaks)
            return
        self.invalid.pop(what, None)
        self._tell.well(about, INVALID, "is valid again, and in force", event=self._speaks)
        self._take(what, policies)
        self._store.put(*what, obj)

    @property
    def _speaks(self) -> bool:
        """Whether this node tells of what all nodes see."""
        name, _ = self._own
        return name == min(self._cluster.nodes, default=name)

    def _keep_last_good(self, what: ObjectKey, error: InvalidPolicy) -> str:
        """Have the last good form of an invalid object in force; return what to say."""
        stored = None
        if what not in self.policies and (stored := self._store.get(*what)) is not None:
            try:
                self._take(what, read_policies(stored))
            except InvalidPolicy:
                stored = None
        kept = what in self.policies
        state = "what was in force before stays" if kept else "nothing of it is in force"
        return f"{error}: the policy is not understood, and {state}; correct it"

    def _take(self, what: ObjectKey, policies: tuple[Policy, ...]) -> None:
        """Have these policies of an object in force, and no others."""
        now = {policy.ref for policy in policies}
        before = self.policies.pop(what, ())
        for policy in before:
            if policy.ref not in now:
                self._engine.drop_policy(policy.ref)
        for policy in policies:
            self._engine.put_policy(policy)
        if policies:
            self.policies[what] = policies
        self.on_policies(before, policies)


def _about(what: ObjectKey, obj: RawObject | None = None) -> dict[str, Any]:
    """Return as much of an object as an Event needs."""
    resource = next(r for r in POLICY_KINDS if r.kind == what.kind)
    uid = metadata_of(obj).uid if obj is not None else ""
    metadata = {"namespace": what.key.namespace, "name": what.key.name, "uid": uid}
    return {"kind": what.kind, "apiVersion": resource.api_version, "metadata": metadata}
