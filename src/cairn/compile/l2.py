"""Who answers ARP and neighbour discovery for an address of a Service, and who watches whom.

    L2 policies, nodes, the Services that claim an address  ->  the nodes that may answer
    nodes of the segment  ->  desired.routes.BfdNeighbour

Without any policy every load-balancer address inside the nodes' subnet is answered for. With one,
only what some policy selects.

Every node computes this by itself and chooses one of the candidates by hash (arp.py), so there is
no lease; nodes that are known to be dead are taken out first.

Invariants  Pure. Equal facts give every node the same candidates, but for who is alive: that each
            node sees for itself, and for less than a second two may differ.
            A node that was never heard by BFD counts as alive while it is Ready.
Standards   Cilium L2 announcements (the policy's fields)
Not here    Telling users about policies (l2_summary.py), BFD (cairn.bfd), frames (cairn.ethernet).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cairn.compile.announcements import selectable
from cairn.compile.arp import answering_node
from cairn.desired.load_balancer import Kind
from cairn.desired.routes import BfdNeighbour
from cairn.kube.l2_policy import L2Policy
from cairn.kube.load_balancer import HANDLED_CLASSES
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.service import Service
from cairn.net import Address, Network

BGP_CLASS = "io.cilium/bgp-control-plane"
"""Class of Services that ask for BGP and not for this."""
INTERVAL_MS = 200
NODES_AT_FULL_PACE = 50
"""Beyond so many neighbours the interval grows with them, so that the packets do not."""

Claims = Mapping[Key, tuple[Kind, frozenset[str]]]
"""What Services say of one address: how clients come to it, which nodes have a backend."""


def serving_node(address: Address, claims: Claims) -> str | None:
    """Return the node that answers for a load-balancer address, among all that serve it."""
    serving = (nodes for kind, nodes in claims.values() if kind is Kind.LOAD_BALANCER)
    return answering_node(address, frozenset[str]().union(*serving))


@dataclass(frozen=True, slots=True)
class L2Node:
    """One node, as far as it matters here."""

    facts: NodeFacts
    """Addresses, uplink."""
    labels: Mapping[str, str]
    """What nodeSelectors see."""
    alive: bool
    """By BFD, or by readiness if BFD never heard it."""


@dataclass(frozen=True, slots=True)
class L2View:
    """What one node knows when it decides."""

    policies: tuple[L2Policy, ...]
    """All of them; empty: the default holds."""
    nodes: Mapping[str, L2Node]
    """Every node by name."""
    networks: tuple[Network, ...]
    """Subnets of the deciding node's uplink."""

    def elect(
        self, address: Address, claims: Claims, services: Mapping[Key, Service]
    ) -> str | None:
        """Return the node that answers for `address`; None if none does."""
        return answering_node(address, self.candidates(address, claims, services))

    def candidates(
        self, address: Address, claims: Claims, services: Mapping[Key, Service]
    ) -> frozenset[str]:
        """Return the nodes that may answer for `address`: alive, on its segment, permitted."""
        network = next((network for network in self.networks if address in network), None)
        if network is None:
            return frozenset()
        segment = frozenset(
            name for name, node in self.nodes.items() if node.alive and _is_on(node, network)
        )
        found: frozenset[str] = frozenset()
        for key, (kind, serving) in claims.items():
            service = services.get(key)
            if service is not None:
                found |= _able(service, serving, segment & self.permitted(service, kind))
        return found

    def permitted(self, service: Service, kind: Kind) -> frozenset[str]:
        """Return the nodes that may answer for a Service's addresses of one kind."""
        if service.load_balancer_class not in HANDLED_CLASSES:
            return frozenset()
        if not self.policies:
            return frozenset(self.nodes) if kind is Kind.LOAD_BALANCER else frozenset()
        if service.load_balancer_class == BGP_CLASS:
            return frozenset()
        return frozenset(
            name
            for policy in self.policies
            if selects(policy, service, kind)
            for name, node in self.nodes.items()
            if admits(policy, node)
        )


def selects(policy: L2Policy, service: Service, kind: Kind) -> bool:
    """Return whether a policy is about a Service's addresses of one kind."""
    asked = policy.load_balancer_ips if kind is Kind.LOAD_BALANCER else policy.external_ips
    return asked and policy.services is not None and policy.services.matches(selectable(service))


def admits(policy: L2Policy, node: L2Node) -> bool:
    """Return whether a policy lets a node answer."""
    if policy.nodes is None or not policy.nodes.matches(node.labels):
        return False
    return policy.permits(node.facts.uplink)


def neighbours(
    own: str, sources: Sequence[Address], networks: Sequence[Network], nodes: Iterable[NodeFacts]
) -> tuple[BfdNeighbour, ...]:
    """Return the nodes to watch: those with an address in a subnet of our uplink.

    `sources` are our addresses on the uplink, `networks` their subnets in the same order.
    """
    found: list[tuple[Address, Address]] = []
    for node in nodes:
        if node.name == own:
            continue
        pair = next(
            (
                (address, source)
                for source, network in zip(sources, networks, strict=True)
                for address in node.internal_ips
                if address in network
            ),
            None,
        )
        if pair:
            found.append(pair)
    interval_ms = INTERVAL_MS * max(len(found), NODES_AT_FULL_PACE) // NODES_AT_FULL_PACE
    ordered = sorted(found, key=lambda pair: (pair[0].version, int(pair[0])))
    return tuple(BfdNeighbour(remote, source, interval_ms) for remote, source in ordered)


def _able(service: Service, serving: frozenset[str], permitted: frozenset[str]) -> frozenset[str]:
    """Return those of the permitted nodes that can serve what comes to them."""
    if service.external_traffic_policy == "Local":
        return serving & permitted
    if service.announced_everywhere:
        return permitted
    # Backends on another segment alone: any node of this one hands over to them.
    return serving & permitted or (permitted if serving else frozenset())


def _is_on(node: L2Node, network: Network) -> bool:
    return any(address in network for address in node.facts.internal_ips)
