"""Which flows `cairn why` asks the nodes for, and what they said together.

    Question, Facts  ->  FlowsQuestion;  NodeParts  ->  SeenFlows, the latest first

What the agents remember is asked for, and not the relay's history: it is there at once, also where
no relay runs, and the nodes on the way are asked anyway.
"""

from collections.abc import Mapping

from cairn.cli.why_question import FlowsQuestion
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.node_steps import wanted
from cairn.diagnose.why.parts import NodePart, SeenFlow
from cairn.diagnose.why.question import Question, Role
from cairn.diagnose.why.seen_step import WINDOW_S


def flows_question(asked: Question, facts: Facts) -> FlowsQuestion:
    """Return which flows are between client and target."""
    targets = dict.fromkeys(map(str, asked.target.addresses))
    ports = {asked.at} if asked.at else set()
    if asked.address is not None:
        targets[str(asked.address)] = None
    frontend = wanted(asked, facts)
    for backend in frontend.backends if frontend else ():
        targets[str(backend.address.address)] = None
        ports.add(backend.address.port)
    names = (asked.target.name,) if asked.target.role is Role.NAME else ()
    return FlowsQuestion(
        tuple(map(str, asked.client.addresses)) if targets or names else (),
        tuple(targets),
        names,
        tuple(sorted(ports)),
        asked.protocol.name,
        WINDOW_S,
    )


def seen(
    nodes: Mapping[str, NodePart], silent: Mapping[str, str]
) -> tuple[tuple[SeenFlow, ...], str, float]:
    """Return the flows, why none can be known, and how far back they are."""
    parts = [part for part in nodes.values() if part.flows is not None]
    if not parts:
        who = ", ".join(silent or nodes) or "no node"
        return (), f"no agent tells of flows ({who}); cairn flows asks the relay", 0.0
    flows = [flow for part in parts for flow in part.flows or ()]
    flows.sort(key=lambda flow: flow.age_s)
    return tuple(flows), "", min(part.flows_reach_s for part in parts)
