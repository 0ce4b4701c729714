"""Selectors that select nobody, and where those are that were meant.

Policy, World  ->  Found
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from cairn.diagnose.lint.found import Found, Weight, of
from cairn.diagnose.policy.world import World
from cairn.kube.policy.rule import (
    NAMESPACE,
    NAMESPACE_LABEL,
    RESERVED,
    GroupPeer,
    LabelPeer,
    NodePeer,
    Policy,
    Rule,
    ServicePeer,
    workload_labels,
)
from cairn.kube.selector import Selector

Labels = Mapping[str, str]
MOST_NAMED = 3


def flat_labels(world: World) -> list[Labels]:
    """Return the flat labels of every pod that policies can be about."""
    return [
        workload_labels(
            pod.workload.labels,
            namespace=pod.key.namespace,
            namespace_labels=world.namespaces.get(pod.key.namespace, {}),
            service_account=pod.workload.service_account,
        )
        for pod in world.pods.values()
        if not pod.workload.host_network
    ]


def find(policy: Policy, world: World, pods: list[Labels]) -> Iterator[Found]:
    """Yield what the selectors of a policy miss; nothing if there are no pods to select."""
    if not pods:
        return
    if policy.subject is not None:
        yield from _subject(policy, policy.subject, pods)
    if policy.nodes is not None and world.nodes:
        nodes = [node.metadata.labels for node in world.nodes.values()]
        if not any(map(policy.nodes.matches, nodes)):
            yield of(
                policy.ref,
                "NodeSelectorSelectsNothing",
                Weight.ERROR,
                "spec.nodeSelector",
                f"nodeSelector {policy.nodes} selects none of the {len(nodes)} nodes, so the "
                "policy is about nobody: kubectl get nodes --show-labels",
            )
    for rule in policy.rules:
        if not rule.implied:
            yield from _peers(policy, rule, world, pods)


def _subject(policy: Policy, selector: Selector, pods: list[Labels]) -> Iterator[Found]:
    if any(map(selector.matches, pods)):
        return
    field = "spec.podSelector" if policy.ref.kind == "NetworkPolicy" else "spec.endpointSelector"
    own = _without_namespace(selector)
    elsewhere = _by_namespace(own, pods)
    here = policy.ref.namespace
    if here and elsewhere:
        yield of(
            policy.ref,
            "SelectsNothingHere",
            Weight.ERROR,
            field,
            f"{own} selects no pod in namespace {here}, but {_spell(elsewhere)}: a policy is about "
            "pods of its own namespace alone; write metadata.namespace accordingly",
        )
    else:
        where = f"namespace {here}" if here else "the cluster"
        yield of(
            policy.ref,
            "SelectsNothing",
            Weight.WARNING,
            field,
            f"{own} selects no pod of {where}, so the policy does nothing yet: "
            + _nearby(own, here, pods),
        )


def _peers(policy: Policy, rule: Rule, world: World, pods: list[Labels]) -> Iterator[Found]:
    for peer in rule.peers:
        match peer:
            case LabelPeer(selector):
                yield from _label_peer(policy, rule, selector, pods)
            case NodePeer(selector) if world.nodes:
                nodes = [node.metadata.labels for node in world.nodes.values()]
                if not any(map(selector.matches, nodes)):
                    yield _nothing(policy, rule, f"{selector} selects no node")
            case GroupPeer() if not world.networks_of(peer):
                yield _nothing(policy, rule, f"no CiliumCIDRGroup {_named(peer)} has networks")
            case ServicePeer() if not world.backends_of(peer):
                yield _nothing(policy, rule, f"no Service {_named(peer)} has endpoints")
            case _:
                continue


def _nothing(policy: Policy, rule: Rule, what: str) -> Found:
    message = f"{what}, so the rule matches nobody yet: check the name and the labels"
    return of(policy.ref, "PeerSelectsNothing", Weight.WARNING, rule.path, message)


def _named(peer: GroupPeer | ServicePeer) -> str:
    return peer.name or f"with {peer.selector}"


def _label_peer(
    policy: Policy, rule: Rule, selector: Selector, pods: list[Labels]
) -> Iterator[Found]:
    if any(r.key.startswith(RESERVED) for r in selector.requirements):
        return
    if any(map(selector.matches, pods)):
        return
    own = _without_namespace(selector)
    asked = sorted(v for r in selector.requirements if r.key == NAMESPACE for v in r.values)
    elsewhere = _by_namespace(own, pods)
    if asked and elsewhere:
        here = ", ".join(asked)
        how = (
            "namespaceSelector beside podSelector"
            if policy.ref.kind == "NetworkPolicy"
            else f"{NAMESPACE} in its labels"
        )
        yield of(
            policy.ref,
            "PeerSelectsNothingHere",
            Weight.ERROR,
            rule.path,
            f"{own} selects no pod in namespace {here}, but {_spell(elsewhere)}: name that "
            f"namespace with {how}",
        )
        return
    here = asked[0] if asked else ""
    yield of(
        policy.ref,
        "PeerSelectsNothing",
        Weight.WARNING,
        rule.path,
        f"{own} selects no pod{f' in namespace {here}' if here else ''}, so the rule matches "
        "nobody yet: " + _nearby(own, here, pods),
    )


def _without_namespace(selector: Selector) -> Selector:
    return Selector(
        tuple(
            r
            for r in selector.requirements
            if r.key != NAMESPACE and not r.key.startswith(NAMESPACE_LABEL)
        )
    )


def _by_namespace(selector: Selector, pods: list[Labels]) -> Counter[str]:
    if not selector.requirements:
        return Counter()
    return Counter(labels[NAMESPACE] for labels in pods if selector.matches(labels))


def _spell(counts: Counter[str]) -> str:
    named = [f"{count} in {name}" for name, count in sorted(counts.items())[:MOST_NAMED]]
    more = len(counts) - MOST_NAMED
    return " and ".join(named) + (f" and more in {more} others" if more > 0 else "")


def _nearby(selector: Selector, namespace: str, pods: list[Labels]) -> str:
    """Return what the pods have at the keys that are asked for."""
    where = f"of namespace {namespace} " if namespace else ""
    keys = [requirement.key for requirement in selector.requirements]
    told = []
    for key in keys:
        values = Counter(
            labels[key] for labels in pods if key in labels and namespace in ("", labels[NAMESPACE])
        )
        if values:
            shown = ", ".join(value for value, _ in values.most_common(MOST_NAMED))
            told.append(f"pods {where}have {key}={shown}")
        else:
            told.append(f"no pod {where}has a label {key}")
    return "; ".join(told) or f"there are no pods {where}".rstrip()
