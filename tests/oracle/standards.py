"""What the standards' texts say of a connection, all languages together.

world, question  ->  Answer

The order of the tiers is that of ClusterNetworkPolicy; the normal tier is the union that "Deny
Policies" of Cilium describes for its own and for Kubernetes' policies.
"""

from collections.abc import Iterator
from dataclasses import replace

import cilium_policy_text as cilium
import cluster_network_policy_text as cluster
import network_policy_text as kubernetes
from cilium_peers_text import flat_labels
from label_selector import selects
from world import TCP, UDP, Answer, End, Object, Question, World, end_at, pod_named, ref_of

AUDIT = "policy.cilium.io/audit-mode"
DISABLED = "policy.cilium.io/disabled"
CILIUM_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
PASSES = ("allow", "proxy")
POLICY_KINDS = ("NetworkPolicy", "ClusterNetworkPolicy", *CILIUM_KINDS)


def answer(world: World, asked: Question, *, audit: bool = False) -> Answer:
    """Return what becomes of a connection; `audit`: with the policies in audit mode in force."""
    return judged(in_force(world, audit=audit), asked)


def judged(world: World, asked: Question) -> Answer:
    """Return what becomes of a connection where every policy is in force."""
    other = end_at(world, asked.other)
    if not asked.subject:
        return for_node(world, other, asked)
    pod = pod_named(world, asked.subject)
    found = for_pod(world, pod, other, asked)
    named = asked.other in world.learnt
    nameless = for_pod(replace(world, learnt={}), pod, other, asked) if named else found
    if found.action in PASSES and nameless.action in PASSES:
        # Names are asked only where the address alone is denied: what passes without them passes
        # as it would without them.
        because = found.because | nameless.because
        isolated = found.isolated and nameless.isolated
        found = Answer(nameless.action, because, isolated=isolated)
    elif found.action in PASSES:
        others = with_names(world, pod)
        found = replace(
            found,
            because=found.because.union(others),
            by_name=True,
            instead=nameless.because if len(others) > 1 else frozenset(),
        )
    if found.action == "allow" and looks_up_names(world, pod, asked):
        return replace(found, action="proxy")
    return found


def looks_up_names(world: World, pod: Object, asked: Question) -> bool:
    """Names are collected "from all DNS responses seen": so whoever has rules by name asks through
    the DNS proxy, whatever lets the question through.
    """
    if asked.direction != "egress" or asked.port != 53 or asked.protocol not in (TCP, UDP):
        return False
    return bool(with_names(world, pod))


def with_names(world: World, pod: Object) -> list[str]:
    """Return the policies about a pod that have rules by names, once for each such rule."""
    found = [
        ref_of(policy)
        for policy, spec in cilium_about(world, pod)
        for rule in spec.get("egress") or ()
        if "toFQDNs" in rule
    ]
    found += [
        ref_of(policy)
        for policy in world.of_kind("ClusterNetworkPolicy")
        if cluster.is_about(policy, world, pod)
        for rule in policy["spec"].get("egress") or ()
        if any("domainNames" in peer for peer in rule["to"])
    ]
    return found


def in_force(world: World, *, audit: bool = False) -> World:
    """Return the world without the policies that are not enforced.

    D14: "the policy is not enforced while it stands". Audit mode: verdicts are recorded, not
    enforced.
    """

    def stands(item: Object) -> bool:
        notes = item["metadata"].get("annotations") or {}
        if item["kind"] not in POLICY_KINDS:
            return True
        return notes.get(DISABLED) != "true" and (audit or notes.get(AUDIT) != "true")

    objects = [item for item in world.objects if stands(item)]
    return replace(world, objects=objects)


def for_pod(world: World, pod: Object, other: End, asked: Question) -> Answer:
    """ClusterNetworkPolicy, tier: "The Admin tier takes precedence over all other policies …
    v1.NetworkPolicy always makes a final decision for selected pods … If a given connection wasn't
    allowed or denied by any of the tiers, the default kubernetes policy is applied, which says
    that all pods can communicate with each other."
    """
    if asked.direction == "ingress" and on_own_node(world, other):
        # "traffic to and from the node where a Pod is running is always allowed, regardless of
        # the IP address of the Pod or the node"; Cilium: "Kubernetes will automatically allow all
        # communication from the local host of all local endpoints".
        return Answer("allow")
    first = of_tier("Admin", world, pod, other, asked)
    if first:
        return first
    second = normal_tier(world, pod, other, asked)
    if second:
        return second
    last = of_tier("Baseline", world, pod, other, asked)
    return last or Answer("allow")


def on_own_node(world: World, other: End) -> bool:
    """Return whether an end is the node whose data plane is asked."""
    return other.node is not None and other.node["metadata"]["name"] == world.here


