"""The steps about a Service itself: its port, its selector, its endpoints, whether they are ready.

Question, Facts  ->  Step
"""

import difflib
from itertools import chain

from cairn.diagnose.ejected import Ejection, ejections
from cairn.diagnose.finding import Finding
from cairn.diagnose.why import kinds
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import (
    endpoints_of,
    is_ready,
    listed,
    node_of,
    not_ready_nodes,
    pod_at,
    pod_trouble,
    pods_of_service,
    raw_pod,
    raw_service,
)
from cairn.diagnose.why.question import Question
from cairn.diagnose.why.step import Step, broken, found, ok, skipped, warn
from cairn.kube.metadata import Key, Object, key_of, metadata_of
from cairn.kube.service import Service


def service_step(asked: Question, facts: Facts) -> Step | None:
    """Whether there is such a Service and port, for this client."""
    service = asked.service
    if service is None:
        return None
    subject = f"Service {service.key}"
    ports = ", ".join(f"{p.port}/{p.protocol.name}" for p in service.ports) or "none"
    if asked.service_port is None:
        near = service.ports[0].port if service.ports else ""
        return broken(
            found(
                kinds.NO_SUCH_PORT,
                subject,
                {"port": f"{asked.port}/{asked.protocol.name}", "ports": ports, "right": near}
                | {"client": asked.client.text, "target": service.key},
            )
        )
    if not asked.client.inside and asked.kind == "cluster-ip":
        held = [*service.load_balancer_ips, *service.external_ips]
        better = f"{held[0]}:{asked.at}" if held else f"{service.key} (once it has an address)"
        values = {"address": asked.address, "client": asked.client.text, "right": better}
        values |= {"namespace": service.key.namespace, "service": service.key.name}
        return broken(found(kinds.INSIDE_ONLY, subject, values))
    return ok(f"{subject} is {service.type}, ports {ports}, targetPort {_target(facts, service)}")


def _target(facts: Facts, service: Service) -> str:
    raw = raw_service(facts.world, service.key)
    ports = (raw.get("spec") or {}).get("ports") or ()
    return ", ".join(str(port.get("targetPort", port.get("port"))) for port in ports)


def selector_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the Service's selector takes any pod."""
    service = asked.service
    if service is None:
        return None
    if not service.selector:
        return skipped("the Service has no selector: somebody else tells its endpoints")
    pods = pods_of_service(facts.world, service)
    selector = ",".join(f"{k}={v}" for k, v in service.selector)
    if pods:
        return ok(f"{selector} takes {len(pods)} pods")
    namespace = service.key.namespace
    if going := pods_of_service(facts.world, service, deleting=True):
        reason = "all of them are being deleted, and no others are there"
        values = {"count": str(len(going)), "reason": reason, "namespace": namespace}
        values["pod"] = key_of(going[0]).name
        return broken(found(kinds.NO_READY_POD, f"Service {service.key}", values))
    values = {"selector": selector, "namespace": namespace}
    near = _near_labels(facts, service)
    evidence = f"{selector} takes no pod in {namespace}{near}"
    made = found(kinds.SELECTS_NOTHING, f"Service {service.key}", values, evidence)
    return broken(made, evidence=evidence)


def _near_labels(facts: Facts, service: Service) -> str:
    """Return what pods there have instead."""
    pods = [p for p in facts.world.of_kind("Pod") if key_of(p).namespace == service.key.namespace]
    if not pods:
        return f" (there are no pods in {service.key.namespace})"
    pairs = {f"{k}={v}" for p in pods for k, v in metadata_of(p).labels.items()}
    close = [
        found
        for k, v in service.selector
        if f"{k}={v}" not in pairs
        for found in difflib.get_close_matches(f"{k}={v}", sorted(pairs), n=1, cutoff=0.5)
    ]
    return f" (near: {', '.join(close)})" if close else ""


