"""The steps about policy: both ends' verdicts with the rule that decides, and the proxies.

Question, Facts  ->  Step
"""

from cairn.compile.services import compile_service
from cairn.diagnose.finding import Finding
from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.ends import at_address
from cairn.diagnose.policy.essentials import dns_ends
from cairn.diagnose.policy.layer7 import Request
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.trace import NO_REQUEST, Side, Trace, trace
from cairn.diagnose.why import kinds
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import daemon_name, listed
from cairn.diagnose.why.question import Question, Role, end_of
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, unknown, warn
from cairn.net import L4Address, Protocol

Judged = tuple[Trace, ...]


def policy_step(asked: Question, facts: Facts) -> Step | None:
    """Whether both ends' policies let the connection pass, by which rules."""
    if not facts.world.policies and not facts.world.invalid:
        return ok("no policy exists: everything would be allowed")
    if not asked.client.addresses and asked.client.role is not Role.POD:
        return unknown(f"{asked.client.text} has no address that policies could judge")
    traces = judged(asked, facts)
    if not traces:
        return skipped("there is nobody behind the target to be judged for")
    denied = [(t, side) for t in traces for side in t.sides if not side.allowed]
    if not denied:
        return ok(f"would be allowed: {_allowed(traces[0])}")
    findings = [_denial(t, side) for t, side in _distinct(denied)]
    text = f"would be denied: {findings[0].cause}"
    if len({t.receiver for t, _ in denied}) == len({t.receiver for t in traces}):
        return broken(*findings, evidence=text)
    return warn(*findings, evidence=f"for some of the pods {text}")


def judged(asked: Question, facts: Facts, *, plainly: bool = False) -> Judged:
    """Return what the compiled policies make of the connection, for each kind of receiver."""
    sender = end_of(facts.world, asked.client)
    request = NO_REQUEST if plainly else asked.request
    return tuple(
        trace(facts.world, sender, receiver, place, request)
        for receiver, place in _receivers(asked, facts)
    )


def _receivers(asked: Question, facts: Facts) -> list[tuple[End, Place]]:
    """Return the ends that are reached, one for each identity, with the port there."""
    service, number = asked.service, asked.at
    if service is None:
        if number is None or (not asked.target.addresses and asked.target.role is Role.HOST):
            return []
        return [(end_of(facts.world, asked.target), Place(int(asked.protocol), number))]
    if asked.address is None or number is None:
        return []
    state = compile_service(service, facts.world.slices.get(service.key, ()))
    frontend = state.get(L4Address(asked.address, asked.protocol, number))
    found_ends: dict[tuple[int, int], tuple[End, Place]] = {}
    for backend in frontend.backends if frontend else ():
        end = at_address(facts.world, backend.address.address)
        place = Place(int(asked.protocol), backend.address.port)
        found_ends.setdefault((end.identity, place.port), (end, place))
    return list(found_ends.values())


def _distinct(denied: list[tuple[Trace, Side]]) -> list[tuple[Trace, Side]]:
    made = {(side.direction, side.policy, side.rule, side.subject): (t, side) for t, side in denied}
    return list(made.values())


def _allowed(found_trace: Trace) -> str:
    return "; ".join(f"{side.direction}: {side.why}" for side in found_trace.sides)


def _denial(found_trace: Trace, side: Side) -> Finding:
    other = found_trace.receiver if side.direction == "egress" else found_trace.sender
    values: dict[str, object] = {"policy": side.policy or "a policy", "direction": side.direction}
    values |= {"reason": side.why, "mend": side.mend or "cairn policy trace", "other": other}
    values |= {"at": found_trace.at}
    if side.rule:
        values["policy"] = f"{side.policy}: {side.rule}"
    kind = kinds.ISOLATED if side.verdict == "default deny" else kinds.DENIED
    if side.verdict == "denied" and "lets only" in side.why:
        kind = kinds.REQUEST_DENIED
    snippet = [line for line in side.snippet.splitlines() if line.strip()]
    return found(kind, side.subject, values, *snippet[:8])


