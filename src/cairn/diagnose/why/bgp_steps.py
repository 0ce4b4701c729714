"""The steps about BGP: who announces the address, over which sessions.

    Question, Facts  ->  Step

Not here    What the router makes of it (route_steps)
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cairn.compile.announcements import selectable
from cairn.compile.services import ready_nodes
from cairn.diagnose.doctor.sessions import missing_secret
from cairn.diagnose.finding import Finding
from cairn.diagnose.router_counters import CONNECTED, of_now
from cairn.diagnose.why import kinds
from cairn.diagnose.why.address_steps import OUTSIDE_KINDS
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import daemon_name, listed, not_ready_nodes
from cairn.diagnose.why.parts import Peer, RouterSession
from cairn.diagnose.why.question import Question
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, warn
from cairn.kube.bgp_node_config import NodeConfig
from cairn.kube.metadata import key_of
from cairn.kube.service import Service
from cairn.net import parse_network

ESTABLISHED = "established"


def on_link(asked: Question, facts: Facts) -> bool:
    """Return whether the client is on the link that the address is on, so that no route is used."""
    if asked.address is None:
        return False
    if facts.host is not None and facts.host.routed:
        return not facts.host.gateway
    networks = uplink_networks(facts)
    return any(asked.address in n and c in n for n in networks for c in asked.client.addresses)


def uplink_networks(facts: Facts) -> list[Any]:
    """Return the subnets that the nodes' uplinks are in."""
    texts = {
        text
        for node in facts.world.of_kind("CiliumNode")
        for text in str(
            ((node.get("metadata") or {}).get("annotations") or {}).get("cairn.io/uplink-networks")
            or ""
        ).split(",")
        if text
    }
    return [parse_network(text, strict=False) for text in sorted(texts)]


def routed(asked: Question, facts: Facts) -> bool:
    """Return whether the walk goes by way of the router."""
    return (
        asked.service is not None
        and not asked.client.inside
        and asked.kind in OUTSIDE_KINDS
        and not on_link(asked, facts)
    )


def announcement_step(asked: Question, facts: Facts) -> Step | None:
    """Whether some node announces the address, and why others do not."""
    service = asked.service
    if not routed(asked, facts) or service is None:
        return None
    if asked.address is None:
        return skipped("there is no address to announce")
    policies = [key_of(p).name for p in facts.world.of_kind("CiliumBGPPeeringPolicy")]
    configs = [NodeConfig.from_object(c) for c in facts.world.of_kind("CiliumBGPNodeConfig")]
    subject = f"Service {service.key}"
    if not policies and not configs:
        values = {"node": "every node", "reason": "no CiliumBGPPeeringPolicy exists"}
        return broken(found(kinds.NO_SESSION, subject, values))
    instances = [(c, i) for c in configs for i in c.instances]
    if not instances:
        reason = _conditions(facts) or "nodeSelector of no policy takes a node"
        subject = f"CiliumBGPPeeringPolicy {listed(policies)}"
        return broken(found(kinds.NO_NODE_PEERS, subject, {"reason": reason}))
    taking = {
        c.metadata.name
        for c, i in instances
        if i.services is not None and i.services.matches(selectable(service))
    }
    if not taking:
        texts = sorted({_selector(i.services) for _, i in instances})
        reason = f"serviceSelector of {listed(policies)} is {'; '.join(texts)}"
        unannounced = {"address": asked.address, "reason": reason}
        return broken(found(kinds.NOBODY_ANNOUNCES, subject, unannounced))
    return _announced(asked, facts, service, taking)


def _selector(selector: Any) -> str:
    return "missing" if selector is None else str(selector)


def _announced(asked: Question, facts: Facts, service: Service, taking: set[str]) -> Step:
    by = announcing(asked, facts)
    serving = ready_nodes(service, facts.world.slices.get(service.key, ()))
    others = [_why_not(name, facts, serving) for name in sorted(taking - by)]
    line = f"announced by {listed(sorted(by), 8) or 'no node'}"
    line += "".join(f"; not by {text}" for text in others)
    if by:
        return ok(line)
    if serving & taking:
        down = [n for n in sorted(serving & taking) if not _established(n, facts)]
        if down:
            return skipped(f"{line}: see their sessions")
        reason = f"{', '.join(sorted(serving & taking))} should, and did not say why not"
        values = {"address": asked.address, "reason": reason}
        made = found(kinds.NOBODY_ANNOUNCES, f"Service {service.key}", values)
        return broken(made, evidence=line)
    if serving and service.external_traffic_policy == "Local":
        reason = f"its pods are on {', '.join(sorted(serving))}, which do not peer"
        values = dict(zip(("namespace", "service"), service.key, strict=True))
        made = found(kinds.LOCAL_ELSEWHERE, f"Service {service.key}", values | {"reason": reason})
        return broken(made, evidence=line)
    return skipped(f"{line}: no node that peers has a ready pod")