def endpoint_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the Service has endpoints at its port."""
    service, port = asked.service, asked.service_port
    if service is None:
        return None
    if port is None:
        return skipped("the Service has no such port")
    subject = f"Service {service.key}"
    ends = list(endpoints_of(facts.world, service))
    at_port = [
        (address, target.port)
        for part, address, _ in ends
        for target in part.ports
        if (target.name, target.protocol) == (port.name, port.protocol)
    ]
    if at_port:
        places = [f"{address}:{number}" for address, number in at_port]
        return ok(f"{len(at_port)} endpoints: {listed(places)}")
    namespace, name = service.key
    target = _target_of(facts, service, port.port)
    if ends or (isinstance(target, str) and pods_of_service(facts.world, service)):
        return broken(
            found(
                kinds.PORT_NAME_UNKNOWN,
                subject,
                {"port": target, "namespace": namespace, "service": name}
                | {"pods": f"its pods{_declared(facts, service)}"},
            )
        )
    pods = pods_of_service(facts.world, service)
    reason = "its EndpointSlices are empty"
    if pods:
        reason = f"none of its {len(pods)} pods has an address: {pod_trouble(pods[0]).text}"
    elif not service.selector:
        reason = "it has no selector, and nobody made EndpointSlices for it"
    values = {"reason": reason, "namespace": namespace, "service": name}
    return broken(found(kinds.NO_ENDPOINTS, subject, values))


def _target_of(facts: Facts, service: Service, port: int) -> int | str:
    for raw in (raw_service(facts.world, service.key).get("spec") or {}).get("ports") or ():
        if raw.get("port") == port:
            target = raw.get("targetPort", port)
            return target if isinstance(target, int) else str(target)
    return port


def _declared(facts: Facts, service: Service) -> str:
    ports = {
        f"{raw.get('name') or '-'}={raw.get('containerPort')}"
        for pod in pods_of_service(facts.world, service)
        for container in (pod.get("spec") or {}).get("containers") or ()
        for raw in container.get("ports") or ()
    }
    return f" (they declare {', '.join(sorted(ports))})" if ports else ""


def readiness_step(asked: Question, facts: Facts) -> Step | None:
    """Whether some pod behind the Service takes connections, and why others do not."""
    service = asked.service
    if service is None:
        return None
    pods = pods_of_service(facts.world, service)
    if not pods and not list(endpoints_of(facts.world, service)):
        return skipped("there is no pod to be ready")
    parts = facts.world.slices.get(service.key, ())
    out = _ejected(facts, service)
    dead = {entry.where.address for entry in out}
    states = list(chain.from_iterable(part.endpoints for part in parts))
    ready = {a for a, s in states if (s.ready or service.publish_not_ready) and a not in dead}
    total = max(len(pods), len({a for a, _ in states}))
    subject = f"Service {service.key}"
    if ready and len(ready) >= total:
        nodes = sorted({s.node for a, s in states if a in ready and s.node})
        return ok(f"{len(ready)} of {total} pods are ready, on {', '.join(nodes) or 'no node'}")
    troubles = [_ejection(facts, entry) for entry in out]
    troubles += _pod_troubles(facts, service, [pod for pod in pods if not is_ready(pod)])
    if not ready:
        if not troubles:
            why = "its EndpointSlices say that no endpoint is ready"
            values = {"count": total, "reason": why, "namespace": service.key.namespace, "pod": ""}
            troubles = [found(kinds.NO_READY_POD, subject, values)]
        return broken(*troubles)
    line = f"{len(ready)} of {total} pods are ready"
    if not troubles:
        return ok(f"{line}; the others are coming or going")
    return warn(*troubles, evidence=f"{line}; {troubles[0].cause}")


def _ejected(facts: Facts, service: Service) -> list[Ejection]:
    parts = facts.world.slices.get(service.key, ())
    names = {
        str(address): str(pod_at(facts.world, address) or "")
        for part in parts
        for address in part.addresses
    }
    return list(ejections(facts.world.of_kind("CiliumNode"), parts, names))


def _ejection(facts: Facts, entry: Ejection) -> Finding:
    namespace, _, name = entry.pod.partition("/")
    pod = raw_pod(facts.world, Key(namespace, name))
    subject = f"Service {entry.service}"
    seen = f"{entry.node} found {entry.where}: {entry.reason}"
    if pod and is_ready(pod) and "refused" in entry.reason:
        return wrong_target_port(facts, facts.world.services[entry.service], entry.where.port, seen)
    values = {"pod": f"pod {entry.pod}" if entry.pod else "a backend", "where": entry.where}
    values |= {"reason": entry.reason, "namespace": namespace, "name": name}
    return found(kinds.EJECTED, subject, values, seen)


def wrong_target_port(facts: Facts, service: Service, port: int, *evidence: str) -> Finding:
    """Return that nothing listens where a Service sends."""
    declared = _declared(facts, service)
    values = {"port": port, "namespace": service.key.namespace, "service": service.key.name}
    values |= {"reason": (evidence or ("",))[0] + declared}
    values["right"] = declared.partition("=")[2].split(",")[0].rstrip(")") or "the right one"
    return found(kinds.WRONG_TARGET_PORT, f"Service {service.key}", values, *evidence)


def _pod_troubles(facts: Facts, service: Service, pods: list[Object]) -> list[Finding]:
    """Return a finding for each kind of trouble that pods are in, nodes that are down first."""
    down = not_ready_nodes(facts.world)
    subject, total = f"Service {service.key}", len(pods_of_service(facts.world, service))
    names = listed([key_of(pod).name for pod in sorted(pods, key=key_of)])
    made: dict[str, Finding] = {}
    for pod in sorted(pods, key=key_of):
        namespace, name = key_of(pod)
        node, trouble = node_of(pod), pod_trouble(pod)
        values: dict[str, object] = {"pod": name, "namespace": namespace, "node": node}
        values |= {"container": trouble.container, "restarts": trouble.restarts}
        values |= {"ready": total - len(pods), "count": total, "pods": names}
        values["reason"] = trouble.text
        about = f"pod {namespace}/{name}"
        if node in down:
            values["reason"] = f"{down[node]} ({about} is there)"
            made.setdefault("0", found(kinds.NODE_DOWN, f"node {node}", values))
        elif trouble.word == "crash":
            made.setdefault("1", found(kinds.CRASH_LOOP, about, values))
        elif trouble.word == "image":
            made.setdefault("2", found(kinds.IMAGE_MISSING, about, values))
        elif trouble.word == "pending":
            made.setdefault("3", found(kinds.UNSCHEDULABLE, about, values))
        else:
            made.setdefault("4", found(kinds.POD_NOT_READY, about, values))
            kind = kinds.NO_READY_POD if len(pods) == total else kinds.FEW_READY
            values = values | {"reason": f"{about}: {trouble.text}"}
            made.setdefault("5", found(kind, subject, values))
    return [made[key] for key in sorted(made)]
