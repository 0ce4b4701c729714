"""The walk: every step in its order, the first cause, and one sentence at the end.

    Question, Facts  ->  Walk

Invariants  A step that is broken because an earlier one is says so, and is never the cause.
            What could not be looked at is never told as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cairn.diagnose.finding import Finding, Weight
from cairn.diagnose.why.address_steps import address_step, pool_step
from cairn.diagnose.why.application_steps import application_step, probe_step
from cairn.diagnose.why.bgp_steps import announcement_step, session_step
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.link_steps import client_step, neighbour_step, on_link_step, way_back_step
from cairn.diagnose.why.name_steps import name_step
from cairn.diagnose.why.node_steps import (
    connection_step,
    data_plane_step,
    hand_over_step,
    maglev_step,
    node_step,
)
from cairn.diagnose.why.policy_steps import learnt_step, name_policy_step, policy_step, proxy_step
from cairn.diagnose.why.question import Question
from cairn.diagnose.why.route_steps import route_step
from cairn.diagnose.why.seen_step import seen_step
from cairn.diagnose.why.service_steps import (
    endpoint_step,
    readiness_step,
    selector_step,
    service_step,
)
from cairn.diagnose.why.step import Outcome, Step

Look = Callable[[Question, Facts], Step | None]
"""Looks at one thing; None: it is not on this way."""


@dataclass(frozen=True, slots=True)
class Row:
    """One step of every walk."""

    name: str
    """What it is called."""
    look: Look
    after: tuple[str, ...] = ()
    """Steps that explain it when they are broken."""


_SERVED = ("Service", "selector", "endpoints", "readiness")
_ADDRESSED = ("pool", "address")
_ANNOUNCED = (*_SERVED, *_ADDRESSED, "announcement", "session")
STEPS: tuple[Row, ...] = (
    Row("name policy", name_policy_step),
    Row("name", name_step, ("name policy",)),
    Row("client", client_step),
    Row("Service", service_step),
    Row("selector", selector_step, ("Service",)),
    Row("endpoints", endpoint_step, ("Service", "selector")),
    Row("readiness", readiness_step, ("selector", "endpoints")),
    Row("pool", pool_step),
    Row("address", address_step, ("pool",)),
    Row("node", node_step),
    Row("ARP/ND of the address", on_link_step, (*_SERVED, *_ADDRESSED, "node")),
    Row("announcement", announcement_step, (*_SERVED, *_ADDRESSED)),
    Row("session", session_step, ("node",)),
    Row("route", route_step, _ANNOUNCED),
    Row("ARP/ND", neighbour_step, ("node",)),
    Row("way back", way_back_step, ("node",)),
    Row("data plane", data_plane_step, ("Service", "pool", "node")),
    Row("Maglev", maglev_step, (*_SERVED, "pool", "data plane")),
    Row("hand-over", hand_over_step, (*_SERVED, "node")),
    Row("policy", policy_step, ("name policy", "name")),
    Row("names learnt", learnt_step, ("policy",)),
    Row("proxy", proxy_step, ("policy", "node")),
    Row("application", application_step, (*_SERVED, "node")),
    Row("connections", connection_step),
    Row("flows", seen_step),
)
"""In the order of a walk."""
PROBE = Row("probe", probe_step, tuple(row.name for row in STEPS))
"""Comes last: whatever is broken explains it."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The whole way."""

    question: Question
    steps: tuple[Step, ...]
    cause: Finding | None
    """What keeps the client from the target; None if nothing is found that does."""
    findings: tuple[Finding, ...]
    """The cause first, then what else is wrong, by weight."""
    works: bool
    """Whether nothing on the way is broken."""

    @property
    def sentence(self) -> str:
        """The end of the walk."""
        names = f"{self.question.client.text} reaches {self.question.target.text}"
        if self.cause is not None:
            return f"{self.cause.cause}."
        unknown = [step.name for step in self.steps if step.outcome is Outcome.UNKNOWN]
        told = f" (not looked at: {', '.join(unknown)})" if unknown else ""
        if self.findings:
            return f"{names}, and not as it should{told}: {self.findings[0].cause}."
        return f"{names}: nothing on the way is wrong{told}."

    @property
    def mend(self) -> str:
        """The command that mends it; empty if there is nothing to mend."""
        return self.findings[0].mend if self.findings else ""


def walk(question: Question, facts: Facts) -> Walk:
    """Walk from the client to the target."""
    done: dict[str, Step] = {}
    for row in (*STEPS, PROBE):
        step = row.look(question, facts)
        if step is not None:
            done[row.name] = replace(step, name=row.name, follows=_follows(row, step, done))
    steps = _excused_by_probe(tuple(done.values()))
    broken = [step for step in steps if step.outcome is Outcome.BROKEN]
    causes = [step for step in broken if not step.follows]
    cause = next((step.findings[0] for step in causes if step.findings), None)
    others = [
        finding
        for step in steps
        if step.outcome in (Outcome.BROKEN, Outcome.WARN)
        for finding in step.findings
        if finding is not cause
    ]
    late = {id(f) for step in broken if step.follows for f in step.findings}
    others.sort(key=lambda finding: (id(finding) in late, -finding.kind.weight))
    findings = _distinct([cause, *others] if cause else others)
    works = facts.probe.connected and not facts.probe.large if facts.probe else not broken
    return Walk(question, steps, cause, findings, works)


def _follows(row: Row, step: Step, done: Mapping[str, Step]) -> str:
    """Return the earlier step that explains this one, if it is broken."""
    if step.outcome is not Outcome.BROKEN:
        return ""
    for name in row.after:
        before = done.get(name)
        if before is not None and before.outcome is Outcome.BROKEN:
            return before.follows or name
    return ""


def _excused_by_probe(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps: a probe that fails where only warnings are makes the first the cause."""
    probe = steps[-1] if steps and steps[-1].name == PROBE.name else None
    if probe is None or probe.outcome is not Outcome.BROKEN or probe.follows:
        return steps
    if "MtuBlackHole" in {finding.kind.name for finding in probe.findings}:
        return steps
    for at, step in enumerate(steps[:-1]):
        heavy = [f for f in step.findings if f.kind.weight is Weight.ERROR]
        if step.outcome is Outcome.WARN and heavy:
            worse = replace(step, outcome=Outcome.BROKEN, findings=tuple(heavy))
            end = replace(probe, follows=step.name)
            return (*steps[:at], worse, *steps[at + 1 : -1], end)
    return steps


def _distinct(findings: list[Finding]) -> tuple[Finding, ...]:
    made: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        made.setdefault((finding.kind.code, finding.subject), finding)
    return tuple(made.values())
