"""The steps on the nodes: whether they live, serve what the objects say, choose alike, hand over.

Question, Facts  ->  Step
"""

from cairn.compile.services import compile_service
from cairn.desired.load_balancer import Frontend
from cairn.diagnose.finding import Finding
from cairn.diagnose.why import kinds
from cairn.diagnose.why.address_steps import OUTSIDE_KINDS
from cairn.diagnose.why.bgp_steps import announcing, routed
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import (
    condition,
    container_ready,
    daemon_name,
    daemon_pod,
    listed,
    not_ready_nodes,
    pod_trouble,
)
from cairn.diagnose.why.parts import NodePart
from cairn.diagnose.why.question import Question, Role
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, unknown, warn
from cairn.kube.node import ejections_of
from cairn.net import L4Address
from cairn.observe.lb_view import name_of


def concerned(asked: Question, facts: Facts) -> list[str]:
    """Return the nodes that the connection may touch: first those that cannot be done without."""
    first = [party.node for party in (asked.client, asked.target) if party.node]
    others: set[str] = set()
    if asked.service is not None:
        frontend = wanted(asked, facts)
        others = {b.node for b in frontend.active if b.node} if frontend else set()
        if not asked.client.inside:
            others |= announcing(asked, facts) if asked.address else set()
    return list(dict.fromkeys([*first, *sorted(others)]))


def wanted(asked: Question, facts: Facts) -> Frontend | None:
    """Return the frontend that is asked for, as the objects compile to it."""
    service = asked.service
    if service is None or asked.address is None or asked.at is None:
        return None
    state = compile_service(service, facts.world.slices.get(service.key, ()))
    return state.get(L4Address(asked.address, asked.protocol, asked.at))


def node_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the nodes on the way are Ready and their agents answer."""
    names = concerned(asked, facts)
    if not names:
        return None
    down = not_ready_nodes(facts.world)
    findings = [finding for name in names for finding in _node(facts, name, down)]
    vital = {party.node for party in (asked.client, asked.target) if party.node}
    if not findings:
        return ok(f"{listed(names, 8)}: Ready, and the agents answer")
    line = f"of {listed(names, 8)}: {findings[0].cause}"
    dead = {f.values["node"] for f in findings if f.kind is kinds.NODE_DOWN}
    if dead & vital or set(names) <= dead:
        return broken(*findings, evidence=line)
    return warn(*findings, evidence=line)


def _node(facts: Facts, name: str, down: dict[str, str]) -> list[Finding]:
    values: dict[str, object] = {"node": name, "pod": daemon_name(facts.world, name)}
    if name in down:
        return [found(kinds.NODE_DOWN, f"node {name}", values | {"reason": down[name]})]
    pod = daemon_pod(facts.world, name)
    if pod is None:
        values["reason"] = "there is no pod of it"
        return [found(kinds.AGENT_DEAD, f"node {name}", values)]
    if condition(pod, "Ready").get("status") != "True" and not container_ready(pod, "agent"):
        values["reason"] = pod_trouble(pod).text
        return [found(kinds.AGENT_DEAD, f"node {name}", values)]
    part = facts.nodes.get(name)
    if part is None:
        reason = facts.silent.get(name)
        values["reason"] = reason
        if reason and (lost := _lost_by(facts, name)):
            values |= {"node": lost[0], "peer": name, "address": lost[1]}
            return [found(kinds.PEER_SILENT, f"node {name}", values, f"its agent: {reason}")]
        return [found(kinds.NODE_UNASKED, f"node {name}", values)] if reason else []
    if part.agent:
        return [found(kinds.AGENT_SILENT, f"node {name}", values | {"reason": part.agent})]
    return []


def _lost_by(facts: Facts, name: str) -> tuple[str, str] | None:
    """Return who no longer hears a node by BFD or ARP, and at which of its addresses."""
    known = facts.world.nodes.get(name)
    own = {str(address) for address in known.internal_ips} if known else set()
    for other, part in sorted(facts.nodes.items()):
        failed = {a for a, neighbour in part.neighbours.items() if neighbour.lost}
        if gone := sorted(own & ({*part.lost} | failed)):
            return other, gone[0]
    return None


def data_plane_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the nodes' maps hold what the objects compile to."""
    frontend = wanted(asked, facts)
    if frontend is None:
        return None if asked.service is None else skipped("there is nothing to serve")
    if not facts.nodes:
        return unknown("no node could be asked")
    where = f"{asked.frontend}/{asked.protocol.name}"
    should = {name_of(b.address.address, b.address.port) for b in frontend.active}
    dead = {
        name_of(where.address, where.port)
        for node in facts.world.of_kind("CiliumNode")
        for where in ejections_of(node)
    }
    findings = []
    for name in _on_the_way(asked, facts):
        what = _drift(facts.nodes[name], should, dead)
        if what:
            values = {"node": name, "where": where, "what": what}
            values["pod"] = daemon_name(facts.world, name)
            findings.append(found(kinds.STALE_DATA_PLANE, f"{where} on {name}", values))
    asked_nodes = _on_the_way(asked, facts)
    if not findings:
        return ok(f"{where} has {len(should)} backends on {listed(asked_nodes, 8)}, as desired")
    if len(findings) == len(asked_nodes) or asked.client.inside:
        return broken(*findings)
    return warn(*findings)


