"""Defaults and rules of Services.

    Service, Context  ->  completed Service; (new, old)  ->  list[FieldError]

Invariants  What the server once gave (cluster addresses, node ports) stays when a client
            leaves it out.
Standards   KEP-563 (dual stack), KEP-2086 (internal traffic policy), KEP-1864 (node ports)
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from cairn.apiserver.kind import Context, FieldError, Json, Reason
from cairn.apiserver.naming import is_label, is_subdomain, label_errors

NODE_PORTS = range(30000, 32768)
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_FAMILY_NAMES = {4: "IPv4", 6: "IPv6"}


def complete_service(obj: Json, context: Context) -> None:
    """Fill in what a Service leaves open; raises AllocationError."""
    spec = obj.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    old = (context.old or {}).get("spec") or {}
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", 10800)
    obj.setdefault("status", {}).setdefault("loadBalancer", {})
    for port in _ports(spec):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port")
    if kind == "ExternalName":
        _drop(spec, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    _complete_addresses(spec, old, context)
    _complete_outside(spec, old, context)


def _drop(spec: Json, *names: str) -> None:
    for name in names:
        spec.pop(name, None)


def _ports(spec: Mapping[str, Any]) -> list[Json]:
    ports = spec.get("ports")
    return [p for p in ports if isinstance(p, dict)] if isinstance(ports, list) else []


def _complete_addresses(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    if old.get("clusterIP"):
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if name in old and not spec.get(name):
                spec[name] = old[name]
        return
    if spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    policy = spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec.get("clusterIP") == "None":
        spec["clusterIPs"] = ["None"]
        spec.setdefault("ipFamilies", ["IPv4"])
        return
    wanted = list(spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")]))
    families = _families(spec, wanted, dual=policy == "RequireDualStack")
    given = [
        context.allocate_cluster_ip(family, wanted[i] if i < len(wanted) else None)
        for i, family in enumerate(families)
    ]
    spec["clusterIP"], spec["clusterIPs"], spec["ipFamilies"] = given[0], given, families


def _families(spec: Json, wanted: list[str], *, dual: bool) -> list[str]:
    families: list[str] = list(spec.get("ipFamilies") or ())
    for address in wanted[len(families) :]:
        try:
            families.append(_FAMILY_NAMES[ipaddress.ip_address(address).version])
        except ValueError:
            families.append("IPv4")
    families = families or ["IPv4"]
    if dual and len(families) == 1:
        families.append("IPv6" if families == ["IPv4"] else "IPv4")
    return families


def _complete_outside(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    kind = spec["type"]
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    else:
        _drop(spec, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if kind in _WITH_NODE_PORTS:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    else:
        _drop(spec, "externalTrafficPolicy", "healthCheckNodePort")
    local = kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if local:
        number = spec.get("healthCheckNodePort") or old.get("healthCheckNodePort")
        if number != old.get("healthCheckNodePort") or not number:
            number = context.allocate_node_port("TCP", number)
        spec["healthCheckNodePort"] = number
    else:
        _drop(spec, "healthCheckNodePort")
    _complete_node_ports(spec, old, context)


def _complete_node_ports(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    kind = spec["type"]
    if kind not in _WITH_NODE_PORTS:
        # A client that changes the type without a word on node ports gives them back.
        had = {(p.get("protocol"), p.get("nodePort")) for p in _ports(old)}
        for port in _ports(spec):
            if (port["protocol"], port.get("nodePort")) in had:
                port.pop("nodePort", None)
        return
    before = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in _ports(old)}
    held = {(p.get("protocol"), p.get("nodePort")) for p in _ports(old)}
    automatic = kind == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
    shared: dict[Any, int] = {}
    for port in _ports(spec):
        number: Any = port.get("nodePort") or None
        if number is None and automatic:
            number = before.get((port["protocol"], port.get("port")))
        if number is None and not automatic:
            port.pop("nodePort", None)
            continue
        if (port["protocol"], number) not in held:
            # DNS on 53/TCP and 53/UDP is one service: one number for both protocols.
            hint = number or shared.get(port.get("port"))
            number = context.allocate_node_port(port["protocol"], hint)
        shared[port.get("port")] = number
        port["nodePort"] = number


def service_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with a Service beyond its schema."""
    spec = new.get("spec")
    if not isinstance(spec, Mapping):
        return [FieldError("spec", Reason.REQUIRED, "Required value")]
    kind = spec.get("type")
    errors = label_errors(spec.get("selector"), "spec.selector")
    if kind == "ExternalName":
        name = spec.get("externalName") or ""
        if not is_subdomain(name.removesuffix(".")):
            text = f'Invalid value: "{name}": must be a DNS name'
            errors.append(FieldError("spec.externalName", Reason.INVALID, text))
        return errors
    errors += _port_errors(spec) + _address_errors(spec)
    if old is not None:
        errors += _immutable_errors(spec, old.get("spec") or {})
    return errors