def _why_not(name: str, facts: Facts, serving: frozenset[str]) -> str:
    if name in not_ready_nodes(facts.world):
        return f"{name} (not Ready)"
    if not _established(name, facts):
        return f"{name} (no session)"
    return f"{name} (no ready pod there)" if name not in serving else name


def announcing(asked: Question, facts: Facts) -> set[str]:
    """Return the nodes that announce the address, by their own speakers, else by their status."""
    found_nodes = set()
    for config in facts.world.of_kind("CiliumBGPNodeConfig"):
        name = key_of(config).name
        part = facts.nodes.get(name)
        told = [e.get("prefix") for e in (config.get("status") or {}).get("announcements") or ()]
        prefixes = part.routes if part and not part.speaker else told
        if any(asked.address in parse_network(str(p)) for p in prefixes if p):
            found_nodes.add(name)
    return found_nodes


def _conditions(facts: Facts) -> str:
    for policy in facts.world.of_kind("CiliumBGPPeeringPolicy"):
        for told in (policy.get("status") or {}).get("conditions") or ():
            if told.get("type") == "cairn.io/Selected" and told.get("status") == "False":
                return str(told.get("message"))
    return ""


def _established(node: str, facts: Facts) -> bool:
    return any(p.state == ESTABLISHED for name, p in peers_of(facts) if name == node)


def peers_of(facts: Facts) -> Iterator[tuple[str, Peer]]:
    """Yield every node's sessions: as its speaker says, else as its object's status does."""
    for raw in facts.world.of_kind("CiliumBGPNodeConfig"):
        name = key_of(raw).name
        part = facts.nodes.get(name)
        told = {
            str(p.get("peerAddress")): p
            for i in (raw.get("status") or {}).get("bgpInstances") or ()
            for p in i.get("peers") or ()
        }
        for instance in NodeConfig.from_object(raw).instances:
            for peer in instance.peers:
                address = str(peer.address)
                own = [p for p in (part.peers if part else ()) if p.address == address]
                if own:
                    yield name, own[0]
                    continue
                said = told.get(address, {})
                state = str(said.get("peeringState") or "not reported").lower()
                error = str(said.get("lastError") or "")
                yield name, Peer(address, state, peer.asn, instance.asn, error)


