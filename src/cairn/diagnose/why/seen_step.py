"""What was seen of the connection: the flows that nodes told of, beside what would be allowed.

    recorded flows, the compiled policies  ->  Step; a finding where the two contradict

Invariants  A flow that is older than the newest policy contradicts nothing: others judged it.
            What was seen is never told as the cause: it may be over.
"""

from collections.abc import Iterable
from datetime import datetime

from cairn.diagnose.finding import Finding
from cairn.diagnose.policy.world import POLICY_KINDS, World
from cairn.diagnose.why import kinds
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.parts import SeenFlow
from cairn.diagnose.why.policy_steps import judged
from cairn.diagnose.why.question import Question
from cairn.diagnose.why.step import Step, found, ok, skipped, warn

WINDOW_S = 300
CONTRADICTS_S = 60.0
"""What is older was judged under circumstances that nobody remembers."""
CLOCKS_S = 2.0
"""By how much clocks of nodes and API server may differ, and the second that times are cut to."""
DROPPED = frozenset({"DROPPED", "ERROR"})


def seen_step(asked: Question, facts: Facts) -> Step | None:
    """What was seen in the last minutes, and whether it is what would be."""
    if facts.flows_why:
        return skipped(f"not known: {facts.flows_why}")
    if not facts.flows:
        minutes = min(facts.flows_reach_s, WINDOW_S) / 60
        back = f"{minutes:.0f} minutes" if minutes >= 2 else f"{60 * minutes:.0f} s"
        return skipped(f"never seen in the last {back}")
    text = f"was seen: {tell_flows(facts.flows)}"
    finding = _contradiction(asked, facts)
    return warn(finding, evidence=f"{text}; {finding.cause}") if finding else ok(text)


def tell_flows(flows: Iterable[SeenFlow]) -> str:
    """Return what was forwarded and what was dropped, the latest first."""
    latest = sorted(flows, key=lambda flow: flow.age_s)
    passed = [flow for flow in latest if flow.verdict not in DROPPED]
    dropped = [flow for flow in latest if flow.verdict in DROPPED]
    told: list[tuple[float, str]] = []
    if passed:
        count = len({flow.opener for flow in passed})
        what = "1 connection" if count == 1 else f"{count} connections"
        told.append((passed[0].age_s, f"{what} forwarded, last {_ago(passed[0])}"))
    if dropped:
        first = dropped[0]
        by = f"by policy {first.policy}" if first.policy else f"for {first.reason or 'no reason'}"
        times = f" ({len(dropped)} times)" if len(dropped) > 1 else ""
        way = "" if first.forth else "the answer was "
        told.append((first.age_s, f"{way}dropped at {first.node} {by} {_ago(first)}{times}"))
    return "; ".join(text for _, text in sorted(told))


def _ago(flow: SeenFlow) -> str:
    return f"{flow.age_s:.0f} s ago" if flow.age_s < 120 else f"{flow.age_s / 60:.0f} min ago"


def _contradiction(asked: Question, facts: Facts) -> Finding | None:
    """Return the finding that what was seen is not what the policies come to, if that is so."""
    since = changed_at(facts.world) + CLOCKS_S
    fresh = [flow for flow in facts.flows if flow.at > since and flow.age_s <= CONTRADICTS_S]
    drops = [f for f in fresh if f.verdict in DROPPED and f.policy]
    begun = [f for f in fresh if f.verdict not in DROPPED and f.begins and f.forth]
    last = min((*drops, *begun), key=lambda flow: flow.age_s, default=None)
    traces = judged(asked, facts) if last is not None else ()
    if last is None or not traces:
        return None
    allowed = [all(side.allowed for side in trace.sides) for trace in traces]
    values = {
        "client": asked.client.text,
        "target": asked.target.text,
        "node": last.node,
        "ago": _ago(last),
        "policy": last.policy,
    }
    subject = f"node {last.node}"
    if last.verdict in DROPPED and all(allowed):
        return found(kinds.DROPPED_YET, subject, values)
    if last.verdict not in DROPPED and not any(allowed):
        return found(kinds.FORWARDED_YET, subject, values)
    return None


def changed_at(world: World) -> float:
    """Return when a policy was last made or written to, in unix time; 0 if that is not known."""
    latest = 0.0
    for name, obj in world.objects.items():
        if name.kind in POLICY_KINDS:
            metadata = obj.get("metadata") or {}
            times = [metadata.get("creationTimestamp")]
            times += [one.get("time") for one in metadata.get("managedFields") or ()]
            latest = max((latest, *(_unix(str(text)) for text in times if text)))
    return latest


def _unix(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
