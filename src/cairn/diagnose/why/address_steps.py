"""The steps about a load-balancer address: whether it was given, and whether it is ours alone.

Question, Facts  ->  Step
"""

import re

from cairn.diagnose.finding import Finding
from cairn.diagnose.l2 import CONFLICT
from cairn.diagnose.overview import SATISFIED
from cairn.diagnose.why import kinds
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import condition, operator_pods, pod_trouble, raw_service
from cairn.diagnose.why.question import Question, Role
from cairn.diagnose.why.step import Step, broken, found, ok, skipped
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Object, key_of
from cairn.kube.pool import pool_of
from cairn.kube.service import Service
from cairn.net import Address

LABEL = re.compile(r"kubectl label service -n \S+ \S+ ([^;]+)")
EXHAUSTED = re.compile(r"pool (\S+) is exhausted: \d+ of (\d+) in use")
"""Words of compile.ipam_reason."""
OUTSIDE_KINDS = ("load-balancer", "external-ip")


def comes_from_outside(asked: Question) -> bool:
    """Return whether the client's packets come through the router or the nodes' subnet."""
    return not asked.client.inside and asked.service is not None


def pool_step(asked: Question, facts: Facts) -> Step | None:
    """Whether a pool gave the Service its address."""
    service = asked.service
    if service is None or service.type != "LoadBalancer" or asked.client.inside:
        return None
    if service.load_balancer_ips:
        held = ", ".join(map(str, service.load_balancer_ips))
        pools = {_pool_of(facts, address) or "no pool" for address in service.load_balancer_ips}
        return ok(f"{held}, of {', '.join(sorted(pools))}")
    return broken(_pending(facts, service))


def _pending(facts: Facts, service: Service) -> Finding:
    raw, subject = raw_service(facts.world, service.key), f"Service {service.key}"
    if load_balancer_of(raw).foreign:
        named = {"namespace": service.key.namespace, "service": service.key.name}
        return found(kinds.FOREIGN_CLASS, subject, {"class": service.load_balancer_class, **named})
    told = condition(raw, SATISFIED)
    code, message = str(told.get("reason") or ""), str(told.get("message") or "")
    values: dict[str, object] = {"reason": message, "services": subject}
    values |= dict(zip(("namespace", "service"), service.key, strict=True))
    if not message or told.get("status") == "True":
        return _no_operator(facts, subject, values)
    if not _pools(facts):
        return found(kinds.NO_POOL, subject, values)
    if label := LABEL.search(message):
        values |= {"reason": message.rpartition("; ")[0], "label": label[1]}
        return found(kinds.POOL_LABEL_MISSING, subject, values)
    if code == "out_of_ips" and (full := EXHAUSTED.search(message)):
        values |= {"pool": full[1], "total": full[2]}
        return found(kinds.POOL_EXHAUSTED, subject, values, message)
    if "answered for by" in message:
        values["address"] = message.split()[0]
        return found(kinds.ADDRESS_CONFLICT, subject, values)
    return found(kinds.ADDRESS_PENDING, subject, values)


def _no_operator(facts: Facts, subject: str, values: dict[str, object]) -> Finding:
    pods = operator_pods(facts.world)
    if not pods:
        values["reason"] = "there is no pod of it"
    elif condition(pods[0], "Ready").get("status") != "True":
        values["reason"] = pod_trouble(pods[0]).text
    else:
        return found(kinds.OPERATOR_BEHIND, subject, values)
    return found(kinds.OPERATOR_DEAD, "operator", values)


def address_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the address is the Service's alone."""
    service = asked.service
    if service is None:
        return unheld(asked, facts)
    if asked.client.inside or asked.kind not in OUTSIDE_KINDS:
        return None
    if asked.address is None:
        return skipped("there is no address")
    told = condition(raw_service(facts.world, service.key), CONFLICT)
    if told.get("status") == "True" and str(asked.address) in str(told.get("message")):
        values = {"address": asked.address, "reason": told.get("message")}
        return broken(found(kinds.ADDRESS_CONFLICT, f"Service {service.key}", values))
    stranger = _stranger(asked, facts)
    if stranger:
        return broken(stranger)
    if service.source_ranges and not _admits(asked, service):
        values = {"client": asked.client.text, "namespace": service.key.namespace}
        values |= {
            "service": service.key.name,
            "ranges": ", ".join(map(str, service.source_ranges)),
        }
        return broken(found(kinds.SOURCE_RANGE, f"Service {service.key}", values))
    return ok(f"{asked.address} is held by {service.key}, and nobody else answers for it")


def _admits(asked: Question, service: Service) -> bool:
    held = asked.client.addresses
    return not held or any(a in network for a in held for network in service.source_ranges)


def _stranger(asked: Question, facts: Facts) -> Finding | None:
    """Return that a host of the LAN has the address, as the router or the client sees it."""
    ours = node_macs(facts)
    for host, part in (("the router", facts.router), (asked.client.text, facts.host)):
        neighbour = part.neighbours.get(str(asked.address)) if part else None
        if not neighbour or not neighbour.mac or neighbour.lost or not ours:
            continue
        if neighbour.mac not in ours:
            reason = f"{host} has {asked.address} at {neighbour.mac}, which is no node of ours"
            values = {"address": asked.address, "reason": reason}
            return found(kinds.ADDRESS_CONFLICT, f"address {asked.address}", values)
    return None


def node_macs(facts: Facts) -> dict[str, str]:
    """Return the nodes by the Ethernet addresses that their agents told."""
    found_macs = {}
    for node in facts.world.of_kind("CiliumNode"):
        mac = ((node.get("metadata") or {}).get("annotations") or {}).get("cairn.io/uplink-mac")
        if mac:
            found_macs[str(mac).lower()] = key_of(node).name
    return found_macs


def unheld(asked: Question, facts: Facts) -> Step | None:
    """Return that an address of a pool is no Service's."""
    if asked.target.role is not Role.ADDRESS or asked.address is None:
        return None
    pool = _pool_of(facts, asked.address)
    if not pool:
        return None
    near = [
        f"{s.key} at {address}"
        for s in facts.world.services.values()
        for address in s.load_balancer_ips
    ]
    values = {"address": asked.address, "pool": pool, "near": ", ".join(near) or "none has one"}
    return broken(found(kinds.ADDRESS_UNHELD, f"address {asked.address}", values))


def _pools(facts: Facts) -> list[Object]:
    return list(facts.world.of_kind("CiliumLoadBalancerIPPool"))


def _pool_of(facts: Facts, address: Address) -> str:
    for raw in _pools(facts):
        if pool_of(raw).holds(address.version, int(address)):
            return f"pool {key_of(raw).name}"
    return ""
