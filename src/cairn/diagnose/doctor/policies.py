"""Policies: in force on every node as the API server has them, and no pod closed for want of one.

Facts  ->  findings of area 6
"""

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.data_plane import agent_pods
from cairn.diagnose.facts import Facts, NodeReport
from cairn.kube.policy.mark import marks_of, unlike
from cairn.kube.resource import POLICY_KINDS

TOLD = 5


def check_enforced(facts: Facts, bench: Bench) -> None:
    """Every node has the policies in force that the API server has."""
    pods = agent_pods(facts)
    objects = [obj for resource in POLICY_KINDS for obj in facts.cluster.of(resource.kind)]
    wanted = marks_of(objects)
    for node, report in facts.nodes.items():
        agent = report.agent
        bench.looked(1 + len(wanted))
        if agent.error:
            continue
        values = {"node": node, "pod": pods.get(node, "<pod>")}
        if agent.troubles:
            reason = agent.troubles[0]
            bench.found("PolicyTrouble", f"node {node}", *agent.troubles, reason=reason, **values)
        if agent.policy_marks is not None and (other := unlike(agent.policy_marks, wanted)):
            places = [f"namespace {name}" if name else "the whole cluster" for name in other]
            reason = f"it has taken up others of {', '.join(places[:TOLD])}"
            bench.found("PolicyBehind", f"node {node}", reason=reason, **values)
        elif agent.policy_waiting:
            reason = f"the policy of {agent.policy_waiting} kinds of pod waits for a proxy"
            bench.found("PolicyBehind", f"node {node}", reason=reason, **values)


def check_closed(facts: Facts, bench: Bench) -> None:
    """No pod is closed for want of its policy."""
    pods = agent_pods(facts)
    for node, report in facts.nodes.items():
        bench.looked(len(report.wired or ()))
        closed = closed_pods(report)
        if closed:
            told = ", ".join(closed[:TOLD]) + (" and others" if len(closed) > TOLD else "")
            values = {"node": node, "pods": told, "pod": pods.get(node, "<pod>")}
            bench.found("PodClosed", f"node {node}", **values)


def closed_pods(report: NodeReport) -> list[str]:
    """Return the pods whose entry is closed, by name where that is known."""
    names = {a: pod.pod for pod in report.endpoints for a in pod.addresses}
    closed = (a for a, is_closed in sorted((report.wired or {}).items()) if is_closed)
    return list(dict.fromkeys(names.get(address, address) for address in closed))
