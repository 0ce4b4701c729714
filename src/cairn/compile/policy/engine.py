"""The policy engine: objects in, verdicts and identities out, with work for what changed only.

    policies, pods, namespaces, nodes, groups, Services  ->  identities, SubjectPolicy

Who has the node's own network has the node's identity. A subject is compiled when somebody asks.

Invariants  The answers depend on what there is, not on the order in which it came.
            Pure: no I/O, no clock.
            Traffic from a node to its own pods is let through in every language, above the Admin
            tier too: probes and the node's own services reach their pods. So says the text of
            NetworkPolicy, and no API of the Admin tier takes it back.
Cost        bench/policy_scale.py
Not here    Reading policies (kube.policy), the guard of nodes (compile.host_guard: a policy of its
            own), the maps of the data plane (apply)
"""

from collections.abc import Iterable, Mapping

from cairn.abi.structs import Identity
from cairn.compile.policy.book import PolicyBook
from cairn.compile.policy.demand import Demand
from cairn.compile.policy.group import WHOLE_WORLD, reserved_labels
from cairn.compile.policy.identity_map import IdentityMap
from cairn.compile.policy.journal import Changes, Journal
from cairn.compile.policy.networks import InsideNetworks, NamedNetworks
from cairn.compile.policy.nodes import Nodes, NodeView
from cairn.compile.policy.peer_sets import PeerSets
from cairn.compile.policy.pods import Pods
from cairn.compile.policy.rates import Rate, rates_of
from cairn.compile.policy.registry import Registry
from cairn.compile.policy.ruleset import Ruleset, compile_ruleset
from cairn.compile.policy.subject import Subject
from cairn.compile.policy.subjects import Subjects
from cairn.desired.policy import SubjectPolicy
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import (
    Direction,
    DnsRule,
    FqdnPeer,
    GroupPeer,
    Policy,
    PolicyRef,
    ServicePeer,
)
from cairn.kube.policy.workload import Workload
from cairn.kube.service import Service
from cairn.net import Address, Network

__all__ = ["Changes", "Engine", "Rate"]


