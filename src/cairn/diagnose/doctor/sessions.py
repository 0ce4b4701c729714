"""BGP sessions, seen from both ends: which are not established, and what the last error says why.

Facts  ->  findings of area 2
"""

import re
from collections.abc import Iterable, Iterator

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.data_plane import agent_pods
from cairn.diagnose.facts import Facts, RouterSession
from cairn.diagnose.process_facts import SessionFact
from cairn.diagnose.router_counters import of_now
from cairn.kube.metadata import Object, key_of

ESTABLISHED = "established"
FLAPS = 3
LONGER = 1.5
"""A session that is up for longer than the last ones were, by this, has done with flapping."""
REASONS: tuple[tuple[str, str], ...] = (
    (r"bad peer as|wrong as|as number|asn", "WrongAsn"),
    (r"md5|password|authentication", "WrongPassword"),
    (r"unacceptable hold|hold time .*(unaccept|refus)", "HoldTimeRefused"),
    (r"hold timer|hold time", "HoldTimer"),
    (r"maximum number of prefixes|prefix limit|max-prefix|limit of \d+ prefixes", "PrefixLimit"),
    (r"ttl|gtsm|multihop", "TtlSecurity"),
    (r"refused|reset by peer", "PeerRefuses"),
    (r"timed out|timeout|no route|unreachable|no answer", "PeerUnreachable"),
    (r"cease|administrative|closed", "PeerClosed"),
)
"""What the words of an error mean, the most telling first."""
NO_ANSWER, REFUSED = "no answer", "refused"
MISSING_SECRET = re.compile(r"Secret (\S+) in \S+ has no key")
NOW = re.compile("timed out|timeout|no route|unreachable|no answer", re.IGNORECASE)
"""Words of attempts to connect that fail."""
MD5_COUNTERS = re.compile("md5|password", re.IGNORECASE)


def check_sessions(facts: Facts, bench: Bench) -> None:
    """Every peer of every node has an established session."""
    seen = {session.address: session for session in facts.router.sessions}
    for node, session in peers(facts):
        bench.looked()
        if session.state == ESTABLISHED:
            continue
        own = node_addresses(facts, node)
        router = next((seen[a] for a in own if a in seen), None)
        kind, reason = judge(facts, session, router)
        bench.found(
            kind,
            f"session {node} to {session.peer}",
            f"{node}: {session.state or 'not reported'}"
            + (f", {session.last_error}" if session.last_error else "")
            + (f"; its port now: {session.port_answer}" if session.port_answer else ""),
            *((f"router: {router.state}, {router.last_error}".rstrip(", "),) if router else ()),
            node=node,
            peer=session.peer,
            state=session.state or "not reported",
            reason=reason,
            asn=session.asn,
            router_asn=facts.router.asn or "another",
            address=own[0] if own else "",
        )
    for node, report in facts.nodes.items():
        bench.looked()
        if report.speaker.error:
            why = report.speaker.error
            bench.found("SpeakerDown", f"node {node}", node=node, reason=why, pod="ds/cairn")


def check_lives(facts: Facts, bench: Bench) -> None:
    """Sessions stay up, and tell their peer what there is to tell."""
    pods = agent_pods(facts)
    for node, session in peers(facts):
        bench.looked()
        if session.state != ESTABLISHED:
            continue
        subject, values = f"session {node} to {session.peer}", {"node": node, "peer": session.peer}
        for reason, count in session.not_announced.items():
            prefix = "1 prefix" if count == "1" else f"{count} prefixes"
            bench.found("NotAnnounced", subject, prefix=prefix, reason=reason, **values)
        young = (session.uptime_s or 0) < LONGER * session.life_s
        if session.ended >= FLAPS and young:
            values |= {"life": f"{session.life_s:.0f} s", "pod": pods.get(node, "<pod>")}
            reason = session.last_error or "no reason given"
            bench.found("SessionFlaps", subject, count=session.ended, reason=reason, **values)


