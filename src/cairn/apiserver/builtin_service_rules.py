"""Rules of Services beyond their schema.

    (new, old)  ->  list[FieldError]

Invariants  No field is accepted that this type of Service has no use for.
Standards   KEP-563 (dual stack), KEP-3015 (traffic distribution), KEP-1864 (node ports)
Not here    Defaults (builtin_service_defaults), cluster addresses (builtin_service_families).
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from cairn.apiserver.address_fault import address_fault
from cairn.apiserver.builtin_service_defaults import (
    WITH_NODE_PORTS,
    is_accessible,
    needs_health_check,
    ports_of,
)
from cairn.apiserver.builtin_service_families import (
    cluster_ip_errors,
    is_headless,
    release_errors,
)
from cairn.apiserver.field_fault import duplicate, forbidden, invalid, required, unsupported
from cairn.apiserver.kind import FieldError
from cairn.apiserver.naming import is_label, is_subdomain, key_fault, label_errors
from cairn.kube.service import SOURCE_RANGES

NODE_PORTS = range(30000, 32768)
KUBELET_PORT = 10250
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
NETWORK_EXPECTED = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_BALANCER_ONLY = "may only be used when `type` is 'LoadBalancer'"


def service_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with a Service beyond its schema."""
    spec = new.get("spec")
    if not isinstance(spec, Mapping):
        return [required("spec")]
    before = (old or {}).get("spec") or {}
    errors = label_errors(spec.get("selector"), "spec.selector")
    if spec.get("type") == "ExternalName":
        errors += _external_name_errors(spec)
    else:
        errors += _headless_errors(spec) + cluster_ip_errors(spec)
    errors += _port_errors(spec)
    errors += _outside_errors(new, spec)
    errors += _balancer_errors(spec)
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        errors.append(unsupported("spec.trafficDistribution", distribution, DISTRIBUTIONS))
    return errors + (_change_errors(spec, before) if old is not None else [])


def _external_name_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    errors = [
        forbidden(f"spec.{name}", "may not be set for ExternalName services")
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(name)
    ]
    name = spec.get("externalName") or ""
    if not name:
        errors.append(required("spec.externalName"))
    elif not is_subdomain(name.removesuffix(".")):
        errors.append(invalid("spec.externalName", name, "must be a DNS name"))
    return errors


def _headless_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    if is_headless(spec) and spec.get("type") in WITH_NODE_PORTS:
        text = f"may not be set to 'None' for {spec['type']} services"
        return [invalid("spec.clusterIPs[0]", "None", text)]
    return []


def _port_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    ports = ports_of(spec)
    if not ports and not is_headless(spec) and spec.get("type") != "ExternalName":
        return [required("spec.ports")]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            text = "a name is needed when there are several ports"
            errors.append(required(f"{path}.name", text))
        elif name and not is_label(name):
            errors.append(invalid(f"{path}.name", name, "must be a lowercase RFC 1123 label"))
        elif name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
        errors += _number_errors(port, path, str(spec.get("type")))
    return errors + _twice_errors(ports)


def _number_errors(port: Mapping[str, Any], path: str, kind: str) -> list[FieldError]:
    errors = []
    target, node_port = port.get("targetPort"), port.get("nodePort")
    if isinstance(target, int) and not 1 <= target <= 65535:
        text = "must be between 1 and 65535, inclusive"
        errors.append(invalid(f"{path}.targetPort", target, text))
    elif isinstance(target, str) and not (is_label(target) and len(target) <= 15):
        text = "must be a port name of at most 15 characters"
        errors.append(invalid(f"{path}.targetPort", target, text))
    if node_port and kind not in WITH_NODE_PORTS:
        errors.append(forbidden(f"{path}.nodePort", f"may not be used when `type` is '{kind}'"))
    elif node_port and node_port not in NODE_PORTS:
        text = "provided port is not in the valid range. "
        text += f"The range of valid ports is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
        errors.append(invalid(f"{path}.nodePort", node_port, text))
    if kind == "LoadBalancer" and port.get("port") == KUBELET_PORT:
        text = f"may not expose port {KUBELET_PORT} externally since it is used by kubelet"
        errors.append(invalid(path, KUBELET_PORT, text))
    if (application := port.get("appProtocol")) and (fault := key_fault(application)):
        errors.append(invalid(f"{path}.appProtocol", application, fault))
    return errors


def _twice_errors(ports: list[dict[str, Any]]) -> list[FieldError]:
    seen: set[tuple[Any, Any]] = set()
    errors = []
    for index, port in enumerate(ports):
        end = port.get("protocol"), port.get("nodePort")
        if end[1] and end in seen:
            errors.append(duplicate(f"spec.ports[{index}].nodePort", end[1]))
        seen.add(end)
    return errors


def _outside_errors(new: Mapping[str, Any], spec: Mapping[str, Any]) -> list[FieldError]:
    """Return what is wrong with addresses and networks outside the cluster."""
    errors = []
    for index, text in enumerate(spec.get("externalIPs") or ()):
        if fault := address_fault(text):
            errors.append(invalid(f"spec.externalIPs[{index}]", text, fault))
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    if listed := spec.get("loadBalancerSourceRanges"):
        where = "spec.loadBalancerSourceRanges"
        ranges = [(f"{where}[{index}]", text) for index, text in enumerate(listed)]
    else:
        where = f"metadata.annotations[{SOURCE_RANGES}]"
        text = (annotations.get(SOURCE_RANGES) or "").strip()
        ranges = [(where, part) for part in text.split(",")] if text else []
    if ranges and spec.get("type") != "LoadBalancer":
        errors.append(forbidden(where, _BALANCER_ONLY))
    return errors + [
        invalid(path, text, NETWORK_EXPECTED) for path, text in ranges if not _is_network(text)
    ]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return "/" in text


def _balancer_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    """Return which fields of load balancers and outside traffic do not belong here."""
    errors = []
    balancer = spec.get("type") == "LoadBalancer"
    if not balancer and spec.get("allocateLoadBalancerNodePorts") is not None:
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", _BALANCER_ONLY))
    if (wanted := spec.get("loadBalancerClass")) is not None:
        if not balancer:
            errors.append(forbidden("spec.loadBalancerClass", _BALANCER_ONLY))
        elif fault := key_fault(wanted):
            errors.append(invalid("spec.loadBalancerClass", wanted, fault))
    policy, number = spec.get("externalTrafficPolicy"), spec.get("healthCheckNodePort")
    if policy and not is_accessible(spec):
        text = "may only be set for externally-accessible services"
        errors.append(invalid("spec.externalTrafficPolicy", policy, text))
    if number and not needs_health_check(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
        errors.append(invalid("spec.healthCheckNodePort", number, f"{text}'Local'"))
    return errors


def _change_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    errors = release_errors(spec, before)
    if spec.get("type") == before.get("type") == "LoadBalancer":
        wanted = spec.get("loadBalancerClass")
        if wanted != before.get("loadBalancerClass"):
            errors.append(invalid("spec.loadBalancerClass", wanted, "may not change once set"))
    number = spec.get("healthCheckNodePort")
    both = needs_health_check(spec) and needs_health_check(before)
    if both and number != before.get("healthCheckNodePort"):
        errors.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return errors
