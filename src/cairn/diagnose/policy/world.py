"""A cluster as policies see it: its objects, read, and an Engine that is filled with them.

    objects of any kind  ->  World
    World, objects to apply or delete  ->  another World, as it would be

Workloads that have no pods yet (a file with a Deployment) stand for the pods that they would make.

Invariants  A policy that cannot be read is in `invalid`, with the reason, and not in the Engine.
            The last of several objects with one name counts, as with kubectl apply.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from cairn.compile.policy.engine import Engine
from cairn.desired.policy import SubjectPolicy
from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.pod import Pod, pods_of
from cairn.diagnose.policy.written import at_path, rule_text
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key, Object, key_of, metadata_of
from cairn.kube.node import Node
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import (
    GroupPeer,
    InvalidPolicy,
    Policy,
    PolicyRef,
    Rule,
    RuleRef,
    ServicePeer,
)
from cairn.kube.service import Service
from cairn.net import Address, Network

POLICY_KINDS = (
    "NetworkPolicy",
    "ClusterNetworkPolicy",
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
)
NAMESPACED_POLICIES = ("NetworkPolicy", "CiliumNetworkPolicy")
API_SERVER = Key("default", "kubernetes")
"""The Service behind which the API server is."""


class Name(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str


def name_of(obj: Object) -> Name:
    """Return which object it is."""
    return Name(str(obj.get("kind")), *key_of(obj))


@dataclass(frozen=True)
class World:
    """One cluster at one moment."""

    objects: Mapping[Name, Object]
    """Every object, as it was given."""
    engines: dict[str, Engine] = field(default_factory=dict, compare=False)
    """For each node that was asked about; "" is no node."""

    @staticmethod
    def of(objects: Iterable[Object]) -> "World":
        """Return the World of these objects."""
        return World({name_of(obj): obj for obj in objects})

    def changed(self, applied: Iterable[Object], deleted: Iterable[Object] = ()) -> "World":
        """Return the World with these objects applied, and those gone."""
        gone = {name_of(obj) for obj in deleted}
        objects = {name: obj for name, obj in self.objects.items() if name not in gone}
        return World(objects | {name_of(obj): obj for obj in applied})

    def of_kind(self, kind: str) -> Iterator[Object]:
        """Yield the objects of a kind."""
        return (obj for name, obj in self.objects.items() if name.kind == kind)

    @cached_property
    def _read(self) -> tuple[dict[PolicyRef, Policy], dict[PolicyRef, InvalidPolicy]]:
        policies: dict[PolicyRef, Policy] = {}
        invalid: dict[PolicyRef, InvalidPolicy] = {}
        for name, obj in self.objects.items():
            if name.kind in POLICY_KINDS:
                try:
                    policies |= {policy.ref: policy for policy in read_policies(obj)}
                except InvalidPolicy as error:
                    invalid[PolicyRef(*name)] = error
        return policies, invalid

    @property
    def policies(self) -> Mapping[PolicyRef, Policy]:
        """Policies that can be read."""
        return self._read[0]

    @property
    def invalid(self) -> Mapping[PolicyRef, InvalidPolicy]:
        """Policies that cannot, and why."""
        return self._read[1]

    @cached_property
    def pods(self) -> Mapping[Key, Pod]:
        """Pods, and those that workloads without pods would make."""
        return {pod.key: pod for pod in pods_of(self.objects.values())}

    @cached_property
    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Labels of each namespace that exists or that a pod is in."""
        found: dict[str, Mapping[str, str]] = {}
        for obj in self.of_kind("Namespace"):
            metadata = obj.get("metadata") or {}
            found[metadata.get("name") or ""] = metadata.get("labels") or {}
        for key in self.pods:
            found.setdefault(key.namespace, {"kubernetes.io/metadata.name": key.namespace})
        return found

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in map(Node.from_object, self.of_kind("Node"))}

    @cached_property
    def groups(self) -> tuple[CidrGroup, ...]:
        """Groups of networks."""
        return tuple(map(CidrGroup.from_object, self.of_kind("CiliumCIDRGroup")))

    @cached_property
    def services(self) -> Mapping[Key, Service]:
        """Services."""
        return {s.key: s for s in map(Service.from_object, self.of_kind("Service"))}

    @cached_property
    def slices(self) -> Mapping[Key, list[EndpointSlice]]:
        """EndpointSlices by Service."""
        found: dict[Key, list[EndpointSlice]] = {}
        for part in map(EndpointSlice.from_object, self.of_kind("EndpointSlice")):
            found.setdefault(part.service, []).append(part)
        return found

    @cached_property
    def api_server(self) -> tuple[Address, ...]:
        """Addresses of the API server."""
        return self.backends(API_SERVER)

    @property
    def engine(self) -> Engine:
        """The Engine for all pods."""
        return self.engine_of("")

    def engine_of(self, node: str) -> Engine:
        """Return the Engine as a node's agent has it; "" for no node."""
        if node not in self.engines:
            self.engines[node] = fill(Engine(node or None), self)
        return self.engines[node]

    def policy_of(self, end: End) -> SubjectPolicy:
        """Return what policies say about an end."""
        if end.kind is Kind.NODE:
            return self.engine_of(end.node).policy_of(HOST)
        return self.engine.policy_of(end.identity)

    def backends(self, service: Key) -> tuple[Address, ...]:
        """Return the addresses behind a Service."""
        parts = self.slices.get(service, ())
        return tuple(dict.fromkeys(chain.from_iterable(part.addresses for part in parts)))

    def networks_of(self, peer: GroupPeer) -> tuple[Network, ...]:
        """Return the networks of the groups that a peer means."""
        return tuple(
            network
            for group in self.groups
            if _is_meant(peer, group.metadata.name, group.metadata.labels)
            for network in group.networks
        )

    def backends_of(self, peer: ServicePeer) -> frozenset[Address]:
        """Return the addresses behind the Services that a peer means."""
        return frozenset(
            address
            for key, service in self.services.items()
            if peer.namespace in ("", key.namespace)
            and _is_meant(peer, key.name, service.metadata.labels)
            for address in self.backends(key)
        )

    def rule(self, ref: RuleRef) -> Rule | None:
        """Return a rule by its name."""
        policy = self.policies.get(ref.policy)
        rules = policy.rules if policy else ()
        return next((rule for rule in rules if rule.path == ref.path), None)

    def object_of(self, ref: PolicyRef) -> Object | None:
        """Return the object that a policy is of: one with several subjects makes several."""
        plain = ref.name.partition("[")[0]
        return self.objects.get(Name(ref.kind, ref.namespace, plain))

    def snippet(self, ref: RuleRef) -> str:
        """Return a rule as it is written, as YAML; "" if it is not written."""
        obj = self.object_of(ref.policy)
        return rule_text(obj, ref.path) if obj and ref.path else ""

    def annotation(self, ref: PolicyRef, name: str) -> str:
        """Return an annotation of a policy; "" if it has none of this name."""
        obj = self.object_of(ref)
        return metadata_of(obj).annotations.get(name, "") if obj else ""

    def written(self, ref: PolicyRef, path: str) -> object:
        """Return what stands at a path of a policy; None if nothing does."""
        obj = self.object_of(ref)
        return at_path(obj, path) if obj else None


HOST = 1


def _is_meant(peer: GroupPeer | ServicePeer, name: str, labels: Mapping[str, str]) -> bool:
    if peer.name:
        return peer.name == name
    return peer.selector is not None and peer.selector.matches(labels)


def fill(engine: Engine, world: World) -> Engine:
    """Put all that a World has into an Engine, and return it."""
    for name, labels in world.namespaces.items():
        engine.put_namespace(name, labels)
    for node in world.nodes.values():
        engine.put_node(node.name, node.metadata.labels, node.internal_ips)
    engine.put_apiserver(world.api_server)
    for group in world.groups:
        engine.put_group(group)
    for key, service in world.services.items():
        engine.put_service(service, world.slices.get(key, []))
    for pod in world.pods.values():
        engine.put_pod(pod.workload)
    for policy in world.policies.values():
        engine.put_policy(policy)
    return engine