def judge(facts: Facts, session: SessionFact, router: RouterSession | None) -> tuple[str, str]:
    """Return the kind of what keeps a session down, and the words that say so."""
    router_asn = facts.router.asn
    if router_asn and session.asn and session.asn != router_asn:
        return "WrongAsn", f"{session.asn} is configured, and the router is AS {router_asn}"
    texts = [text for text in (session.last_error, router.last_error if router else "") if text]
    if session.port_answer == NO_ANSWER or NOW.search(session.last_error):
        # Nobody answers now: how the session ended is of old.
        texts = [text for text in texts if not re.search("hold time", text, re.IGNORECASE)]
    for pattern, kind in REASONS:
        for text in texts:
            if re.search(pattern, text, re.IGNORECASE):
                if kind == "PeerUnreachable" and (signed := _md5(facts, session)):
                    return "WrongPassword", signed
                return kind, text
    if signed := _md5(facts, session):
        return "WrongPassword", signed
    if session.port_answer in (NO_ANSWER, REFUSED):
        kind = "PeerRefuses" if session.port_answer == REFUSED else "PeerUnreachable"
        return kind, f"a connection to it now: {session.port_answer}"
    return "SessionDown", texts[0] if texts else "neither end says why"


def _md5(facts: Facts, session: SessionFact) -> str:
    """Return that the router drops segments for their signature; "" if it does not now."""
    router = facts.router
    for name, count in of_now(session.port_answer, router.counters, router.grew).items():
        if count and MD5_COUNTERS.search(name):
            return f"the router counts {count} under {name!r}"
    return ""


def peers(facts: Facts) -> Iterator[tuple[str, SessionFact]]:
    """Yield every session: as the speaker has it, else as the node's status says."""
    for config in facts.cluster.of("CiliumBGPNodeConfig"):
        node = key_of(config).name
        report = facts.nodes.get(node)
        if report and not report.speaker.error:
            yield from ((node, session) for session in report.speaker.sessions)
            continue
        for instance in (config.get("status") or {}).get("bgpInstances") or ():
            for peer in instance.get("peers") or ():
                yield (
                    node,
                    SessionFact(
                        peer=str(peer.get("peerAddress")),
                        asn=int(peer.get("peerASN") or 0),
                        state=str(peer.get("peeringState") or "").lower(),
                        last_error=str(peer.get("lastError") or ""),
                    ),
                )


def node_addresses(facts: Facts, node: str) -> tuple[str, ...]:
    """Return a node's addresses."""
    for raw in facts.cluster.of("Node"):
        if key_of(raw).name == node:
            listed = (raw.get("status") or {}).get("addresses") or ()
            return tuple(str(a["address"]) for a in listed if a.get("type") == "InternalIP")
    return ()


def check_policies(facts: Facts, bench: Bench) -> None:
    """BGP policies select nodes and do not contradict each other."""
    for policy in facts.cluster.of("CiliumBGPPeeringPolicy"):
        bench.looked()
        subject = f"CiliumBGPPeeringPolicy {key_of(policy).name}"
        for condition in (policy.get("status") or {}).get("conditions") or ():
            kind, reason = condition.get("type"), str(condition.get("message") or "")
            if kind == "cairn.io/Conflict" and condition.get("status") == "True":
                bench.found("BgpConflict", subject, reason=reason)
            if kind == "cairn.io/Selected" and condition.get("status") == "False":
                bench.found("SelectsNoNode", subject, reason=reason)


def check_honoured(facts: Facts, bench: Bench) -> None:
    """Every node's BGP configuration is in force whole."""
    for config in facts.cluster.of("CiliumBGPNodeConfig"):
        bench.looked()
        node = key_of(config).name
        report = facts.nodes.get(node)
        if report is None or report.speaker.error:
            continue
        said = [text for text in not_honoured(config) if "not announced" not in text]
        for text in said:
            if missing := MISSING_SECRET.search(text):
                values = {"node": node, "reason": text, "secret": missing[1]}
                bench.found("PasswordMissing", f"node {node}", **values)
        if left := [text for text in said if not MISSING_SECRET.search(text)]:
            bench.found("BgpIgnored", f"node {node}", node=node, reason="; ".join(left))


