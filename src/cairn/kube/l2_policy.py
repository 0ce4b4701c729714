"""CiliumL2AnnouncementPolicy: for which Services' addresses which nodes answer ARP and ND.

    object  ->  L2Policy(selectors, interfaces, kinds of addresses, findings)

Invariants  What cannot work becomes a finding and selects nothing; the rest of the policy works.
Standards   Cilium CiliumL2AnnouncementPolicy v2alpha1: a selector that is absent selects all, an
            expression need only match a part of an interface's name
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cairn.kube.finding import Finding
from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.selector import InvalidSelector, Selector, parse_selector


@dataclass(frozen=True, slots=True)
class L2Policy:
    """One policy."""

    metadata: Metadata
    """Name and generation."""
    services: Selector | None
    """Which Services; None if the selector is invalid: none."""
    nodes: Selector | None
    """Which nodes may answer; None likewise."""
    interfaces: tuple[re.Pattern[str], ...] | None
    """Which uplinks; None: every one."""
    load_balancer_ips: bool
    """Whether load-balancer addresses are answered for."""
    external_ips: bool
    """Whether external IPs are."""
    findings: tuple[Finding, ...]
    """What its author should know."""

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.metadata.name

    def permits(self, interface: str) -> bool:
        """Return whether a node may answer on an uplink of this name."""
        if self.interfaces is None:
            return True
        return any(pattern.search(interface) for pattern in self.interfaces)


def l2_policy_of(obj: Object) -> L2Policy:
    """Return the view of a raw CiliumL2AnnouncementPolicy."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    findings: list[Finding] = []
    balancers, externals = bool(spec.get("loadBalancerIPs")), bool(spec.get("externalIPs"))
    if not (balancers or externals):
        findings.append(
            Finding(
                "NothingAsked",
                "neither loadBalancerIPs nor externalIPs is true: it announces nothing; set "
                "spec.loadBalancerIPs: true",
            )
        )
    return L2Policy(
        metadata=metadata_of(obj),
        services=_selector(spec, "serviceSelector", "Service", findings),
        nodes=_selector(spec, "nodeSelector", "node", findings),
        interfaces=_interfaces(spec.get("interfaces") or (), findings),
        load_balancer_ips=balancers,
        external_ips=externals,
        findings=tuple(findings),
    )


def _selector(
    spec: Mapping[str, Any], name: str, what: str, findings: list[Finding]
) -> Selector | None:
    try:
        return parse_selector(spec.get(name))
    except InvalidSelector as error:
        findings.append(Finding("InvalidSelector", f"{name} selects no {what}: {error}"))
        return None


def _interfaces(raw: Any, findings: list[Finding]) -> tuple[re.Pattern[str], ...] | None:
    if not raw:
        return None
    patterns = []
    for text in raw:
        try:
            patterns.append(re.compile(text))
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            sentence = f"interfaces: {text!r} is no regular expression and matches nothing: {error}"
            findings.append(Finding("InvalidInterface", sentence))
    return tuple(patterns)
