"""Findings about objects that are no policies: pools, peers, Services, everything stored in vain.

object, World  ->  Found

Not here    The facts: kube.pool, kube.peering_policy, kube.l2_policy, kube.unsupported.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cairn.diagnose.lint import traps
from cairn.diagnose.lint.found import Found, Weight
from cairn.diagnose.policy.world import POLICY_KINDS, World
from cairn.kube.finding import Finding
from cairn.kube.l2_policy import l2_policy_of
from cairn.kube.metadata import Object, key_of
from cairn.kube.peering_policy import peering_policy_of
from cairn.kube.pool import pool_of
from cairn.kube.selector import InvalidSelector, Selector, parse_selector
from cairn.kube.unsupported import Weight as GapWeight
from cairn.kube.unsupported import unsupported

_READERS: Mapping[str, Callable[[Object], tuple[Finding, ...]]] = {
    "CiliumLoadBalancerIPPool": lambda obj: pool_of(obj).findings,
    "CiliumBGPPeeringPolicy": lambda obj: peering_policy_of(obj).findings,
    "CiliumL2AnnouncementPolicy": lambda obj: l2_policy_of(obj).findings,
}
_GAPS = {
    GapWeight.UNSAFE: Weight.ERROR,
    GapWeight.IGNORED: Weight.WARNING,
    GapWeight.ASIDE: Weight.NOTE,
}
_MEAN_NOTHING = ("InvalidBlock", "NoAddresses", "InvalidSelector", "InvalidRouter", "NoRouter")
OLD_KINDS = {"CiliumBGPPeeringPolicy": "CiliumBGPClusterConfig"}
"""Kinds that other systems have dropped, and what they have instead."""


def name(obj: Object) -> str:
    """Return kind, namespace and name, as messages have them."""
    namespace, called = key_of(obj)
    return "/".join(part for part in (str(obj.get("kind")), namespace, called) if part)


def find(obj: Object, world: World) -> Iterator[Found]:
    """Yield the findings about one object."""
    subject, kind = name(obj), str(obj.get("kind"))
    if not key_of(obj).name:
        yield Found(
            "NameMissing",
            Weight.ERROR,
            subject,
            "metadata.name",
            "the object has no name, and the API server refuses it: write metadata.name",
        )
    try:
        for finding in _READERS[kind](obj) if kind in _READERS else ():
            weight = Weight.ERROR if finding.reason in _MEAN_NOTHING else Weight.WARNING
            yield Found(finding.reason, weight, subject, "spec", finding.message)
        if kind in _FINDERS:
            yield from _FINDERS[kind](obj, subject, world)
        yield from traps.find(obj, subject, world)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = f"a field has a type that it may not have ({error}): kubectl explain {kind}"
        yield Found("InvalidObject", Weight.ERROR, subject, "spec", text)
    if kind not in POLICY_KINDS:
        for gap in unsupported(obj):
            text = gap.message
            yield Found(gap.reason, _GAPS[gap.weight], subject, "", text)


def _pool(obj: Object, subject: str, world: World) -> Iterator[Found]:
    pool = pool_of(obj)
    yield from _services(obj.get("spec") or {}, "serviceSelector", "spec", subject, world)
    networks = _node_networks(world)
    for block in pool.blocks:
        for network in networks:
            low, high = int(network.network_address), int(network.broadcast_address)
            if network.version == block.version and block.first <= high and low <= block.last:
                yield Found(
                    "PoolOnLink",
                    Weight.WARNING,
                    subject,
                    "spec.blocks",
                    f"block {block.text} lies in {network}, a subnet of nodes and perhaps of "
                    "clients: a client there asks by ARP and uses no BGP route; one elected node "
                    "answers for each address, so such clients do not spread; take a subnet that "
                    "no host is in, to have them routed",
                )
                break


def _node_networks(world: World) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the nodes' subnets; without nodes, that in which home networks are numbered."""
    found = {
        ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False)
        for node in world.nodes.values()
        for address in node.internal_ips
    }
    return sorted(found, key=str) or [ipaddress.ip_network("192.168.0.0/16")]