def not_honoured(config: Object) -> list[str]:
    """Return what of a CiliumBGPNodeConfig its node does not do, as it says."""
    return [
        text
        for condition in (config.get("status") or {}).get("conditions") or ()
        if condition.get("status") == "False"
        for text in str(condition.get("message") or "").split("; ")
        if text
    ]


def missing_secret(configs: Iterable[Object], node: str) -> str:
    """Return how a node says that it lacks the Secret of a peer; empty: it does not."""
    said = (text for c in configs if key_of(c).name == node for text in not_honoured(c))
    return next((text for text in said if MISSING_SECRET.search(text)), "")


def check_routes(facts: Facts, bench: Bench) -> None:
    """The router holds every next hop that the nodes announce, and no other."""
    router = facts.router
    if router.skipped:
        bench.skipped = router.skipped
        bench.found("RouterUnasked", "the router", reason=router.skipped)
        return
    wanted: dict[str, dict[str, str]] = {}
    for node, report in facts.nodes.items():
        up = any(s.state == ESTABLISHED for s in report.speaker.sessions)
        for route in report.speaker.announced if up else ():
            hop = route.next_hop or _own_hop(facts, node, route.prefix)
            if hop:
                wanted.setdefault(route.prefix, {})[hop] = node
    _missing(facts, wanted, bench)
    silent = {n for n, report in facts.nodes.items() if report.speaker.error}
    nodes = {a for n in facts.cluster.of("Node") if key_of(n).name not in silent
             for a in node_addresses(facts, key_of(n).name)}  # fmt: skip
    if not facts.unasked:
        for path in router.paths:
            bench.looked()
            if path.gateway in nodes and path.gateway not in wanted.get(path.prefix, {}):
                values = {"prefix": path.prefix, "nexthop": path.gateway}
                bench.found("RouteStale", f"route {path.prefix}", **values)
    for setting in router.settings:
        bench.looked()
        if "forward" in setting.name and setting.value != setting.wanted:
            name = setting.name.replace("/", ".")
            values = {"setting": name, "value": setting.value or "", "wanted": setting.wanted}
            bench.found("RouterUnforwarding", "the router", **values)


def _own_hop(facts: Facts, node: str, prefix: str) -> str:
    """Return the next hop that a speaker puts in where none is named: the node's own address."""
    of_six = ":" in prefix
    own = (a for a in node_addresses(facts, node) if (":" in a) == of_six)
    return next(own, "")


def _missing(facts: Facts, wanted: dict[str, dict[str, str]], bench: Bench) -> None:
    router = facts.router
    installed = {route.prefix: set(route.gateways) for route in router.routes}
    for prefix, hops in sorted(wanted.items()):
        paths = [path for path in router.paths if path.prefix == prefix]
        for hop, node in sorted(hops.items()):
            bench.looked()
            held = [path for path in paths if path.gateway == hop]
            values = {"prefix": prefix, "node": node, "nexthop": hop}
            if not held:
                bench.found("RouteFiltered", f"route {prefix}", **values)
            elif not any(path.valid for path in held):
                why = held[0].reason or "its path is not valid"
                bench.found("RouteMissing", f"route {prefix}", reason=why, **values)
        valid = {path.gateway for path in paths if path.valid and path.gateway in hops}
        used = installed.get(prefix, set())
        if valid and router.has_kernel and not used:
            why = "its kernel's main table lacks it"
            bench.found("NotInstalled", f"route {prefix}", prefix=prefix, reason=why)
        elif len(valid) > 1 and router.has_kernel and len(used) == 1:
            bench.found(
                "MultipathOff",
                f"route {prefix}",
                prefix=prefix,
                paths=len(valid),
                used=len(used),
                nexthops=", ".join(sorted(used)),
            )
