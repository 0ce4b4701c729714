"""How a policy object stands: enforced, recorded only, out of force, or not understood.

    object  ->  Standing(state, policies, error, findings)

Invariants  Says what the object asks for; whether each node has it in force, the node says.
"""

from dataclasses import dataclass
from enum import StrEnum

from cairn.kube.finding import Finding
from cairn.kube.metadata import Object
from cairn.kube.policy.mode import MODE_FINDINGS
from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import (
    NAMESPACE,
    NAMESPACE_LABEL,
    Direction,
    InvalidPolicy,
    Policy,
)
from cairn.kube.selector import Operator, Requirement, Selector


class State(StrEnum):
    """What becomes of a policy."""

    ENFORCED = "enforced"
    AUDIT = "audit"
    """Its verdicts are recorded only."""
    DISABLED = "disabled"
    """It is out of force while its annotation stands."""
    INVALID = "invalid"
    """It is not understood; what was in force of it before stays."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one object stands."""

    state: State
    """In one word."""
    policies: tuple[Policy, ...] = ()
    """As read; empty if it is invalid."""
    error: str = ""
    """What is not understood: the field, and what may stand there."""
    findings: tuple[Finding, ...] = ()
    """What its author should know, each once."""

    @property
    def subject(self) -> str:
        """What it is about, in short."""
        return "; ".join(dict.fromkeys(_subject(policy) for policy in self.policies))

    @property
    def directions(self) -> str:
        """Directions that it closes or has rules for."""
        named = {direction for policy in self.policies for direction in policy.isolates}
        named |= {r.direction for p in self.policies for r in p.rules if not r.implied}
        return ", ".join(direction.value for direction in Direction if direction in named)

    @property
    def advice(self) -> tuple[Finding, ...]:
        """The findings without the state, which stands by itself."""
        return tuple(finding for finding in self.findings if finding not in MODE_FINDINGS)


def standing_of(obj: Object) -> Standing:
    """Return how a policy of any kind stands."""
    try:
        policies = read_policies(obj)
    except InvalidPolicy as error:
        return Standing(State.INVALID, error=str(error))
    state = State.ENFORCED
    if any(policy.disabled for policy in policies):
        state = State.DISABLED
    elif any(policy.audit for policy in policies):
        state = State.AUDIT
    found = dict.fromkeys(finding for policy in policies for finding in policy.findings)
    return Standing(state, policies, findings=tuple(found))


def _subject(policy: Policy) -> str:
    if policy.nodes is not None:
        return f"nodes {_spell(policy.nodes)}" if policy.nodes.requirements else "all nodes"
    own = Requirement(NAMESPACE, Operator.IN, frozenset({policy.ref.namespace}))
    asked = policy.subject.requirements if policy.subject is not None else ()
    rest = Selector(tuple(each for each in asked if each != own))
    return _spell(rest) if rest.requirements else "all pods"


def _spell(selector: Selector) -> str:
    return str(selector).replace(NAMESPACE_LABEL, "namespace:").replace(NAMESPACE, "namespace")
