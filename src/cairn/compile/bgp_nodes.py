"""Peering policies and nodes to one BGP configuration per node.

    PeeringPolicies, Nodes  ->  NodeConfig per node, PolicyReach per policy

Invariants  A node follows one policy, the oldest that selects it: a second policy changes nothing
            there and is told so. What a node should do never depends on the order of objects.
            A neighbor whose families are not named carries the family of its address, and over IPv4
            also IPv6 where the node has an IPv6 address: a home router has one session a node.
Standards   Cilium CiliumBGPNodeConfig v2alpha1, with the fields of Cairn's dialect beside
Not here    Sessions' states on their way back (bgp_summary.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cairn.desired.prefix_filter import parse_filter
from cairn.kube.finding import Finding
from cairn.kube.node import Node
from cairn.kube.peering_policy import Neighbor, PeeringPolicy, VirtualRouter

TIMERS = {
    "connectRetryTimeSeconds": 120,
    "holdTimeSeconds": 90,
    "keepAliveTimeSeconds": 30,
}
DEFAULT_RESTART_S = 120
BGP_PORT = 179
FILTERS = ("importFilter", "exportFilter")
MAX_LABELS_NAMED = 6


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What one node should do."""

    policy: str
    """Name of the policy it follows."""
    policy_uid: str
    """That policy's uid, for the owner reference."""
    spec: Mapping[str, Any]
    """Spec of its CiliumBGPNodeConfig."""


@dataclass(frozen=True, slots=True)
class PolicyReach:
    """Where one policy works."""

    nodes: tuple[str, ...]
    """Nodes that follow it."""
    conflicts: Mapping[str, str]
    """Nodes that it selects but that follow an older policy, and which."""
    nothing: str
    """Why it selects no node; empty if it selects one."""


@dataclass(frozen=True, slots=True)
class BgpNodes:
    """The whole configuration."""

    configs: Mapping[str, NodeConfig]
    """Per node that peers."""
    policies: Mapping[str, PolicyReach]
    """Per policy."""


def checked(policy: PeeringPolicy) -> PeeringPolicy:
    """Return a policy without the neighbors whose filters cannot be read, and findings instead.

    To announce without the filter that someone wanted would be worse than not to peer.
    """
    findings = list(policy.findings)
    routers = []
    for router in policy.routers:
        problems = [(neighbor, _filter_problem(neighbor)) for neighbor in router.neighbors]
        findings += [
            Finding("InvalidNeighbor", f"neighbor {neighbor.address} is ignored: {problem}")
            for neighbor, problem in problems
            if problem
        ]
        good = tuple(neighbor for neighbor, problem in problems if not problem)
        routers.append(replace(router, neighbors=good))
    return replace(policy, routers=tuple(routers), findings=tuple(findings))


def compile_bgp_nodes(policies: Iterable[PeeringPolicy], nodes: Iterable[Node]) -> BgpNodes:
    """Return every node's configuration and every (checked) policy's reach."""
    ordered = sorted(nodes, key=lambda node: node.name)
    configs: dict[str, NodeConfig] = {}
    reach: dict[str, PolicyReach] = {}
    for policy in sorted(policies, key=lambda p: (p.metadata.created, p.name)):
        selector = policy.node_selector
        chosen = [n for n in ordered if selector and selector.matches(n.metadata.labels)]
        conflicts = {n.name: configs[n.name].policy for n in chosen if n.name in configs}
        won = [node for node in chosen if node.name not in conflicts]
        for node in won:
            has_ipv6 = any(a.version == 6 for a in node.internal_ips)
            spec = _spec(policy, has_ipv6=has_ipv6)
            configs[node.name] = NodeConfig(policy.name, policy.metadata.uid, spec)
        nothing = "" if chosen else _why_no_node(policy, ordered)
        reach[policy.name] = PolicyReach(tuple(n.name for n in won), conflicts, nothing)
    return BgpNodes(configs, reach)


def _filter_problem(neighbor: Neighbor) -> str:
    for name in FILTERS:
        try:
            if neighbor.raw.get(name):
                parse_filter(str(neighbor.raw[name]))
        except ValueError as error:
            return f"{name}: {error}"
    return ""


def _spec(policy: PeeringPolicy, *, has_ipv6: bool) -> dict[str, Any]:
    return {
        "bgpInstances": [
            _instance(router, f"instance-{router.asn}-{place}", has_ipv6=has_ipv6)
            for place, router in enumerate(policy.routers)
        ]
    }


def _instance(router: VirtualRouter, name: str, *, has_ipv6: bool) -> dict[str, Any]:
    instance: dict[str, Any] = {
        "name": name,
        "localASN": router.asn,
        "exportPodCIDR": router.export_pod_cidr,
        "peers": [_peer(neighbor, has_ipv6=has_ipv6) for neighbor in router.neighbors],
    }
    if router.service_selector is not None:
        instance["serviceSelector"] = router.service_selector
    return instance


def _peer(neighbor: Neighbor, *, has_ipv6: bool) -> dict[str, Any]:
    raw = neighbor.raw
    restart = raw.get("gracefulRestart") or {}
    peer: dict[str, Any] = {
        "name": f"peer-{neighbor.asn}-{neighbor.address}",
        "peerASN": neighbor.asn,
        "peerAddress": str(neighbor.address),
        "peerPort": raw.get("peerPort") or BGP_PORT,
        "timers": {name: raw.get(name) or default for name, default in TIMERS.items()},
        "gracefulRestart": {
            "enabled": bool(restart.get("enabled")),
            "restartTimeSeconds": restart.get("restartTimeSeconds") or DEFAULT_RESTART_S,
        },
        "families": raw.get("families") or _families(neighbor, has_ipv6=has_ipv6),
    }
    for name in ("password", "authSecretRef", "maxPrefixes", *FILTERS):
        if raw.get(name):
            peer[name] = raw[name]
    hops = raw.get("eBGPMultihopTTL", raw.get("eBGPMultihop"))
    if hops:
        peer["ebgpMultihop"] = hops
    return peer


def _families(neighbor: Neighbor, *, has_ipv6: bool) -> list[dict[str, str]]:
    versions = (4, 6) if neighbor.address.version == 4 and has_ipv6 else (neighbor.address.version,)
    return [{"afi": f"ipv{version}", "safi": "unicast"} for version in versions]


def _why_no_node(policy: PeeringPolicy, nodes: Sequence[Node]) -> str:
    if policy.node_selector is None:
        return "its nodeSelector is invalid"
    if not nodes:
        return "selects 0 of 0 nodes; the cluster has none yet"
    labels = {
        f"{key}={value}" if value else key
        for node in nodes
        for key, value in node.metadata.labels.items()
        if key != "kubernetes.io/hostname"
    }
    named = sorted(labels)[:MAX_LABELS_NAMED]
    have = ", ".join(named) + (", …" if len(labels) > len(named) else "")
    return (
        f"selects 0 of {len(nodes)} nodes by {policy.node_selector}; "
        f"nodes have labels {have or '(none)'}"
    )
