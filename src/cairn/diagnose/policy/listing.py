"""The policies of a World, one row each: state, whom they select, what they close, what is used.

World, uses of rules  ->  PolicyRow, RuleRow
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cairn.diagnose.policy.ends import pod_end
from cairn.diagnose.policy.layer7 import spell_http
from cairn.diagnose.policy.miss import spell_match, spell_selector
from cairn.diagnose.policy.world import POLICY_KINDS, World
from cairn.kube.policy.rule import (
    CidrPeer,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    LabelPeer,
    NodePeer,
    Peer,
    Policy,
    PolicyRef,
    Rule,
    RuleRef,
    ServicePeer,
    Tier,
)
from cairn.kube.policy.trial import UNTIL


@dataclass(frozen=True, slots=True)
class Uses:
    """What a rule did since its agents started, over all nodes."""

    allowed: int = 0
    """Connections that it let through."""
    denied: int = 0
    """Packets that it dropped."""
    audited: int = 0
    """Connections that it would have decided otherwise, in audit mode."""


Used = Mapping[RuleRef, Uses]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule."""

    path: str
    """Where it stands in the spec."""
    direction: str
    """ingress or egress."""
    action: str
    """allow, deny or pass."""
    peers: str
    """Who is at the other end."""
    at: str
    """Ports, and what is asked there."""
    implied: bool
    """Whether it is not written."""
    uses: Uses | None
    """What it did; None if nobody said."""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One policy."""

    kind: str
    namespace: str
    name: str
    state: str
    """enforced, disabled, audit, or invalid with the reason."""
    pods: int
    """How many pods it selects; nodes for a policy of nodes."""
    about: str
    """pods or nodes."""
    isolates: tuple[str, ...]
    """Directions that it closes."""
    tier: str
    """admin, normal or baseline."""
    rules: tuple[RuleRow, ...]
    """As written, then the implied ones."""
    uses: Uses | None
    """Of all its rules and its default deny; None if nobody said."""

    @property
    def unused(self) -> tuple[str, ...]:
        """Rules that are written and never did anything."""
        return tuple(
            row.path
            for row in self.rules
            if row.uses is not None and not row.implied and row.uses == Uses()
        )


def list_policies(world: World, used: Used | None) -> list[PolicyRow]:
    """Return a row for each policy, the invalid ones among them."""
    order = {kind: place for place, kind in enumerate(POLICY_KINDS)}
    rows = [
        PolicyRow(*ref, f"invalid: {error.path}: {error.reason}", 0, "pods", (), "", (), None)
        for ref, error in world.invalid.items()
    ]
    pods = [pod for pod in world.pods.values() if not pod.workload.host_network]
    # In files there are none yet: those that their workloads would make are counted.
    existing = [pod for pod in pods if pod.exists] or pods
    labels = [pod_end(world, pod).labels for pod in existing]
    rows += [_row(world, policy, labels, used) for policy in world.policies.values()]
    return sorted(rows, key=lambda r: (order[r.kind], r.namespace, r.name))


def _row(
    world: World, policy: Policy, labels: list[Mapping[str, str]], used: Used | None
) -> PolicyRow:
    if policy.subject is not None:
        count, about = sum(map(policy.subject.matches, labels)), "pods"
    else:
        nodes = [node.metadata.labels for node in world.nodes.values()]
        count, about = sum(map(policy.nodes.matches, nodes)) if policy.nodes else 0, "nodes"
    return PolicyRow(
        *policy.ref,
        _state(world, policy),
        count,
        about,
        tuple(sorted(direction.value for direction in policy.isolates)),
        Tier(policy.tier).name.lower(),
        tuple(_rule(policy.ref, rule, used) for rule in policy.rules),
        _sum(policy.ref, used) if used is not None else None,
    )


def _state(world: World, policy: Policy) -> str:
    if policy.disabled:
        return "disabled"
    state = "audit" if policy.audit else "enforced"
    until = world.annotation(policy.ref, UNTIL)
    return f"{state}, on trial until {until}" if until else state


def _sum(ref: PolicyRef, used: Used) -> Uses:
    own = [uses for rule, uses in used.items() if rule.policy == ref]
    return Uses(
        sum(uses.allowed for uses in own),
        sum(uses.denied for uses in own),
        sum(uses.audited for uses in own),
    )


def _rule(ref: PolicyRef, rule: Rule, used: Used | None) -> RuleRow:
    at = ", ".join(map(spell_match, rule.matches)) or "every port"
    if rule.http is not None:
        at += "; HTTP " + (", ".join(map(spell_http, rule.http)) or "nothing")
    if rule.dns is not None:
        at += "; DNS " + (", ".join(r.name or r.pattern for r in rule.dns) or "nothing")
    if rule.server_names:
        at += "; TLS " + ", ".join(rule.server_names)
    if rule.rate is not None:
        whom = "in all" if rule.rate.total else "of each source"
        at += f"; {rule.rate.per_second} new a second {whom}"
    return RuleRow(
        rule.path,
        rule.direction.value,
        rule.action.value,
        " or ".join(map(spell_peer, rule.peers)) or "everyone",
        at,
        rule.implied,
        used.get(RuleRef(ref, rule.path), Uses()) if used is not None else None,
    )


def spell_peer(peer: Peer) -> str:
    """Return a peer in a few words."""
    match peer:
        case LabelPeer(selector):
            return f"pods with {spell_selector(selector)}"
        case EntityPeer(entity):
            return entity
        case CidrPeer():
            return f"{peer.network}" + _excepted(peer.excepts)
        case GroupPeer():
            return f"group {peer.name or peer.selector}" + _excepted(peer.excepts)
        case NodePeer(selector):
            return f"nodes with {selector}"
        case FqdnPeer():
            return peer.name or peer.pattern
        case ServicePeer():
            return f"Service {peer.namespace}/{peer.name or peer.selector}"


def _excepted(networks: tuple[object, ...]) -> str:
    return f" without {', '.join(map(str, networks))}" if networks else ""