def session_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the nodes that serve have sessions, by both ends."""
    service = asked.service
    if not routed(asked, facts) or service is None:
        return None
    peers = list(peers_of(facts))
    if not peers:
        return skipped("no node has a peer")
    serving = ready_nodes(service, facts.world.slices.get(service.key, ()))
    down = [(node, peer) for node, peer in peers if peer.state != ESTABLISHED]
    up = {node for node, peer in peers if peer.state == ESTABLISHED}
    half = _half_open(facts, up)
    if not down and not half:
        end = "" if facts.router and not facts.router.daemon else ", by the nodes' word alone"
        flapped = _flapping(facts, peers)
        line = f"established with {_count(peers)}{end}"
        return warn(*flapped, evidence=f"{line}; {flapped[0].cause}") if flapped else ok(line)
    findings = sorted(
        (session_finding(facts, node, peer) for node, peer in down), key=_rank
    ) + half  # fmt: skip
    line = f"{len(up)} of {len({node for node, _ in peers})} nodes have a session; "
    line += findings[0].cause
    if up & serving or (up and not serving):
        return warn(*findings, evidence=line)
    return broken(*findings, evidence=line)


def _rank(finding: Finding) -> int:
    order = (kinds.NODE_DOWN, kinds.SPEAKER_DEAD, kinds.PEER_REFUSES, kinds.WRONG_PASSWORD)
    return order.index(finding.kind) if finding.kind in order else len(order)


def _count(peers: list[tuple[str, Peer]]) -> str:
    remotes = sorted({peer.address for _, peer in peers})
    return f"{listed(remotes)} from {listed(sorted({node for node, _ in peers}), 8)}"


def _flapping(facts: Facts, peers: list[tuple[str, Peer]]) -> list[Finding]:
    """Return the sessions that ended by their hold time a short while ago."""
    return [
        session_finding(facts, node, peer)
        for node, peer in peers
        if "hold timer" in peer.last_error.lower() and peer.flaps
    ]


def _half_open(facts: Facts, up: set[str]) -> list[Finding]:
    """Return sessions that the node has and the router does not."""
    if facts.router is None or facts.router.daemon or not facts.router.sessions:
        return []
    states = {s.address: s for s in facts.router.sessions}
    findings = []
    for node in sorted(up):
        session = _at_router(facts, node, states)
        if session and session.state.lower() != ESTABLISHED:
            values = {"node": node, "peer": facts.router.name, "state": session.state}
            values |= {"reason": f"the router says so: {session.error or 'no error'}"}
            values["pod"] = daemon_name(facts.world, node)
            findings.append(found(kinds.SESSION_DOWN, f"session of {node}", values))
    return findings


def _at_router(
    facts: Facts, node: str, states: Mapping[str, RouterSession]
) -> RouterSession | None:
    known = facts.world.nodes.get(node)
    own = known.internal_ips if known else ()
    return next((states[str(a)] for a in own if str(a) in states), None)


def session_finding(facts: Facts, node: str, peer: Peer) -> Finding:
    """Return why a session is down."""
    states = {s.address: s for s in facts.router.sessions} if facts.router else {}
    other = _at_router(facts, node, states)
    errors = " / ".join(e for e in (peer.last_error, other.error if other else "") if e)
    values: dict[str, object] = {"node": node, "peer": peer.address, "state": peer.state}
    router_asn = str(facts.router.asn) if facts.router and facts.router.asn else "another"
    if router_asn == str(peer.asn):
        router_asn += f", and it expects another localASN than {peer.local_asn}"
    values |= {"asn": peer.asn, "router_asn": router_asn}
    address = next(iter(facts.world.nodes[node].internal_ips), peer.address)
    values |= {"address": address, "pod": daemon_name(facts.world, node)}
    values["secret"] = _secret(facts) or "NAME"
    subject = f"session {node} to {peer.address}"
    kind, evidence = _session_kind(facts, node, peer, errors.lower())
    values["reason"] = evidence or errors or "neither end says why"
    if kind is kinds.NODE_DOWN:
        values["reason"] = not_ready_nodes(facts.world)[node]
        subject = f"node {node}"
    return found(kind, subject, values, *([evidence] if evidence else []))


def _session_kind(facts: Facts, node: str, peer: Peer, errors: str) -> tuple[Any, str]:
    """Return the kind of what is wrong with a session, and what shows it."""
    part = facts.nodes.get(node)
    if node in not_ready_nodes(facts.world):
        return kinds.NODE_DOWN, ""
    if part and part.speaker:
        return kinds.SPEAKER_DEAD, part.speaker
    if told := missing_secret(facts.world.of_kind("CiliumBGPNodeConfig"), node):
        return kinds.PASSWORD_MISSING, told
    if any(word in errors for word in ("bad peer as", "autonomous system", "peer as")):
        return kinds.WRONG_ASN, ""
    if passwords := _password_drops(facts, peer):
        return kinds.WRONG_PASSWORD, passwords
    if "password" in errors or "md5" in errors or "secret" in errors:
        return kinds.WRONG_PASSWORD, ""
    silent = facts.router and facts.router.daemon and peer.port_answer != CONNECTED
    if peer.port_answer == "refused" or silent:
        return kinds.PEER_REFUSES, f"{peer.address} refuses TCP port 179"
    if "unacceptable hold time" in errors:
        return kinds.HOLD_TIME_REFUSED, ""
    if "maximum number of prefixes" in errors:
        return kinds.PREFIX_LIMIT, ""
    if peer.port_answer == "no answer":
        neighbour = part.neighbours.get(peer.address) if part else None
        if neighbour and neighbour.lost:
            return kinds.PEER_UNREACHABLE, f"{node} gets no answer to ARP/ND for {peer.address}"
        return kinds.PEER_UNREACHABLE, f"{peer.address} does not answer {node} at port 179"
    if "hold timer" in errors:
        return kinds.HOLD_TIMER, ""
    return kinds.SESSION_DOWN, ""


def _password_drops(facts: Facts, peer: Peer) -> str:
    """Return that the router drops segments for their signature; "" if it does not now."""
    router = facts.router
    if router is None:
        return ""
    counters = of_now(peer.port_answer, router.counters, router.grew)
    told = [f"{name} {n}" for name, n in counters.items() if name.startswith("TCPMD5") and n > 0]
    return f"the router dropped segments for their signature ({', '.join(told)})" if told else ""


def _secret(facts: Facts) -> str:
    for raw in facts.world.of_kind("CiliumBGPNodeConfig"):
        for instance in NodeConfig.from_object(raw).instances:
            for peer in instance.peers:
                if peer.password_secret:
                    return peer.password_secret
    return ""
