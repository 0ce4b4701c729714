"""The last steps: the application's own answer, and a real connection.

Question, Facts  ->  Step
"""

from cairn.diagnose.finding import Finding
from cairn.diagnose.why import kinds
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.node_steps import wanted
from cairn.diagnose.why.objects import listed, pod_at
from cairn.diagnose.why.question import Question, Role
from cairn.diagnose.why.service_steps import wrong_target_port
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, unknown, warn
from cairn.net import Protocol, parse_address
from cairn.observe.lb_rows import name_of

REFUSED = "refused"
PAYLOAD_BYTES = 1472


def places(asked: Question, facts: Facts) -> dict[str, str]:
    """Return where the application is asked, ADDRESS:PORT, with the node that asks."""
    if asked.protocol is not Protocol.TCP:
        return {}
    if asked.service is not None:
        frontend = wanted(asked, facts)
        return {
            name_of(b.address.address, b.address.port): b.node
            for b in (frontend.active if frontend else ())
            if b.node
        }
    if asked.target.role is Role.POD and asked.at is not None and asked.target.addresses:
        return {name_of(asked.target.addresses[0], asked.at): asked.target.node}
    return {}


def application_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the pods answer their own nodes."""
    if asked.service is None and asked.target.role is not Role.POD:
        return None
    if asked.protocol is not Protocol.TCP:
        return skipped(f"{asked.protocol.name} has no answer that would tell")
    where = places(asked, facts)
    if not where:
        return skipped("there is no pod to ask")
    said = {
        place: facts.nodes[node].tried[place]
        for place, node in where.items()
        if node in facts.nodes and place in facts.nodes[node].tried
    }
    if not said:
        return unknown("no node could ask its pods")
    failed = {place: why for place, why in said.items() if why}
    if not failed:
        return ok(f"{listed(sorted(said))} accept connections from their own nodes")
    findings = _failed(asked, facts, failed)
    line = f"{len(failed)} of {len(said)} pods do not answer their own nodes; {findings[0].cause}"
    return (broken if len(failed) == len(said) else warn)(*findings, evidence=line)


def _failed(asked: Question, facts: Facts, failed: dict[str, str]) -> list[Finding]:
    findings = []
    for place, why in sorted(failed.items()):
        host, _, port = place.rpartition(":")
        key = pod_at(facts.world, parse_address(host.strip("[]")))
        if REFUSED in why and asked.service is not None:
            return [wrong_target_port(facts, asked.service, int(port), f"{place}: {why}")]
        values: dict[str, object] = {"pod": f"pod {key or host}", "port": port, "reason": why}
        values |= {"namespace": key.namespace if key else "", "name": key.name if key else ""}
        kind = kinds.REFUSED if REFUSED in why else kinds.SILENT
        findings.append(found(kind, f"pod {key or host}", values))
    return findings


def probe_step(asked: Question, facts: Facts) -> Step | None:
    """Whether a real connection succeeds, small and with large packets."""
    probe = facts.probe
    if probe is None:
        return None
    target = asked.frontend or asked.target.text
    if not probe.connected and REFUSED in probe.said.lower() and asked.service is None:
        refused = {"target": asked.target.text, "port": asked.at}
        return broken(found(kinds.NOTHING_LISTENS, f"host {asked.target.text}", refused))
    if not probe.connected:
        failed = {"client": probe.where, "target": target, "reason": probe.said}
        return broken(found(kinds.PROBE_FAILED, f"{asked.client.text} to {target}", failed))
    if probe.large:
        values: dict[str, object] = {"node": probe.where, "peer": target}
        values |= {"size": PAYLOAD_BYTES + 28}
        values |= {"passed": probe.large, "payload": PAYLOAD_BYTES, "address": asked.address}
        return broken(found(kinds.MTU_HOLE, f"{asked.client.text} to {target}", values))
    return ok(f"tried: from {probe.where}: {probe.said}")
