"""What the nodes report of BGP, summed up per policy and per address.

    BgpNodes, CiliumBGPNodeConfig objects  ->  policy status, CiliumBGPAdvertisement

Invariants  A session counts as established only while its node reports, i.e. is ready.
Standards   Cilium CiliumBGPNodeConfig status, CiliumBGPAdvertisement v2alpha1
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cairn.compile.bgp_nodes import PolicyReach
from cairn.kube.metadata import Object
from cairn.kube.peering_policy import PeeringPolicy
from cairn.net import parse_network

ESTABLISHED = "established"


@dataclass(frozen=True, slots=True)
class ConditionState:
    """A condition without its times."""

    type: str
    """Its name."""
    status: bool
    """True or False."""
    reason: str
    """CamelCase word."""
    message: str
    """For people."""


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """The status of one policy."""

    nodes: int
    """Nodes that follow it."""
    configured: int
    """Sessions that should be."""
    down: tuple[str, ...]
    """Sessions that are not established, each as node, peer and state."""
    announced: int
    """Different prefixes that its nodes announce."""
    conditions: tuple[ConditionState, ...]
    """What works and what does not."""

    @property
    def established(self) -> int:
        """Sessions that are."""
        return self.configured - len(self.down)


def summarize_policy(
    policy: PeeringPolicy,
    reach: PolicyReach,
    configs: Mapping[str, Object],
    ready_nodes: Collection[str],
) -> PolicySummary:
    """Return the status of one policy; `configs` are the nodes' CiliumBGPNodeConfigs as stored."""
    down: list[str] = []
    configured = 0
    for node in reach.nodes:
        states = _states(configs.get(node) or {})
        for router in policy.routers:
            for neighbor in router.neighbors:
                configured += 1
                state = states.get(str(neighbor.address), "not reported")
                if node not in ready_nodes:
                    down.append(f"{node} to {neighbor.address} (node is not ready)")
                elif state != ESTABLISHED:
                    down.append(f"{node} to {neighbor.address} ({state})")
    announced = announcers(reach.nodes, configs)
    conditions = _conditions(policy, reach, configured, down)
    return PolicySummary(len(reach.nodes), configured, tuple(down), len(announced), conditions)


def announcers(nodes: Iterable[str], configs: Mapping[str, Object]) -> dict[str, list[str]]:
    """Return the announced prefixes, in order, and the nodes that announce each."""
    found: dict[str, list[str]] = {}
    for node in sorted(nodes):
        status = (configs.get(node) or {}).get("status") or {}
        for item in status.get("announcements") or ():
            if item.get("prefix"):
                found.setdefault(item["prefix"], []).append(node)
    return {prefix: found[prefix] for prefix in sorted(found, key=_rank)}


def advertisement_spec(policy: PeeringPolicy) -> dict[str, Any]:
    """Return the spec of the CiliumBGPAdvertisement that shows what a policy announces."""
    items: list[dict[str, Any]] = []
    for router in policy.routers:
        if router.service_selector is not None:
            items.append(
                {
                    "advertisementType": "Service",
                    "service": {"addresses": ["LoadBalancerIP"]},
                    "selector": router.service_selector,
                }
            )
        if router.export_pod_cidr:
            items.append({"advertisementType": "PodCIDR"})
    return {"advertisements": items}


def advertisement_status(reach: PolicyReach, configs: Mapping[str, Object]) -> dict[str, Any]:
    """Return the status of a policy's CiliumBGPAdvertisement: addresses and who announces them."""
    found = announcers(reach.nodes, configs)
    return {
        "addresses": [_short(prefix) for prefix in found],
        "nodes": sorted({node for nodes in found.values() for node in nodes}),
        "routes": [{"prefix": prefix, "nodes": nodes} for prefix, nodes in found.items()],
    }


def _states(config: Object) -> dict[str, str]:
    status = config.get("status") or {}
    return {
        peer.get("peerAddress") or "": str(peer.get("peeringState") or "not reported").lower()
        for instance in status.get("bgpInstances") or ()
        for peer in instance.get("peers") or ()
    }


def _conditions(
    policy: PeeringPolicy, reach: PolicyReach, configured: int, down: list[str]
) -> tuple[ConditionState, ...]:
    conditions = []
    if reach.nothing:
        conditions.append(ConditionState("cairn.io/Selected", False, "NoNode", reach.nothing))
    else:
        text = f"{len(reach.nodes)} nodes: {', '.join(reach.nodes)}" if reach.nodes else "no node"
        conditions.append(ConditionState("cairn.io/Selected", True, "NodesSelected", text))
    if reach.conflicts:
        text = "; ".join(
            f"{node} follows the older policy {other}" for node, other in reach.conflicts.items()
        )
        text += ": this policy changes nothing there; select other nodes, or join the two"
        conditions.append(ConditionState("cairn.io/Conflict", True, "OlderPolicy", text))
    established = configured > 0 and not down
    if down:
        text, reason = f"down: {'; '.join(down)}", "SessionsDown"
    elif configured:
        text, reason = f"{configured} of {configured} sessions", "AllEstablished"
    else:
        text, reason = "no session is configured", "NoSession"
    conditions.append(ConditionState("cairn.io/Established", established, reason, text))
    if policy.findings:
        text = "; ".join(finding.message for finding in policy.findings)
        conditions.append(
            ConditionState("cairn.io/Findings", True, policy.findings[0].reason, text)
        )
    return tuple(conditions)


def _rank(prefix: str) -> tuple[int, int, int]:
    try:
        network = parse_network(prefix, strict=False)
    except ValueError:
        return (9, 0, 0)
    return (network.version, int(network.network_address), network.prefixlen)


def _short(prefix: str) -> str:
    address, _, length = prefix.partition("/")
    return address if length == ("128" if ":" in address else "32") else prefix
