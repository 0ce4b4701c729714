"""Addresses: pools, Services that wait, strangers, who announces and who answers.

Facts  ->  findings of area 1
"""

import re
from itertools import combinations

from cairn.compile.ipam_space import may_share
from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.sessions import ESTABLISHED, peers
from cairn.diagnose.facts import Facts
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Object, key_of
from cairn.kube.node import Node
from cairn.kube.service import Service

SATISFIED, CONFLICT = "cilium.io/IPAMRequestSatisfied", "cairn.io/AddressConflict"
NEARLY = 0.9


def conditions_of(obj: Object) -> dict[str, Object]:
    """Return an object's conditions by type."""
    listed = (obj.get("status") or {}).get("conditions") or ()
    return {str(c.get("type")): c for c in listed}


def check_pools(facts: Facts, bench: Bench) -> None:
    """Pools have room and do not overlap."""
    for pool in facts.cluster.of("CiliumLoadBalancerIPPool"):
        bench.looked()
        name, found = key_of(pool).name, conditions_of(pool)
        conflict = found.get("cilium.io/PoolConflict", {})
        if conflict.get("status") == "True":
            reason = conflict.get("message")
            bench.found("PoolConflict", f"pool {name}", reason=reason)
        used = _number(found.get("cilium.io/IPsUsed"))
        total = _number(found.get("cilium.io/IPsTotal"))
        if total and used is not None and NEARLY * total <= used < total:
            bench.found("PoolNearlyFull", f"pool {name}", pool=name, used=used, total=total)


def _number(condition: Object | None) -> int | None:
    text = str((condition or {}).get("message") or "")
    return int(text) if text.isdecimal() else None


def check_addresses(facts: Facts, bench: Bench) -> None:
    """Every Service of type LoadBalancer has an address that is its alone."""
    for raw in facts.cluster.of("Service"):
        service = Service.from_object(raw)
        if service.type != "LoadBalancer":
            continue
        bench.looked()
        found, subject = conditions_of(raw), f"service {service.key}"
        values = {"namespace": service.key.namespace, "service": service.key.name}
        conflict = found.get(CONFLICT, {})
        if conflict.get("status") == "True":
            address = str(next(iter(service.load_balancer_ips), ""))
            reason = conflict.get("message")
            bench.found("AddressConflict", subject, reason=reason, address=address, **values)
        if service.load_balancer_ips:
            continue
        if load_balancer_of(raw).foreign:
            name = str(service.load_balancer_class)
            bench.found("ForeignClass", subject, **{"class": name}, **values)
            continue
        said = found.get(SATISFIED)
        if said is None:
            bench.found("OperatorBehind", subject, **values)
            continue
        _pending(facts, said, subject, values, bench)


def _pending(
    facts: Facts, said: Object, subject: str, values: dict[str, str], bench: Bench
) -> None:
    reason, word = str(said.get("message") or ""), str(said.get("reason") or "")
    pools = [key_of(pool).name for pool in facts.cluster.of("CiliumLoadBalancerIPPool")]
    named = next((name for name in pools if name in reason), pools[0] if pools else "<pool>")
    if not pools:
        bench.found("NoPool", subject, word, reason=reason, **values)
    elif re.search(r"label|select", reason) and "no free" not in reason:
        label = re.search(r"[\w./-]+=[\w.-]+", reason)
        text = label[0] if label else "KEY=VALUE"
        bench.found("NoPoolSelects", subject, word, reason=reason, label=text, **values)
    elif re.search(r"free|exhaust|full|all .*(given|used|taken)", f"{reason} {word}"):
        bench.found("PoolExhausted", subject, word, reason=reason, pool=named, **values)
    else:
        bench.found("AddressPending", subject, word, reason=reason, **values)


def check_announced(facts: Facts, bench: Bench) -> None:
    """Every address with a ready backend is announced, or answered for by a node."""
    announced = {
        str(row.get("prefix", "")).split("/")[0]
        for config in facts.cluster.of("CiliumBGPNodeConfig")
        for row in (config.get("status") or {}).get("announcements") or ()
    }
    announced |= {
        route.prefix.split("/")[0] for r in facts.nodes.values() for route in r.speaker.announced
    }
    answered = answerers(facts)
    ready = _ready_services(facts)
    down = not any(session.state == ESTABLISHED for _, session in peers(facts))
    for raw in facts.cluster.of("Service"):
        service = Service.from_object(raw)
        for ip in service.load_balancer_ips if str(service.key) in ready else ():
            bench.looked()
            address = str(ip)
            if address in announced or address in answered:
                continue
            why = "no session is established" if down else "no BGP or L2 policy selects it"
            subject = f"service {service.key}"
            bench.found("NobodyAnnounces", subject, address=address, reason=why)


def answerers(facts: Facts) -> dict[str, list[str]]:
    """Return the nodes that answer ARP and ND for each address, dead ones too."""
    found: dict[str, list[str]] = {}
    for node in facts.cluster.of("CiliumNode"):
        name = key_of(node).name
        report = facts.nodes.get(name)
        told = ((node.get("status") or {}).get("l2") or {}).get("answered") or ()
        if report is not None and not report.agent.error:
            told = report.agent.answered
        for one in told:
            found.setdefault(str(one), []).append(name)
    return found


def check_shared(facts: Facts, bench: Bench) -> None:
    """Services that hold one address may share it."""
    holders: dict[str, list[Object]] = {}
    for raw in facts.cluster.of("Service"):
        for ip in Service.from_object(raw).load_balancer_ips:
            holders.setdefault(str(ip), []).append(raw)
    for address, raws in holders.items():
        bench.looked()
        asking = [load_balancer_of(raw) for raw in raws]
        if any(not may_share(one, two) for one, two in combinations(asking, 2)):
            last = key_of(raws[-1])
            values = {"services": ", ".join(str(key_of(raw)) for raw in raws),
                      "namespace": last.namespace, "service": last.name}  # fmt: skip
            bench.found("AddressTwice", f"address {address}", address=address, **values)


def check_answered(facts: Facts, bench: Bench) -> None:
    """One node that is alive answers ARP and ND for each address, and no other."""
    ready = {node.name for node in map(Node.from_object, facts.cluster.of("Node")) if node.ready}
    known = {key_of(node).name for node in facts.cluster.of("Node")}
    for address, nodes in answerers(facts).items():
        bench.looked()
        alive = [node for node in nodes if node in ready]
        values = {"address": address, "nodes": ", ".join(alive), "node": nodes[0]}
        if len(alive) > 1:
            bench.found("AnsweredTwice", f"address {address}", **values)
        elif not alive:
            reason = "it is not ready" if nodes[0] in known else "there is no such node any more"
            bench.found("AnswererGone", f"address {address}", reason=reason, **values)


def check_l2_policies(facts: Facts, bench: Bench) -> None:
    """L2 policies select nodes and Services."""
    for policy in facts.cluster.of("CiliumL2AnnouncementPolicy"):
        bench.looked()
        said = conditions_of(policy).get("cairn.io/Selected", {})
        if said.get("status") == "False":
            name, reason = key_of(policy).name, said.get("message")
            subject = f"CiliumL2AnnouncementPolicy {name}"
            bench.found("L2SelectsNothing", subject, name=name, reason=reason)


def _ready_services(facts: Facts) -> set[str]:
    found = set()
    for part in facts.cluster.of("EndpointSlice"):
        name = ((part.get("metadata") or {}).get("labels") or {}).get("kubernetes.io/service-name")
        for endpoint in part.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found.add(f"{key_of(part).namespace}/{name}")
    return found