def _services(
    spec: Mapping[str, Any], field: str, where: str, subject: str, world: World
) -> Iterator[Found]:
    """Find a selector of Services that selects none, or all."""
    raw = spec.get(field)
    if raw is None:
        return
    try:
        selector = parse_selector(raw)
    except InvalidSelector:
        return  # the reader has told of it
    path = f"{where}.{field}"
    if _always(selector):
        yield Found(
            "SelectsEveryService",
            Weight.NOTE,
            subject,
            path,
            f"{selector} holds for every LoadBalancer Service, those that are meant to be private "
            "too: name a label that you set on the Services to announce, if that is not meant",
        )
        return
    balanced = [s for s in world.services.values() if s.type == "LoadBalancer"]
    if balanced and not any(selector.matches(s.metadata.labels) for s in balanced):
        names = ", ".join(str(s.key) for s in balanced[:3])
        yield Found(
            "SelectsNoService",
            Weight.ERROR,
            subject,
            path,
            f"{selector} matches 0 of {len(balanced)} LoadBalancer Services ({names}), which stay "
            "pending: give them these labels, or select by labels that they have",
        )


def _always(selector: Selector) -> bool:
    """Return whether a selector excludes none but those with a value that nobody gives."""
    return bool(selector.requirements) and all(
        r.operator.value == "NotIn" for r in selector.requirements
    )


def _peering(obj: Object, subject: str, world: World) -> Iterator[Found]:
    spec = obj.get("spec") or {}
    yield Found(
        "KindDropped",
        Weight.NOTE,
        subject,
        "kind",
        f"Cairn reads {obj['kind']}; upstream dropped it with 1.19 in favour of "
        f"{OLD_KINDS[str(obj['kind'])]}: keep it if Cairn alone reads this",
    )
    if "nodeSelector" not in spec:
        text = "nodeSelector is missing: every node peers; write nodeSelector: {}"
        yield Found("NodeSelectorMissing", Weight.NOTE, subject, "spec.nodeSelector", text)
    else:
        yield from _nodes(spec, subject, world)
    for index, router in enumerate(spec.get("virtualRouters") or ()):
        where = f"spec.virtualRouters[{index}]"
        yield from _services(router, "serviceSelector", where, subject, world)
        for number, neighbor in enumerate(router.get("neighbors") or ()):
            path = f"{where}.neighbors[{number}]"
            yield from _neighbor(neighbor, path, subject)


def _nodes(spec: Mapping[str, Any], subject: str, world: World) -> Iterator[Found]:
    try:
        selector = parse_selector(spec.get("nodeSelector"))
    except InvalidSelector:
        return  # the reader has told of it
    labels = [node.metadata.labels for node in world.nodes.values()]
    if labels and not any(map(selector.matches, labels)):
        yield Found(
            "NodeSelectorSelectsNothing",
            Weight.ERROR,
            subject,
            "spec.nodeSelector",
            f"{selector} selects 0 of {len(labels)} nodes, so nobody peers: label the nodes, or "
            "select by labels that they have (kubectl get nodes --show-labels)",
        )


def _neighbor(neighbor: Mapping[str, Any], path: str, subject: str) -> Iterator[Found]:
    if "password" in neighbor:
        yield Found(
            "PasswordInTheOpen",
            Weight.WARNING,
            subject,
            f"{path}.password",
            "it is used, and all who may read the object can read it: write authSecretRef with "
            "the name of a Secret in kube-system",
        )
    for field in ("maxPrefixes", "importFilter", "exportFilter"):
        if field in neighbor:
            text = f"{field} is applied to this peer; other systems do not know the field"
            yield Found("CairnOnlyField", Weight.NOTE, subject, f"{path}.{field}", text)
    if "ipFamily" in neighbor:
        text = (
            "ipFamily only repeats what the address says, and is checked against it: leave it out"
        )
        yield Found("FamilyRepeated", Weight.NOTE, subject, f"{path}.ipFamily", text)


def _envoy(obj: Object, subject: str, world: World) -> Iterator[Found]:
    services = (obj.get("spec") or {}).get("services") or ()
    if any(service.get("routes") for service in services):
        text = (
            "services[].routes is a shorter form of Envoy's routes that Cairn alone reads; other "
            "systems read spec.resources with Envoy's own route configuration"
        )
        yield Found("RoutesShortForm", Weight.NOTE, subject, "spec.services", text)


def _mesh(obj: Object, subject: str, world: World) -> Iterator[Found]:
    text = "CiliumClusterMesh is a kind of Cairn's own: other systems do not know it"
    yield Found("CairnOnlyKind", Weight.NOTE, subject, "kind", text)


_FINDERS: Mapping[str, Callable[[Object, str, World], Iterator[Found]]] = {
    "CiliumLoadBalancerIPPool": _pool,
    "CiliumBGPPeeringPolicy": _peering,
    "CiliumEnvoyConfig": _envoy,
    "CiliumClusterwideEnvoyConfig": _envoy,
    "CiliumClusterMesh": _mesh,
}
