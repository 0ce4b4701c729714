"""The rule for the DNS that names need, where their policy has none.

    rules with toFQDNs  ->  the rule that lets queries for just these names through

Standards   Kubernetes DNS specification: the Service kube-dns in kube-system, UDP and TCP 53
"""

from cairn.kube.policy.rule import (
    NAMESPACE,
    Action,
    Direction,
    DnsRule,
    FqdnPeer,
    LabelPeer,
    PortMatch,
    Rule,
)
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Protocol

CLUSTER_DNS = Selector(
    (
        Requirement(NAMESPACE, Operator.IN, frozenset({"kube-system"})),
        Requirement("k8s-app", Operator.IN, frozenset({"kube-dns"})),
    )
)
"""Pods of the cluster DNS."""
PORT = 53


def implied_dns(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rule that the names in `rules` need; none if one of them is for the DNS."""
    if any(rule.dns is not None for rule in rules):
        return ()
    names = dict.fromkeys(
        DnsRule(peer.name, peer.pattern)
        for rule in rules
        for peer in rule.peers
        if isinstance(peer, FqdnPeer)
    )
    if not names:
        return ()
    return (
        Rule(
            path="implied.dns",
            direction=Direction.EGRESS,
            action=Action.ALLOW,
            peers=(LabelPeer(CLUSTER_DNS),),
            matches=(PortMatch(Protocol.UDP, PORT, PORT), PortMatch(Protocol.TCP, PORT, PORT)),
            dns=tuple(names),
            implied=True,
        ),
    )
