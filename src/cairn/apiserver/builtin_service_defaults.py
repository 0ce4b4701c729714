"""What the server fills in of a Service: defaults, addresses, node ports.

    Service, Context  ->  completed Service

Invariants  What the server once gave (cluster addresses, node ports) stays when a client
            leaves it out. A field goes by itself only when the new type has no use for it and the
            client did not touch it; otherwise the rules refuse it.
Standards   KEP-2086 (internal traffic policy), KEP-1864 (node ports of load balancers)
Not here    Families and cluster addresses (builtin_service_families), rules
            (builtin_service_rules).
"""

from collections.abc import Callable, Mapping
from typing import Any

from cairn.apiserver.builtin_service_families import complete_cluster_ips
from cairn.apiserver.field_fault import invalid
from cairn.apiserver.kind import AllocationError, CompletionError, Context, Json

WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
AFFINITY_S = 10800


def complete_service(obj: Json, context: Context) -> None:
    """Fill in what a Service leaves open; raises CompletionError."""
    spec = obj.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    old = (context.old or {}).get("spec") or {}
    kind = spec.setdefault("type", "ClusterIP")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})
    if kind != "LoadBalancer":
        obj["status"]["loadBalancer"] = {}
    _complete_affinity(spec)
    for port in ports_of(spec):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port")
    _drop_useless(spec, old)
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if is_accessible(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind != "ExternalName":
        complete_cluster_ips(spec, old, context)
    if kind in WITH_NODE_PORTS:
        _complete_node_ports(spec, old, context)
    if needs_health_check(spec):
        _complete_health_check(spec, old, context)


def ports_of(spec: Mapping[str, Any]) -> list[Json]:
    """Return the Service's ports, as far as they are objects."""
    ports = spec.get("ports")
    return [p for p in ports if isinstance(p, dict)] if isinstance(ports, list) else []


def is_accessible(spec: Mapping[str, Any]) -> bool:
    """Return whether clients outside the cluster can reach the Service."""
    outside = spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    return outside or spec.get("type") in WITH_NODE_PORTS


def needs_health_check(spec: Mapping[str, Any]) -> bool:
    """Return whether nodes tell load balancers if they have a pod of the Service."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _complete_affinity(spec: Json) -> None:
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", AFFINITY_S)
    else:
        spec.pop("sessionAffinityConfig", None)


USES: tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("clusterIP", lambda spec: spec.get("type") != "ExternalName"),
    ("clusterIPs", lambda spec: spec.get("type") != "ExternalName"),
    ("ipFamilies", lambda spec: spec.get("type") != "ExternalName"),
    ("ipFamilyPolicy", lambda spec: spec.get("type") != "ExternalName"),
    ("allocateLoadBalancerNodePorts", lambda spec: spec.get("type") == "LoadBalancer"),
    ("loadBalancerClass", lambda spec: spec.get("type") == "LoadBalancer"),
    ("healthCheckNodePort", needs_health_check),
    ("externalTrafficPolicy", is_accessible),
)
"""Fields that only some Services have a use for."""


def _drop_useless(spec: Json, old: Mapping[str, Any]) -> None:
    """Take away what the change of type made useless and the client did not touch."""
    useless = [
        name
        for name, use in USES
        if old and use(old) and not use(spec) and spec.get(name) == old.get(name)
    ]
    for name in useless:
        spec.pop(name, None)
    if old.get("type") in WITH_NODE_PORTS and spec["type"] not in WITH_NODE_PORTS:
        had = {port.get("nodePort") for port in ports_of(old)}
        if all(port.get("nodePort") in had | {None, 0} for port in ports_of(spec)):
            for port in ports_of(spec):
                port.pop("nodePort", None)


def _complete_node_ports(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    _keep_node_ports(spec, old)
    automatic = spec["type"] == "NodePort" or spec["allocateLoadBalancerNodePorts"]
    held = {port.get("nodePort") for port in ports_of(old)}
    # DNS on 53/TCP and 53/UDP is one service: one number for both protocols.
    asked = {port.get("port"): port["nodePort"] for port in ports_of(spec) if port.get("nodePort")}
    reserved: set[tuple[str, int]] = set()
    for index, port in enumerate(ports_of(spec)):
        number = port.get("nodePort") or None
        if number is None and not automatic:
            port.pop("nodePort", None)
            continue
        shared = asked.get(port.get("port"))
        if number is None and shared and (port["protocol"], shared) not in reserved:
            number = shared
        if number is None or number not in held:
            number = _node_port(f"spec.ports[{index}].nodePort", number, port["protocol"], context)
        asked.setdefault(port.get("port"), number)
        reserved.add((port["protocol"], number))
        port["nodePort"] = number


def _keep_node_ports(spec: Json, old: Mapping[str, Any]) -> None:
    """Give ports without a node port the one that they had: known by name, else by number."""
    for key in (_by_name, _by_number):
        used = {port.get("nodePort") for port in ports_of(spec)}
        free = {key(p): p["nodePort"] for p in ports_of(old) if p.get("nodePort")}
        for port in ports_of(spec):
            number = free.get(key(port))
            if number and not port.get("nodePort") and number not in used:
                port["nodePort"] = number


def _by_name(port: Mapping[str, Any]) -> Any:
    return port.get("name") or "", port.get("protocol") or "TCP"


def _by_number(port: Mapping[str, Any]) -> Any:
    return port.get("port"), port.get("protocol") or "TCP"


def _complete_health_check(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    before = old.get("healthCheckNodePort") if needs_health_check(old) else None
    number = spec.get("healthCheckNodePort") or before
    if not number or number != before:
        number = _node_port("spec.healthCheckNodePort", number, "TCP", context)
    spec["healthCheckNodePort"] = number


def _node_port(path: str, wanted: int | None, protocol: str, context: Context) -> int:
    try:
        return context.allocate_node_port(protocol, wanted)
    except AllocationError as error:
        raise CompletionError([invalid(path, wanted or 0, str(error))]) from error
