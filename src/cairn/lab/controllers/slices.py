"""Which pods stand behind a Service, as EndpointSlices and as Endpoints.

    Service, its pods, zones of nodes  ->  EndpointSlice objects, Endpoints object

Invariants  A slice's name depends on Service, family, ports and number alone, so that a changed
            pod changes one slice in place. Endpoints are in order of pod names.
Standards   KEP-752 (EndpointSlice), KEP-1669 (terminating endpoints), KEP-3015 (hints)
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cairn.lab.controllers.pod_state import is_ready, node_of, phase
from cairn.lab.controllers.world import Raw, is_deleting, owner_reference
from cairn.net import parse_address

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
MOST_PER_SLICE = 100
MOST_IN_ENDPOINTS = 1000

_CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")
_NOWHERE: Mapping[str, str] = MappingProxyType({})

Ports = tuple[tuple[str, str, int, str], ...]
"""Name, protocol, number and application protocol of each port."""


def slices_of(
    service: Raw, pods: Sequence[Raw], zones: Mapping[str, str] = _NOWHERE
) -> dict[str, Raw]:
    """Return a Service's slices by name; one empty slice per family if no pod matches.

    `zones` tells in which zone a node stands.
    """
    groups: dict[tuple[int, Ports], list[Raw]] = {}
    versions = _versions(service)
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"]):
        if phase(pod) in ("Succeeded", "Failed"):
            continue
        ports = resolve_ports(service, pod)
        for version, address in _addresses(pod):
            if version in versions:
                endpoint = _endpoint(service, pod, address, zones.get(node_of(pod), ""))
                groups.setdefault((version, ports), []).append(endpoint)
    for version in versions:
        if not any(known == version for known, _ in groups):
            groups[version, ()] = []
    slices = {}
    for (version, ports), endpoints in groups.items():
        for number in range(max(1, -(-len(endpoints) // MOST_PER_SLICE))):
            part = endpoints[number * MOST_PER_SLICE : (number + 1) * MOST_PER_SLICE]
            made = _slice(service, version, ports, number, part)
            slices[made["metadata"]["name"]] = made
    return slices


def resolve_ports(service: Raw, pod: Raw) -> Ports:
    """Return the ports at which one pod serves; a named port that it lacks is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort") or port["port"]
        number = target if isinstance(target, int) else _named(pod, str(target), protocol)
        if number:
            name, application = port.get("name") or "", port.get("appProtocol") or ""
            found.append((name, protocol, number, application))
    return tuple(found)


def endpoints_of(service: Raw, slices: Iterable[Raw]) -> Raw:
    """Return the Endpoints object that says the same as the slices of the first family."""
    first = f"IPv{_versions(service)[0]}"
    subsets = []
    for item in sorted(slices, key=lambda s: str(s["metadata"]["name"])):
        if not item["endpoints"] or item["addressType"] != first:
            continue
        subset: dict[str, Any] = {}
        for name, ready in (("addresses", True), ("notReadyAddresses", False)):
            entries = [
                {
                    "ip": endpoint["addresses"][0],
                    "nodeName": endpoint.get("nodeName"),
                    "targetRef": endpoint["targetRef"],
                }
                for endpoint in item["endpoints"][:MOST_IN_ENDPOINTS]
                if endpoint["conditions"]["ready"] is ready
                and not (endpoint["conditions"]["terminating"] and not ready)
            ]
            if entries:
                subset[name] = entries
        ports = [{k: v for k, v in port.items() if v != ""} for port in item["ports"]]
        if subset:
            subsets.append({**subset, "ports": ports} if ports else subset)
    metadata = service["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            },
        },
        "subsets": subsets,
    }


def _slice(service: Raw, version: int, ports: Ports, number: int, endpoints: list[Raw]) -> Raw:
    metadata = service["metadata"]
    mark = json.dumps([metadata["uid"], version, ports, number]).encode()
    labels = {
        **(metadata.get("labels") or {}),
        SERVICE_LABEL: metadata["name"],
        MANAGED_LABEL: MANAGER,
    }
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name'][:57]}-{hashlib.sha256(mark).hexdigest()[:5]}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": f"IPv{version}",
        "endpoints": endpoints,
        "ports": [_port(*port) for port in ports],
    }


def _port(name: str, protocol: str, number: int, application: str) -> Raw:
    port = {"name": name, "protocol": protocol, "port": number}
    return {**port, "appProtocol": application} if application else port


def _endpoint(service: Raw, pod: Raw, address: str, zone: str) -> Raw:
    metadata, spec = pod["metadata"], pod["spec"]
    serving, terminating = is_ready(pod), is_deleting(pod)
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Raw = {
        "addresses": [address],
        "conditions": {
            "ready": always or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata.get("uid"),
        },
    }
    if node_of(pod):
        endpoint["nodeName"] = node_of(pod)
    if zone:
        endpoint["zone"] = zone
    if endpoint["conditions"]["ready"] and (hints := _hints(service, node_of(pod), zone)):
        endpoint["hints"] = hints
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def _hints(service: Raw, node: str, zone: str) -> Raw:
    """Return for whose clients an endpoint is meant: those of its own zone, or of its own node."""
    wanted = service["spec"].get("trafficDistribution")
    hints = {}
    if wanted in _CLOSE and zone:
        hints["forZones"] = [{"name": zone}]
    if wanted == "PreferSameNode" and node:
        hints["forNodes"] = [{"name": node}]
    return hints


def _versions(service: Raw) -> list[int]:
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    return [6 if family == "IPv6" else 4 for family in families]


def _addresses(pod: Raw) -> list[tuple[int, str]]:
    status = pod.get("status") or {}
    texts = [item.get("ip") for item in status.get("podIPs") or ()] or [status.get("podIP")]
    found: dict[int, str] = {}
    for text in texts:
        if text:
            found.setdefault(parse_address(text).version, text)
    return sorted(found.items())


def _named(pod: Raw, name: str, protocol: str) -> int:
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("name") == name and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return 0
