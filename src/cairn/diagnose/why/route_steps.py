"""The router's route: whether it has one, by all nodes that announce, in its kernel.

    Question, Facts  ->  Step

Not here    Announcements and sessions (bgp_steps)
"""

from collections.abc import Iterator, Mapping

from cairn.diagnose.finding import Finding
from cairn.diagnose.why import kinds
from cairn.diagnose.why.bgp_steps import ESTABLISHED, announcing, peers_of, routed
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import listed
from cairn.diagnose.why.parts import RouterPart
from cairn.diagnose.why.question import Question
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, unknown, warn

FORWARDS = "1"


def route_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the router has the route, with all nodes that announce, in its kernel."""
    if not routed(asked, facts):
        return None
    if asked.address is None:
        return skipped("there is no address to route to")
    if (router := facts.router) is None:
        return unknown(f"the router is not asked: {facts.router_why}")
    for setting, value in router.settings.items():
        if value != FORWARDS and str(asked.address.version) in setting.split(".")[1]:
            off = {"setting": setting, "value": value, "wanted": FORWARDS}
            return broken(found(kinds.FORWARDING_OFF, "router", off))
    nodes = sorted(announcing(asked, facts))
    prefix = f"{asked.address}/{asked.address.max_prefixlen}"
    hops = {
        str(address): name
        for name, node in facts.world.nodes.items()
        for address in node.internal_ips
        if address.version == asked.address.version
    }
    valid = {p.gateway for p in router.paths if p.valid}
    held = set(router.gateways or ()) if router.prefix == prefix else set()
    findings = list(_unaccepted(facts, nodes, hops, prefix))
    findings += _differences(router, hops, held, prefix)
    line = f"{prefix} via {listed([f'{hops.get(h, h)} {h}' for h in sorted(held)], 8) or 'nobody'}"
    if findings:
        usable = held & set(hops) and not held - set(hops)
        return (warn if usable else broken)(*findings, evidence=f"{line}; {findings[0].cause}")
    if router.daemon and held:
        return ok(f"{line}; its daemon does not answer: {router.daemon}")
    if not held:
        return skipped(f"{line}: nobody announces it" if not nodes else f"{line}: see the sessions")
    return ok(f"{line}, in RIB and kernel" if valid else f"{line}, in the kernel")


def _differences(
    router: RouterPart, hops: Mapping[str, str], held: set[str], prefix: str
) -> Iterator[Finding]:
    """Yield where the router's kernel is not what its daemon has chosen from."""
    valid = {p.gateway for p in router.paths if p.valid}
    best = {p.gateway for p in router.paths if p.valid and p.best}
    subject = f"route {prefix}"
    for wrong in sorted(held - set(hops)):
        yield found(kinds.ROUTE_ELSEWHERE, subject, {"prefix": prefix, "nexthop": wrong})
    if router.gateways is None or not valid:
        return
    if not held:
        reason = f"{listed(sorted(best or valid))} should be its next hop"
        yield found(kinds.NOT_INSTALLED, subject, {"prefix": prefix, "reason": reason})
    elif missing := sorted(best - held):
        reason = "its kernel's route lacks it"
        for hop in missing:
            values = {"node": hops.get(hop, hop), "nexthop": hop, "prefix": prefix}
            yield found(kinds.ROUTE_REFUSED, subject, values | {"reason": reason})
    elif valid - held:
        values = {"paths": str(len(valid)), "prefix": prefix, "used": str(len(held))}
        yield found(kinds.NEXT_HOPS_UNUSED, subject, values | {"nexthops": listed(sorted(held))})


def _unaccepted(
    facts: Facts, nodes: list[str], hops: Mapping[str, str], prefix: str
) -> Iterator[Finding]:
    """Yield that the router did not take what a node with a session announces."""
    router = facts.router
    if router is None or router.daemon:
        return
    up = {s.address for s in router.sessions if s.state.lower() == ESTABLISHED}
    for name in nodes:
        own = [h for h, node in hops.items() if node == name]
        paths = [p for p in router.paths if p.gateway in own or p.neighbor in own]
        if not up.intersection(own) or any(p.valid for p in paths):
            continue
        untold = [(p.address, p.untold) for node, p in peers_of(facts) if node == name and p.untold]
        if untold and not paths:
            peer, why = untold[0]
            values = {"node": name, "peer": peer, "prefix": prefix, "reason": why}
            yield found(kinds.NOT_ANNOUNCED, f"session {name} to {peer}", values)
            continue
        reason = next((p.reason for p in paths if p.reason), "")
        values = {"node": name, "prefix": prefix, "reason": reason, "nexthop": own[0]}
        kind = kinds.ROUTE_REFUSED if reason else kinds.PREFIX_FILTERED
        yield found(kind, f"route {prefix}", values)