def _port_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    ports = _ports(spec)
    if not ports and spec.get("clusterIP") != "None":
        return [FieldError("spec.ports", Reason.REQUIRED, "Required value")]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            text = "Required value: a name is needed when there are several ports"
            errors.append(FieldError(f"{path}.name", Reason.REQUIRED, text))
        elif name and not is_label(name):
            text = f'Invalid value: "{name}": must be a lowercase RFC 1123 label'
            errors.append(FieldError(f"{path}.name", Reason.INVALID, text))
        elif name in names:
            text = f'Duplicate value: "{name}"'
            errors.append(FieldError(f"{path}.name", Reason.DUPLICATE, text))
        names.add(name)
        errors += _number_errors(port, path, str(spec.get("type")))
    return errors


def _number_errors(port: Mapping[str, Any], path: str, kind: str) -> list[FieldError]:
    errors = []
    target, node_port = port.get("targetPort"), port.get("nodePort")
    if isinstance(target, int) and not 1 <= target <= 65535:
        text = f"Invalid value: {target}: must be between 1 and 65535, inclusive"
        errors.append(FieldError(f"{path}.targetPort", Reason.INVALID, text))
    elif isinstance(target, str) and not (is_label(target) and len(target) <= 15):
        text = f'Invalid value: "{target}": must be a port name of at most 15 characters'
        errors.append(FieldError(f"{path}.targetPort", Reason.INVALID, text))
    if node_port and kind not in _WITH_NODE_PORTS:
        text = f"Forbidden: may not be used when `type` is '{kind}'"
        errors.append(FieldError(f"{path}.nodePort", Reason.FORBIDDEN, text))
    elif node_port and node_port not in NODE_PORTS:
        text = f"Invalid value: {node_port}: provided port is not in the valid range. "
        text += f"The range of valid ports is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
        errors.append(FieldError(f"{path}.nodePort", Reason.INVALID, text))
    return errors


def _address_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    listed = [("spec.clusterIPs", a) for a in spec.get("clusterIPs") or () if a != "None"]
    listed += [("spec.externalIPs", a) for a in spec.get("externalIPs") or ()]
    for path, address in listed:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            text = f'Invalid value: "{address}": must be a valid IP address'
            errors.append(FieldError(path, Reason.INVALID, text))
    for index, network in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        try:
            ipaddress.ip_network(network.strip(), strict=False)
        except ValueError:
            text = f'Invalid value: "{network}": must be a network, as 10.0.0.0/8'
            path = f"spec.loadBalancerSourceRanges[{index}]"
            errors.append(FieldError(path, Reason.INVALID, text))
    if spec.get("clusterIP") == "None" and spec.get("type") in _WITH_NODE_PORTS:
        text = f"Invalid value: \"None\": may not be 'None' for {spec['type']} services"
        errors.append(FieldError("spec.clusterIPs[0]", Reason.INVALID, text))
    return errors


def _immutable_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    if before.get("clusterIP") and spec.get("clusterIP") != before["clusterIP"]:
        text = f'Invalid value: "{spec.get("clusterIP")}": field is immutable'
        errors.append(FieldError("spec.clusterIP", Reason.INVALID, text))
    same_type = spec.get("type") == before.get("type") == "LoadBalancer"
    if same_type and spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
        text = "Invalid value: may not change once set"
        errors.append(FieldError("spec.loadBalancerClass", Reason.INVALID, text))
    return errors
