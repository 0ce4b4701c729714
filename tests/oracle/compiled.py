"""The product's own answer: raw objects through its readers and its policy engine.

World  ->  Compiled; Question  ->  Answer

Objects may be put and dropped in any order, as a watch of the API brings them.
"""

from ipaddress import ip_address

from world import Answer, Object, Question, World, labels_of, node_addresses

from cairn.abi.structs import Identity, PolicyAction
from cairn.compile.policy.engine import Engine
from cairn.desired.policy import Verdict
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.metadata import Key, key_of
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import FqdnPeer, PolicyRef, RuleRef
from cairn.kube.policy.workload import Workload
from cairn.kube.service import Service

ACTIONS = {
    PolicyAction.ALLOW: "allow",
    PolicyAction.PROXY: "proxy",
    PolicyAction.DENY: "deny",
    PolicyAction.DEFAULT_DENY: "default deny",
}
POLICY_KINDS = (
    "NetworkPolicy",
    "ClusterNetworkPolicy",
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
)


class Compiled:
    """An engine that was told of objects."""

    def __init__(self, here: str, learnt: dict[str, list[str]]) -> None:
        self.engine = Engine(here or None)
        self._learnt = learnt
        self._policies: dict[tuple[str, Key], set[PolicyRef]] = {}
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}

    def put(self, item: Object) -> None:
        """Take up an object, new or changed."""
        kind, key = item["kind"], key_of(item)
        if kind in POLICY_KINDS:
            self._put_policies((kind, key), item)
        elif kind == "Namespace":
            self.engine.put_namespace(key.name, labels_of(item))
        elif kind == "Pod":
            self.engine.put_pod(Workload.from_object(item))
        elif kind == "Node":
            self.engine.put_node(key.name, labels_of(item), node_addresses(item))
        elif kind == "CiliumCIDRGroup":
            self.engine.put_group(CidrGroup.from_object(item))
        elif kind == "Service":
            self._services[key] = item
            self._put_service(key)
        elif kind == "EndpointSlice":
            service = EndpointSlice.from_object(item).service
            self._slices.setdefault(service, {})[key.name] = item
            self._put_service(service)
        else:
            raise AssertionError(f"no way to put a {kind}")

    def drop(self, item: Object) -> None:
        """Forget an object."""
        kind, key = item["kind"], key_of(item)
        if kind in POLICY_KINDS:
            self._put_policies((kind, key), None)
        elif kind == "Namespace":
            self.engine.drop_namespace(key.name)
        elif kind == "Pod":
            self.engine.drop_pod(key)
        elif kind == "Node":
            self.engine.drop_node(key.name)
        elif kind == "CiliumCIDRGroup":
            self.engine.drop_group(key.name)
        elif kind == "Service":
            del self._services[key]
            self.engine.drop_service(key)
        elif kind == "EndpointSlice":
            service = EndpointSlice.from_object(item).service
            del self._slices[service][key.name]
            self._put_service(service)
        else:
            raise AssertionError(f"no way to drop a {kind}")

    def _put_policies(self, which: tuple[str, Key], item: Object | None) -> None:
        """Put the policies that an object makes in the place of those that it made."""
        made = read_policies(item) if item is not None else ()
        for policy in made:
            self.engine.put_policy(policy)
        refs = {policy.ref for policy in made}
        for ref in self._policies.pop(which, set()) - refs:
            self.engine.drop_policy(ref)
        self._policies[which] = refs

    def _put_service(self, key: Key) -> None:
        service = self._services.get(key)
        if service is not None:
            slices = self._slices.get(key, {}).values()
            views = [EndpointSlice.from_object(item) for item in slices]
            self.engine.put_service(Service.from_object(service), views)

    def verdict(self, asked: Question) -> Verdict:
        """Return the compiled verdict."""
        subject = int(Identity.HOST)
        if asked.subject:
            namespace, _, name = asked.subject.partition("/")
            subject = self.engine.identity_of(Key(namespace, name))
        policy = self.engine.policy_of(subject)
        chosen = policy.ingress if asked.direction == "ingress" else policy.egress
        if chosen is None:
            return Verdict(PolicyAction.ALLOW, None)
        other = ip_address(asked.other)
        names = self.selectors_of(asked.other) if asked.direction == "egress" else ()
        remote = self.engine.identity_at(other)
        return chosen.at(remote, asked.protocol, asked.port, names)

    def selectors_of(self, address: str) -> tuple[int, ...]:
        """Return the selectors of names that an address was learnt for."""
        names = self._learnt.get(address) or ()
        return tuple(
            identity
            for peer, identity in sorted(self.engine.selectors().items(), key=lambda pair: pair[1])
            if any(peer_means(peer, name) for name in names)
        )

    def answer(self, asked: Question) -> Answer:
        """Return the compiled verdict in the words of the standards."""
        verdict = self.verdict(asked)
        action = ACTIONS[verdict.action]
        if not verdict.allows:
            # A rule that denies may be spelled as a default that names can lift, and the other way
            # round: whether a rule is named tells them apart.
            action = "deny" if verdict.rule and verdict.rule.path else "default deny"
        return Answer(action, named(verdict.rule))


def named(rule: RuleRef | None) -> frozenset[str]:
    """Return the object that a rule stands in, whichever of its specs."""
    return frozenset({str(rule.policy).partition("[")[0]} if rule else ())


def compiled(world: World) -> Compiled:
    """Return an engine that knows a world."""
    made = Compiled(world.here, world.learnt)
    for item in world.objects:
        made.put(item)
    made.engine.put_apiserver([ip_address(text) for text in world.apiserver])
    return made


def peer_means(peer: FqdnPeer, name: str) -> bool:
    """Return whether a selector of names means a name, by the words of FqdnPeer."""
    if peer.name:
        return name == peer.name
    if peer.pattern == "*":
        return True
    deep = peer.pattern.startswith("**.")
    wanted = peer.pattern.removeprefix("**.").split(".")
    labels = name.split(".")
    if deep:
        if len(labels) <= len(wanted):
            return False
        labels = labels[-len(wanted) :]
    return len(labels) == len(wanted) and all(
        label_fits(pattern, label) for pattern, label in zip(wanted, labels, strict=True)
    )


def label_fits(pattern: str, label: str) -> bool:
    """Return whether a label of a name fits one with `*` for any characters."""
    head, *rest = pattern.split("*")
    if not rest:
        return pattern == label
    if not label.startswith(head) or len(label) < len(head) + len(rest[-1]):
        return False
    at = len(head)
    for part in rest[:-1]:
        at = label.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return label.endswith(rest[-1]) and at <= len(label) - len(rest[-1])
