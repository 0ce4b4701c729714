"""The steps on the wire: the client's own way out, and who answers ARP and ND.

Question, Facts  ->  Step
"""

from collections.abc import Mapping

from cairn.diagnose.finding import Finding
from cairn.diagnose.l2 import answering_nodes
from cairn.diagnose.why import kinds
from cairn.diagnose.why.address_steps import OUTSIDE_KINDS
from cairn.diagnose.why.bgp_steps import on_link, peers_of, routed, uplink_networks
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import not_ready_nodes
from cairn.diagnose.why.parts import Neighbour
from cairn.diagnose.why.question import Question
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, unknown, warn


def client_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the client's host has a way to the target."""
    host = facts.host
    if asked.client.inside:
        return None
    if host is None:
        return unknown(f"{asked.client.text} is not asked: {facts.host_why}")
    values: dict[str, object] = {"client": asked.client.text, "address": asked.address}
    if host.down:
        values |= {"link": host.down, "node": asked.client.text, "state": "down: no carrier"}
        return broken(found(kinds.LINK_DOWN, f"host {asked.client.text}", values))
    if asked.address is None:
        return skipped("there is no address to go to")
    if not host.routed:
        return broken(found(kinds.NO_CLIENT_ROUTE, f"host {asked.client.text}", values))
    if not host.gateway:
        return ok(f"{asked.address} is on the link of {asked.client.text}: it asks by ARP or ND")
    neighbour = host.neighbours.get(host.gateway)
    if _gone(neighbour, facts):
        values["address"] = host.gateway
        return broken(found(kinds.GATEWAY_SILENT, f"host {asked.client.text}", values))
    known = f", known at {neighbour.mac}" if neighbour and neighbour.mac else ""
    if asked.service is not None and _same_subnet(asked, facts):
        reason = "both are in the nodes' subnet"
        values |= {"gateway": host.gateway, "node": "a node", "reason": reason}
        values["mend"] = f"ip route replace {asked.address} dev LINK (on {asked.client.text})"
        return warn(found(kinds.ASYMMETRIC, f"host {asked.client.text}", values))
    return ok(f"{asked.client.text} sends it to {host.gateway}{known}")


def way_back_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the nodes answer by the way that requests come."""
    if not routed(asked, facts) or not asked.client.addresses:
        return None
    back = {name: part.back for name, part in sorted(facts.nodes.items()) if part.back}
    peers = {peer.address for _, peer in peers_of(facts)}
    strange = {name: hop for name, hop in back.items() if peers and hop not in peers}
    if not back:
        return unknown("no node said by which way it answers")
    if not strange:
        return ok(f"{', '.join(back)} answer by {', '.join(sorted(set(back.values())))}")
    findings = []
    for name, hop in strange.items():
        reason = f"its route to {asked.client.text} goes by {hop}, which is no router of ours"
        values: dict[str, object] = {"client": asked.client.text, "address": asked.address}
        values |= {"gateway": ", ".join(sorted(peers)), "node": name, "reason": reason}
        values["mend"] = f"ip route get {asked.client.addresses[0]} (on {name})"
        findings.append(found(kinds.ASYMMETRIC, f"node {name}", values))
    return warn(*findings)


def _same_subnet(asked: Question, facts: Facts) -> bool:
    """Return whether nodes reach the client without the router that it sends to."""
    return any(c in n for n in uplink_networks(facts) for c in asked.client.addresses)


def _gone(neighbour: Neighbour | None, facts: Facts) -> bool:
    """Return whether nobody answers: to a probe that failed, an entry in doubt says so too."""
    failed = facts.probe is not None and not facts.probe.connected
    return neighbour is not None and (
        neighbour.lost or (failed and neighbour.state in ("probe", "delay"))
    )


def on_link_step(asked: Question, facts: Facts) -> Step | None:
    """Whether a node answers a client of the address's own subnet."""
    service = asked.service
    if service is None or asked.client.inside or asked.kind not in OUTSIDE_KINDS:
        return None
    if asked.address is None or not on_link(asked, facts):
        return None
    answering = answering_nodes(facts.world.of_kind("CiliumNode")).get(str(asked.address), ())
    neighbour = facts.host.neighbours.get(str(asked.address)) if facts.host else None
    values: dict[str, object] = {"address": asked.address, "service": service.key}
    if not answering:
        made = found(kinds.ON_LINK, f"address {asked.address}", values)
        return broken(made, evidence=f"{made.cause}: {asked.client.text} is in its subnet")
    if _gone(neighbour, facts):
        values |= {"node": asked.client.text, "owner": f"answered for by {', '.join(answering)}"}
        return broken(found(kinds.NEIGHBOUR_LOST, f"host {asked.client.text}", values))
    known = f"; {asked.client.text} has it at {neighbour.mac}" if neighbour else ""
    return ok(f"{', '.join(answering)} answers ARP and ND for {asked.address}{known}")


def neighbour_step(asked: Question, facts: Facts) -> Step | None:
    """Whether router and nodes find each other's Ethernet addresses."""
    if asked.service is None or asked.address is None:
        return None
    if asked.client.inside and not facts.nodes:
        return None
    lost = list(_lost(facts, through_router=routed(asked, facts)))
    if lost:
        # A node that is down explains that it does not answer.
        down = not_ready_nodes(facts.world)
        owners = _owners(facts)
        dead = [f for f in lost if owners.get(f.values["address"], "") in down]
        if len(dead) == len(lost):
            return skipped(f"{lost[0].cause}: that node is not Ready")
        held = set(facts.router.gateways or ()) if facts.router else set()
        at_router = {f.values["address"] for f in lost if f.values["node"] == "the router"}
        everything = bool(held) and held <= at_router
        return (broken if everything else warn)(*[f for f in lost if f not in dead])
    known = facts.router.neighbours if facts.router else {}
    own = [a for a in _owners(facts) if a in known]
    told = f"the router knows {len(own)} nodes" if own else "no neighbour is unresolved"
    return ok(told)


def _lost(facts: Facts, *, through_router: bool) -> list[Finding]:
    tables: list[tuple[str, Mapping[str, Neighbour]]] = [
        (node, part.neighbours) for node, part in sorted(facts.nodes.items())
    ]
    if through_router and facts.router is not None:
        tables.insert(0, ("the router", facts.router.neighbours))
    owners = _owners(facts)
    return [
        found(
            kinds.NEIGHBOUR_LOST,
            f"neighbour {address} of {who}",
            {"node": who, "address": address, "owner": owners[address]},
        )
        for who, table in tables
        for address, neighbour in sorted(table.items())
        if neighbour.lost and address in owners
    ]


def _owners(facts: Facts) -> dict[str, str]:
    return {
        str(address): name
        for name, node in facts.world.nodes.items()
        for address in node.internal_ips
    }