def name_policy_step(asked: Question, facts: Facts) -> Step | None:
    """Whether policy lets the client ask the DNS for the name."""
    name = asked.target.name
    if asked.target.role is not Role.NAME or asked.client.role is not Role.POD:
        return None
    if not facts.world.policies:
        return None
    sender = end_of(facts.world, asked.client)
    asking = Request(dns=name)
    traces = [
        trace(facts.world, sender, end, Place(int(Protocol.UDP), 53), asking)
        for end in dns_ends(facts.world)
    ]
    denied = [(t, side) for t in traces for side in t.sides if not side.allowed]
    if not traces:
        return unknown("no cluster DNS was found among the objects")
    if not denied:
        return ok(f"{asked.client.text} may ask the DNS for {name}")
    side = denied[0][1]
    values = {"policy": side.policy or "a policy", "name": name, "reason": side.why}
    values["mend"] = side.mend
    return broken(found(kinds.NAME_DENIED, side.subject, values))


def proxy_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the proxy that a verdict sends the connection through runs."""
    if not facts.world.policies:
        return None
    traces = judged(asked, facts, plainly=True) if asked.client.addresses else ()
    through = [(t, side) for t in traces for side in t.sides if side.verdict == "proxied"]
    if not through:
        return None
    findings = []
    nodes = []
    for found_trace, side in through:
        node = _node_of(facts, found_trace, side) or asked.client.node
        part = facts.nodes.get(node)
        nodes.append(node)
        if part and part.proxy:
            values = {"node": node, "count": len(through), "reason": part.proxy}
            values["pod"] = daemon_name(facts.world, node)
            findings.append(found(kinds.ENVOY_DOWN, f"node {node}", values))
    if findings:
        return broken(*findings)
    rules = listed(sorted({side.why for _, side in through}), 2)
    return ok(f"Envoy on {listed(sorted(set(nodes)))} judges requests: {rules}")


def _node_of(facts: Facts, found_trace: Trace, side: Side) -> str:
    name = found_trace.sender if side.direction == "egress" else found_trace.receiver
    for key, pod in facts.world.pods.items():
        if str(key) == name:
            return pod.workload.node
    return ""


def learnt_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the node's DNS proxy runs where rules by name need it."""
    if asked.target.role is not Role.NAME or asked.client.role is not Role.POD:
        return None
    end = end_of(facts.world, asked.target)
    if not end.selectors or end.kind is not Kind.WORLD:
        return None
    part = facts.nodes.get(asked.client.node)
    if part is None:
        return unknown(f"{asked.client.node} could not be asked")
    if part.dns:
        values = {"node": asked.client.node, "count": 1, "reason": part.dns}
        values["pod"] = daemon_name(facts.world, asked.client.node)
        return broken(found(kinds.DNS_PROXY_DOWN, f"node {asked.client.node}", values))
    if part.learnt is None:
        return unknown(f"the DNS proxy of {asked.client.node} was not asked what it has learnt")
    name = asked.target.name
    known = part.learnt.get(name, ())
    addresses = [str(a) for a in asked.target.addresses]
    if known and (not addresses or set(known) & set(addresses)):
        return ok(f"the DNS proxy of {asked.client.node} has learnt {name}: {listed(known)}")
    reason = (
        f"it has learnt {listed(known)}, not {listed(addresses)}"
        if known
        else ("the pod has not asked through it since it began")
    )
    policies = sorted({side.policy for t in judged(asked, facts) for side in t.sides} - {""})
    values = {"policy": listed(policies) or "a policy", "name": name, "node": asked.client.node}
    values |= {"reason": reason, **_pod(asked)}
    return warn(found(kinds.NAME_NOT_LEARNT, f"name {name}", values))


def _pod(asked: Question) -> dict[str, str]:
    key = asked.client.key
    return {"namespace": key.namespace, "pod": key.name} if key else {}
