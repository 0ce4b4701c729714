"""What a CiliumL2AnnouncementPolicy comes to: whom it selects, and what its author should know.

    L2Policy, Services, nodes  ->  L2Summary(selects something or why not, findings)

Invariants  Pure. A policy that announces nothing has a sentence that says why and what to do.
Not here    Writing it down (operator.l2).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cairn.compile.l2 import BGP_CLASS, L2Node, admits, selects
from cairn.desired.load_balancer import Kind
from cairn.kube.finding import Finding
from cairn.kube.l2_policy import L2Policy
from cairn.kube.load_balancer import HANDLED_CLASSES
from cairn.kube.service import Service
from cairn.net import Address

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class L2Summary:
    """One policy's effect."""

    selected: bool
    """Whether it announces any address from any node."""
    reason: str
    """CamelCase word for the condition."""
    message: str
    """For people."""
    findings: tuple[Finding, ...]
    """What its author should know."""


def summarize_l2(
    policy: L2Policy, services: Iterable[Service], nodes: Sequence[L2Node]
) -> L2Summary:
    """Return what the policy comes to."""
    chosen = [service for service in services if _of(policy, service)]
    addresses = [address for service in chosen for address in _of(policy, service)]
    admitted = [node for node in nodes if admits(policy, node)]
    reachable = [address for address in addresses if _is_reachable(address, admitted)]
    findings = [*policy.findings, *_interfaces(policy, nodes)]
    if admitted and len(reachable) < len(addresses):
        findings.append(_outside([a for a in addresses if a not in reachable]))
    if why := _why_not(policy, chosen, admitted, nodes):
        return L2Summary(False, *why, tuple(findings))
    if addresses and not reachable:
        text = "none of its addresses lies in the subnet of a node that it selects"
        return L2Summary(False, "OutsideSubnet", text, tuple(findings))
    names = sorted(node.facts.name for node in admitted)
    text = (
        f"{_count(len(reachable), 'address', 'addresses')} of "
        f"{_count(len(chosen), 'Service', 'Services')}; each is answered for by one of "
        f"{_list(names)} that serves it"
    )
    return L2Summary(True, "Selected", text, tuple(findings))


def _of(policy: L2Policy, service: Service) -> tuple[Address, ...]:
    """Return the addresses of a Service that a policy is about."""
    if service.load_balancer_class not in HANDLED_CLASSES - {BGP_CLASS}:
        return ()
    found: tuple[Address, ...] = ()
    if service.type == "LoadBalancer" and selects(policy, service, Kind.LOAD_BALANCER):
        found += service.load_balancer_ips
    if selects(policy, service, Kind.EXTERNAL_IP):
        found += service.external_ips
    return found


def _why_not(
    policy: L2Policy, chosen: Sequence[Service], admitted: Sequence[L2Node], nodes: Sequence[L2Node]
) -> tuple[str, str] | None:
    if not (policy.load_balancer_ips or policy.external_ips):
        return "NothingAsked", "neither loadBalancerIPs nor externalIPs is true: nothing to answer"
    if not chosen:
        kinds = " or ".join(
            word
            for word, asked in (
                ("load-balancer addresses", policy.load_balancer_ips),
                ("external IPs", policy.external_ips),
            )
            if asked
        )
        text = f"serviceSelector {policy.services or '(invalid)'} selects no Service with {kinds}"
        return "NoService", f"{text}; see kubectl get service -A --show-labels"
    if admitted:
        return None
    labelled = [n for n in nodes if policy.nodes is not None and policy.nodes.matches(n.labels)]
    if not labelled:
        text = f"nodeSelector {policy.nodes or '(invalid)'} selects no node, so nobody answers"
        return "NoNode", f"{text}; see kubectl get node --show-labels"
    uplinks = sorted({node.facts.uplink or "not told yet" for node in labelled})
    text = f"interfaces match no uplink of the nodes it selects ({', '.join(uplinks)})"
    return (
        "NoInterface",
        f"{text}, so nobody answers; leave spec.interfaces out, or name one of them",
    )


def _interfaces(policy: L2Policy, nodes: Sequence[L2Node]) -> list[Finding]:
    uplinks = sorted({node.facts.uplink for node in nodes if node.facts.uplink})
    if not uplinks:
        return []
    return [
        Finding(
            "InterfaceNotFound",
            f"interfaces: {pattern.pattern!r} matches no node's uplink ({', '.join(uplinks)}); "
            "addresses are answered for on uplinks alone",
        )
        for pattern in policy.interfaces or ()
        if not any(pattern.search(name) for name in uplinks)
    ]


def _outside(addresses: Sequence[Address]) -> Finding:
    return Finding(
        "OutsideSubnet",
        f"{_list([str(address) for address in addresses])} outside the subnets of the nodes that "
        "it selects: no client asks for such an address by ARP or ND; announce it over BGP",
    )


def _is_reachable(address: Address, nodes: Sequence[L2Node]) -> bool:
    return any(address in network for node in nodes for network in node.facts.uplink_networks)


def _list(words: Sequence[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