def _on_the_way(asked: Question, facts: Facts) -> list[str]:
    """Return the nodes that were asked and take the client's packets."""
    if asked.client.inside and asked.client.node in facts.nodes:
        return [asked.client.node]
    return sorted(facts.nodes)


def _drift(part: NodePart, should: set[str], dead: set[str]) -> str:
    if part.error:
        return part.error
    if not part.served:
        return "it is not in its maps"
    if not part.shares:
        return "" if part.ready == len(should) else f"{part.ready} backends, not {len(should)}"
    # Those that their nodes' own checks took out are told with the Service's readiness.
    lacking, surplus = sorted(should - set(part.shares) - dead), sorted(set(part.shares) - should)
    texts = [f"{listed(lacking)} is missing"] if lacking else []
    texts += [f"{listed(surplus)} should be gone"] if surplus else []
    return "; ".join(texts)


def maglev_step(asked: Question, facts: Facts) -> Step | None:
    """Which backend the client gets, and whether all nodes choose alike."""
    if asked.service is None or asked.kind not in OUTSIDE_KINDS or not facts.nodes:
        return None
    tables = {name: part for name, part in sorted(facts.nodes.items()) if part.digest}
    if not tables:
        return skipped("no node has a table for it")
    digests = {part.digest for part in tables.values()}
    if len(digests) > 1 and not asked.client.inside:
        most = max(digests, key=lambda d: sum(p.digest == d for p in tables.values()))
        other = [name for name, part in tables.items() if part.digest != most]
        same = [name for name, part in tables.items() if part.digest == most]
        values = {"nodes": listed(other), "where": asked.frontend, "others": listed(same)}
        return warn(found(kinds.NODES_DISAGREE, f"frontend {asked.frontend}", values))
    part = next(iter(tables.values()))
    if part.chosen:
        return ok(f"{asked.client.text} gets {part.chosen}, on every node")
    total = sum(part.shares.values()) or 1
    shares = [f"{b} {100 * n // total} %" for b, n in part.shares.items()]
    return ok(f"by the client's port, alike on every node: {listed(shares, 4)}")


def hand_over_step(asked: Question, facts: Facts) -> Step | None:
    """Whether nodes without the backend can pass packets on."""
    if not routed(asked, facts) or asked.service is None:
        return None
    frontend = wanted(asked, facts)
    serving = sorted({b.node for b in frontend.active if b.node}) if frontend else []
    if not serving:
        return skipped("no node has a backend")
    macs = {
        str((node.get("metadata") or {}).get("name")): bool(
            ((node.get("metadata") or {}).get("annotations") or {}).get("cairn.io/uplink-mac")
        )
        for node in facts.world.of_kind("CiliumNode")
    }
    findings = []
    for name in serving:
        if not macs.get(name):
            reason = "its agent has not told its Ethernet address"
            values = {"node": "every other node", "other": name, "reason": reason}
            findings.append(found(kinds.HAND_OVER_UNKNOWN, f"node {name}", values))
    if findings:
        return (warn if len(findings) < len(serving) else broken)(*findings)
    return ok(f"the nodes know the Ethernet addresses of {listed(serving, 8)}")


def connection_step(asked: Question, facts: Facts) -> Step | None:
    """What connections of this client the nodes remember."""
    if asked.client.role is Role.NAME:
        return None
    rows = [(name, row) for name, part in sorted(facts.nodes.items()) for row in part.connections]
    served = [(name, row) for name, row in rows if not row.handed_over]
    if served:
        name, row = served[0]
        text = f"seen: {len(served)} connections; {row.client} to {row.backend} on {name} is "
        text += f"{row.state}, {row.packets} packets and {row.answer_packets} answers, "
        return ok(f"{text}{row.idle_s} s ago")
    if rows:
        return ok(f"seen: handed over by {rows[0][0]}, with no answer that passes there")
    return skipped(f"no connection of {asked.client.text} is remembered")