class Engine:
    """All policies over all pods, as one node sees them."""

    def __init__(self, node: str | None = None) -> None:
        self._book = PolicyBook()
        self._journal = Journal(set(WHOLE_WORLD.values()))
        self._registry = Registry()
        self._sets = PeerSets(self._registry)
        self._registry.audience = self._sets
        named, inside = NamedNetworks(self._registry), InsideNetworks()
        self._nodes = Nodes(node, self._registry, self._journal, named, inside)
        self._subjects = Subjects(self._book, lambda: self._nodes.own_labels)
        self._pods = Pods(node, self._registry, self._journal, inside, self._subjects.kind_changed)
        self._demand = Demand(
            self._registry, self._journal, named, inside, pods=self._pods, nodes=self._nodes
        )
        self._identities = IdentityMap(named, self._nodes, self._pods)

    def put_policy(self, policy: Policy) -> None:
        """Take up a policy, or its new form."""
        before = self._book.get(policy.ref)
        if before == policy:
            return
        if not policy.disabled:
            # What both forms name stays named throughout.
            self._demand.add(policy)
        if before is not None:
            self._subjects.policy_removed(before)
            self._book.drop(before)
            self._demand.remove(before)
        if not policy.disabled:
            self._book.put(policy)
            self._subjects.policy_added(policy)

    def drop_policy(self, ref: PolicyRef) -> None:
        """Forget a policy."""
        policy = self._book.get(ref)
        if policy is not None:
            self._subjects.policy_removed(policy)
            self._book.drop(policy)
            self._demand.remove(policy)

    def put_pod(self, pod: Workload) -> None:
        """Take up a pod, or what became of it."""
        self._pods.put(pod)

    def drop_pod(self, key: Key) -> None:
        """Forget a pod."""
        self._pods.drop(key)

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Take up a namespace's labels."""
        self._pods.put_namespace(name, labels)

    def drop_namespace(self, name: str) -> None:
        """Forget a namespace's labels."""
        self._pods.put_namespace(name, {})

    def put_node(self, name: str, labels: Mapping[str, str], addresses: Iterable[Address]) -> None:
        """Take up a node: the labels of its Node object, every address that is its own."""
        self._nodes.put(name, NodeView(dict(labels), tuple(dict.fromkeys(addresses))))
        self._subjects.own_labels_changed()

    def drop_node(self, name: str) -> None:
        """Forget a node."""
        self._nodes.put(name, None)
        self._subjects.own_labels_changed()

    def put_apiserver(self, addresses: Iterable[Address]) -> None:
        """Take up where the API server is."""
        self._nodes.put_apiserver(addresses)

    def put_group(self, group: CidrGroup) -> None:
        """Take up a group of networks."""
        self._demand.references.put_group(group)
        self._subjects.policies_changed(self._demand.renew(GroupPeer))

    def drop_group(self, name: str) -> None:
        """Forget a group of networks."""
        self._demand.references.drop_group(name)
        self._subjects.policies_changed(self._demand.renew(GroupPeer))

    def put_service(self, service: Service, slices: Iterable[EndpointSlice] = ()) -> None:
        """Take up a Service with all its endpoints."""
        self._demand.references.put_service(service, slices)
        self._subjects.policies_changed(self._demand.renew(ServicePeer))

    def drop_service(self, key: Key) -> None:
        """Forget a Service."""
        self._demand.references.drop_service(key)
        self._subjects.policies_changed(self._demand.renew(ServicePeer))

    def identity_of(self, key: Key) -> int:
        """Return the identity of a pod, by its first address; raises KeyError if there is none."""
        self._settle()
        hosted = self._pods.hosted(key)
        if hosted is not None:
            group = self._nodes.group_of(hosted.node)
            return group.number if group is not None else int(Identity.REMOTE_NODE)
        group = self._pods.group_of(key)
        if group is None:
            raise KeyError(key)
        return group.number

    def identity_at(self, address: Address) -> int:
        """Return the identity of an address."""
        self._settle()
        return self._identities.at(address)

    def pod_at(self, address: Address) -> Key | None:
        """Return the pod that has an address, if one has."""
        return self._pods.owner(address)

    def workload(self, key: Key) -> Workload | None:
        """Return a pod, as it was taken up."""
        return self._pods.workload(key)

    def labels_of(self, identity: int) -> Mapping[str, str]:
        """Return the labels that an identity stands for; none if nobody has it."""
        self._settle()
        group = self._registry.by_number(identity)
        if group is not None:
            return group.labels
        try:
            name = Identity(identity).name.lower().replace("_", "-")
        except ValueError:
            return {}
        return reserved_labels(frozenset({name}))

    def identities(self) -> Mapping[Network, int]:
        """Return a view of the identity of every network that has one."""
        self._settle()
        return self._identities

    def selectors(self) -> Mapping[FqdnPeer, int]:
        """Return the identity of every selector of names."""
        self._settle()
        return self._demand.names()

    def subjects(self) -> frozenset[int]:
        """Return the identities that have a policy here: of the node, and of its pods."""
        self._settle()
        return self._subjects.numbers()

    def policies_of(self, identity: int) -> frozenset[PolicyRef]:
        """Return the policies that select a subject."""
        return frozenset(self._subject(identity).policies)

    def policy_of(self, identity: int) -> SubjectPolicy:
        """Return what policies say about a subject; raises KeyError if it is none of this node."""
        return self._subject(identity).policy(identity, self._sets, self._rulesets)

    def dns_rules(self, identity: int) -> tuple[DnsRule, ...]:
        """Return the names that a subject may ask for, of whichever server."""
        egress = self.policy_of(identity).egress
        if egress is None:
            return ()
        tables = {id(table): table for table in (egress.rest, *egress.peers.values())}
        verdicts = [v for t in tables.values() for v in (t.rest, *(r.verdict for r in t.ranges))]
        redirects = [verdict.redirect for verdict in verdicts if verdict.redirect is not None]
        found = {rule for redirect in redirects for rule in redirect.dns or ()}
        return tuple(sorted(found, key=lambda rule: (rule.name, rule.pattern)))

    def rates(self, identity: int) -> tuple[Rate, ...]:
        """Return the limits on new traffic that a subject takes in."""
        subject = self._subject(identity)
        return rates_of(self._book.those(sorted(subject.policies)), subject.ports)

    def changes(self) -> Changes:
        """Return what is to be compiled and written again since this was last asked."""
        self._settle()
        changed, gone = self._subjects.take_changes()
        return self._journal.take(changed, gone)

    def _subject(self, identity: int) -> Subject:
        self._settle()
        subject = self._subjects.by_number(identity)
        if subject is None:
            raise KeyError(identity)
        return subject

    def _settle(self) -> None:
        self._nodes.settle()
        moved = self._registry.moved
        if not moved:
            return
        self._subjects.renumbered()
        for key, addresses in self._pods.holders(moved):
            self._journal.pods.add(key)
            self._journal.addresses.update(addresses)
        self._journal.addresses.update(self._nodes.holders(moved))
        networks = (group.network for group in moved)
        self._journal.networks.update(network for network in networks if network is not None)
        moved.clear()

    def _rulesets(self, subject: Subject, direction: Direction) -> tuple[Ruleset, ...]:
        """Return the rules as enforced, and with those in audit mode if there are any."""
        policies = self._book.those(subject.policies)
        enforced = [policy for policy in policies if not policy.audit]
        sides = [enforced] if len(enforced) == len(policies) else [enforced, policies]
        meaning = self._demand.references.meaning
        return tuple(compile_ruleset(side, direction, expand=meaning) for side in sides)