def of_tier(tier: str, world: World, pod: Object, other: End, asked: Question) -> Answer | None:
    """action: Accept and Deny end it; "Pass: Skips all further ClusterNetworkPolicy rules in the
    current tier for the selected traffic, and passes evaluation to the next tier."
    """
    decided = cluster.decision(tier, world, pod, other, asked)
    if decided is None or decided[0]["action"] == "Pass":
        return None
    rule, policy = decided
    refs = frozenset({ref_of(policy)})
    if rule["action"] == "Deny":
        return Answer("deny", refs)
    by_name = any("domainNames" in peer for peer in rule.get("to") or ())
    return Answer("allow", refs, isolated=not by_name)


def normal_tier(world: World, pod: Object, other: End, asked: Question) -> Answer | None:
    """Deny policies "take precedence over allow policies, regardless of whether they are a Cilium
    Network Policy, a Clusterwide Cilium Network Policy or even a Kubernetes Network Policy."
    Then what any allows; then the default deny of those that isolate.
    """
    about = list(cilium_about(world, pod))
    denied = {ref_of(p) for p, s in about if cilium.denies(p, s, world, pod, other, asked)}
    if denied:
        return Answer("deny", frozenset(denied))
    required = [r for p, s in about for r in cilium.requirements(p, s, asked.direction)]
    passed: dict[str, set[str]] = {"allow": set(), "proxy": set()}
    isolating = set()
    for policy, spec in about:
        how = cilium.allows(policy, spec, world, pod, other, asked, required)
        if how:
            passed[how].add(ref_of(policy))
        if cilium.isolates(spec, asked.direction):
            isolating.add(ref_of(policy))
    for policy in world.of_kind("NetworkPolicy"):
        if not kubernetes.is_about(policy, pod) or not kubernetes.isolates(policy, asked.direction):
            continue
        isolating.add(ref_of(policy))
        if asked.direction == "egress" and on_own_node(world, other):
            passed["allow"].add(ref_of(policy))
        if allowed_by_kubernetes(policy, world, pod, other, asked, required):
            passed["allow"].add(ref_of(policy))
    for how in ("allow", "proxy"):
        if passed[how]:
            return Answer(how, frozenset(passed[how]), isolated=bool(isolating))
    return Answer("default deny", frozenset(isolating)) if isolating else None


def allowed_by_kubernetes(
    policy: Object, world: World, pod: Object, other: End, asked: Question, required: list[Object]
) -> bool:
    """A requirement of a Cilium policy narrows what selects endpoints by labels, here too; blocks
    of addresses are left.
    """
    if not required or other.pod is None:
        return kubernetes.allows(policy, world, pod, other, asked)
    if all(selects(selector, flat_labels(world, other.pod)) for selector in required):
        return kubernetes.allows(policy, world, pod, other, asked)
    word = "from" if asked.direction == "ingress" else "to"
    left = []
    for rule in policy["spec"].get(asked.direction) or ():
        peers = [peer for peer in rule.get(word) or () if "ipBlock" in peer]
        if peers or not rule.get(word):
            left.append({**rule, word: peers})
    trimmed = {**policy, "spec": {**policy["spec"], asked.direction: left}}
    return kubernetes.allows(trimmed, world, pod, other, asked)


def cilium_about(world: World, pod: Object) -> Iterator[tuple[Object, Object]]:
    """Yield the Cilium rules whose endpointSelector selects a pod."""
    for kind in CILIUM_KINDS:
        for policy in world.of_kind(kind):
            for spec in cilium.specs(policy):
                if cilium.is_about_pod(policy, spec, world, pod):
                    yield policy, spec


def for_node(world: World, other: End, asked: Question) -> Answer:
    """Host Policies: policies with a nodeSelector, for the node's own connections."""
    node = next(item for item in world.of_kind("Node") if item["metadata"]["name"] == world.here)
    about = [
        (policy, spec)
        for policy in world.of_kind("CiliumClusterwideNetworkPolicy")
        for spec in cilium.specs(policy)
        if cilium.is_about_node(spec, node)
    ]
    denied = {ref_of(p) for p, s in about if cilium.denies(p, s, world, None, other, asked)}
    if denied:
        return Answer("deny", frozenset(denied))
    required = [r for p, s in about for r in cilium.requirements(p, s, asked.direction)]
    allowed = {
        ref_of(p) for p, s in about if cilium.allows(p, s, world, None, other, asked, required)
    }
    if allowed:
        return Answer("allow", frozenset(allowed))
    isolating = {ref_of(p) for p, s in about if cilium.isolates(s, asked.direction)}
    return Answer("default deny", frozenset(isolating)) if isolating else Answer("allow")
