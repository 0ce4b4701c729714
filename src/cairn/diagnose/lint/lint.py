"""All findings about some objects, in the surroundings of a cluster.

objects, World that holds them  ->  Found, the heaviest first
"""

from collections.abc import Iterable, Iterator

from cairn.diagnose.lint import lockout, others, overlap, peers, selection, traps
from cairn.diagnose.lint.found import Found, Weight, of
from cairn.diagnose.policy.world import NAMESPACED_POLICIES, POLICY_KINDS, Name, World, name_of
from cairn.kube.metadata import Object
from cairn.kube.policy.rule import Policy, PolicyRef

KNOWN_ANNOTATIONS = frozenset(
    {
        "policy.cilium.io/disabled",
        "policy.cilium.io/audit-mode",
        "policy.cilium.io/proxy-visibility",
    }
)


def lint(
    objects: Iterable[Object],
    world: World,
    unplaced: frozenset[Name] = frozenset(),
    *,
    files: bool = False,
) -> list[Found]:
    """Return what there is to say about objects of a World; each thing once.

    `unplaced`: those that name no namespace, and have been given the one in which they will land;
    `files`: they are of files, where fields that a server fills in have no place.
    """
    listed = list(objects)
    found = [*_policies(listed, world)]
    for obj in listed:
        found += others.find(obj, world)
        if files:
            found += traps.saved(obj, others.name(obj))
        if name_of(obj) in unplaced and obj.get("kind") in NAMESPACED_POLICIES:
            found.append(_unplaced(obj))
    return sorted(dict.fromkeys(found), key=lambda f: (-f.weight, f.subject, f.path, f.code))


def _unplaced(obj: Object) -> Found:
    return Found(
        "NoNamespace",
        Weight.WARNING,
        others.name(obj),
        "metadata.namespace",
        f"no namespace is named, so it lands in {_key(obj)[0]} and is about pods there alone; "
        "write metadata.namespace, once for each namespace that is meant, or make it a "
        "CiliumClusterwideNetworkPolicy",
    )


def _policies(objects: list[Object], world: World) -> Iterator[Found]:
    refs = frozenset(
        PolicyRef(str(obj["kind"]), *_key(obj))
        for obj in objects
        if obj.get("kind") in POLICY_KINDS
    )
    for ref in refs & world.invalid.keys():
        error = world.invalid[ref]
        text = f"the policy is not understood and not in force: {error.reason}"
        yield Found("InvalidPolicy", Weight.ERROR, str(ref), error.path, text)
    policies = [
        policy
        for ref, policy in sorted(world.policies.items())
        if ref._replace(name=ref.name.partition("[")[0]) in refs
    ]
    pods = selection.flat_labels(world)
    for policy in policies:
        yield from _one(policy, world)
        yield from selection.find(policy, world, pods)
    yield from overlap.find(world.policies.values(), frozenset(p.ref for p in policies))


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj.get("metadata") or {}
    return metadata.get("namespace") or "", metadata.get("name") or ""


def _one(policy: Policy, world: World) -> Iterator[Found]:
    for finding in policy.findings:
        yield of(policy.ref, finding.reason, Weight.WARNING, "spec", finding.message)
    yield from _state(policy, world)
    yield from peers.find(policy)
    yield from lockout.find(policy, world)


def _state(policy: Policy, world: World) -> Iterator[Found]:
    if policy.disabled:
        text = (
            "policy.cilium.io/disabled takes it out of force while it stands, in Cairn alone: "
            "remove the annotation to enforce it"
        )
        yield of(policy.ref, "PolicyDisabled", Weight.WARNING, "metadata.annotations", text)
    if policy.audit:
        text = "its verdicts are recorded and not enforced (policy.cilium.io/audit-mode)"
        yield of(policy.ref, "PolicyAudited", Weight.NOTE, "metadata.annotations", text)
    if policy.isolates and not policy.rules:
        ways = " and ".join(sorted(d.value for d in policy.isolates))
        text = (
            f"it closes {ways} and allows nothing: only rules of other policies open anything for "
            "these pods; the node itself, and with it the kubelet's probes, still reaches them"
        )
        yield of(policy.ref, "DeniesEverything", Weight.NOTE, "spec", text)
    annotations = world.written(policy.ref, "metadata.annotations")
    for key in annotations if isinstance(annotations, dict) else ():
        if key.startswith("policy.cilium.io/") and key not in KNOWN_ANNOTATIONS:
            known = ", ".join(sorted(KNOWN_ANNOTATIONS))
            text = f"annotation {key} means nothing and changes nothing; known are {known}"
            yield of(policy.ref, "UnknownAnnotation", Weight.WARNING, "metadata.annotations", text)
