"""Whom a rule of a CiliumNetworkPolicy names, by the words of "Layer 3 Policies".

one entry of from… or to…, an end  ->  whether that end is meant

Standards   docs.cilium.io "Layer 3 Policies", "Using Kubernetes Constructs In Policy"
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from label_selector import selects
from world import (
    End,
    Object,
    World,
    address_of,
    labels_of,
    name_of,
    namespace_labels,
)

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
KINDS = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Services", "Nodes", "FQDNs")


def peers_of(rule: Object) -> list[tuple[str, Any]]:
    """Return (kind, entry) for each peer that a rule names; (kind, None) for a list that is written
    and empty, which selects nothing.
    """
    found: list[tuple[str, Any]] = []
    for kind in KINDS:
        for word in (f"from{kind}", f"to{kind}"):
            if word in rule:
                found += [(kind, entry) for entry in rule[word]] or [(kind, None)]
    for word in ("fromRequires", "toRequires"):
        # A rule of requirements has peers to narrow, and names none itself.
        if rule.get(word) and not found:
            found.append((word, None))
    return found


def is_peer(
    kind: str, entry: Any, policy: Object, world: World, other: End, required: list[Object]
) -> bool:
    """Return whether an end is one that the entry names."""
    namespace = policy["metadata"].get("namespace") or ""
    if kind == "Endpoints":
        wanted = [meant(entry, namespace), *required]
        return all(is_endpoint(selector, world, other) for selector in wanted)
    if kind == "CIDR":
        # "a plain address" is the network of that address alone
        return other.outside and other.within(entry)
    checks: dict[str, Callable[[], bool]] = {
        "CIDRSet": lambda: in_cidr_set(entry, world, other),
        "Entities": lambda: is_entity(entry, world, other),
        "Services": lambda: behind_service(entry, namespace, world, other),
        "Nodes": lambda: (
            other.node is not None and selects(meant(entry, ""), labels_of(other.node))
        ),
        "FQDNs": lambda: has_name(entry, world, other),
    }
    return checks[kind]()


def flat_labels(world: World, pod: Object) -> dict[str, str]:
    """Using Kubernetes Constructs: the labels by which an endpoint is known."""
    namespace = pod["metadata"]["namespace"]
    mine = dict(labels_of(pod))
    for key, value in namespace_labels(world, namespace).items():
        mine[NAMESPACE_LABELS + key] = value
    mine[NAMESPACE] = namespace
    mine["io.cilium.k8s.policy.serviceaccount"] = pod["spec"].get("serviceAccountName") or "default"
    mine["io.cilium.k8s.policy.cluster"] = "default"
    return mine


def bare(key: str) -> str:
    """Return a label key without the source of the label: `k8s:`, `any:`."""
    return key.removeprefix("k8s:").removeprefix("any:")


def meant(selector: Mapping[str, Any], namespace: str) -> Object:
    """A selector that names no namespace is "limited to the namespace of the policy": written out
    here, with bare keys.
    """
    plain: Object = {
        "matchLabels": {bare(k): v for k, v in (selector.get("matchLabels") or {}).items()},
        "matchExpressions": [
            {**item, "key": bare(item["key"])} for item in selector.get("matchExpressions") or ()
        ],
    }
    keys = [*plain["matchLabels"], *(item["key"] for item in plain["matchExpressions"])]
    free = any(key == NAMESPACE or key.startswith((NAMESPACE_LABELS, "reserved:")) for key in keys)
    if namespace and not free:
        plain["matchLabels"][NAMESPACE] = namespace
    return plain


def is_endpoint(selector: Mapping[str, Any], world: World, other: End) -> bool:
    """fromEndpoints: "a list of endpoints identified by an EndpointSelector". Ends that are no pod
    are found by their reserved label only.
    """
    keys = [
        *(selector.get("matchLabels") or {}),
        *(item["key"] for item in selector.get("matchExpressions") or ()),
    ]
    if other.pod is not None:
        return selects(selector, flat_labels(world, other.pod))
    if not any(key.startswith("reserved:") for key in keys):
        return False
    return selects(selector, reserved_labels(world, other))


def reserved_labels(world: World, other: End) -> dict[str, str]:
    """Special Identities: host, remote-node, world, kube-apiserver."""
    if other.node is None:
        mine = {"reserved:world": ""}
    elif other.node["metadata"]["name"] == world.here:
        mine = {"reserved:host": ""}
    else:
        mine = {"reserved:remote-node": ""}
    if other.apiserver:
        mine["reserved:kube-apiserver"] = ""
    return mine


def is_entity(entity: str, world: World, other: End) -> bool:
    """fromEntities: "the entities that can access the selected endpoints"."""
    host = other.node is not None and other.node["metadata"]["name"] == world.here
    members = {
        "all": True,
        "cluster": not other.outside,
        "world": other.outside,
        "world-ipv4": other.outside and other.address.version == 4,
        "world-ipv6": other.outside and other.address.version == 6,
        "host": host,
        "remote-node": other.node is not None and not host,
        "kube-apiserver": other.apiserver,
        "ingress": False,
        "init": False,
        "health": False,
        "unmanaged": False,
        "none": False,
    }
    return members[entity]


def in_cidr_set(entry: Object, world: World, other: End) -> bool:
    """fromCIDRSet: "along with an optional list of prefixes/CIDRs … that are subnets of the source
    prefix/CIDR from which communication is not allowed", "may also reference prefixes/CIDRs
    indirectly via a CiliumCIDRGroup".
    """
    if not other.outside:
        return False
    if any(other.within(part) for part in entry.get("except") or ()):
        return False
    networks = [entry["cidr"]] if "cidr" in entry else []
    for group in world.of_kind("CiliumCIDRGroup"):
        if "cidrGroupRef" in entry and group["metadata"]["name"] == entry["cidrGroupRef"]:
            networks += group["spec"]["externalCIDRs"]
        if "cidrGroupSelector" in entry and selects(entry["cidrGroupSelector"], labels_of(group)):
            networks += group["spec"]["externalCIDRs"]
    return any(other.within(network) for network in networks)


def behind_service(entry: Object, namespace: str, world: World, other: End) -> bool:
    """toServices: "uses the discovered services' label selector as an endpoint selector within the
    policy"; of services without one, "the IPs in the service's EndpointSlices are converted to CIDR
    selectors", which "cannot select pods".
    """
    return any(
        serves(service, world, other)
        for service in world.of_kind("Service")
        if service_meant(entry, namespace, service)
    )


def service_meant(entry: Object, namespace: str, service: Object) -> bool:
    """Services are referenced "by name or label selector"."""
    if "k8sService" in entry:
        wanted = entry["k8sService"]
        home = wanted.get("namespace") or namespace
        return name_of(service) == f"{home}/{wanted['serviceName']}"
    wanted = entry["k8sServiceSelector"]
    home = wanted.get("namespace") or ""
    if home and service["metadata"]["namespace"] != home:
        return False
    return selects(wanted["selector"], labels_of(service))


def serves(service: Object, world: World, other: End) -> bool:
    """Return whether an end is behind a Service."""
    home = service["metadata"]["namespace"]
    chosen = service["spec"].get("selector")
    if chosen:
        if other.pod is None or other.pod["metadata"]["namespace"] != home:
            return False
        return selects({"matchLabels": chosen}, labels_of(other.pod))
    for piece in world.of_kind("EndpointSlice"):
        if piece["metadata"]["namespace"] != home:
            continue
        if labels_of(piece).get("kubernetes.io/service-name") != service["metadata"]["name"]:
            continue
        for endpoint in piece["endpoints"]:
            if other.outside and other.address in map(address_of, endpoint["addresses"]):
                return True
    return False


def has_name(entry: Object, world: World, other: End) -> bool:
    """toFQDNs: "remote, non-cluster, peers using DNS names converted to IPs via DNS lookups";
    matchName exactly; matchPattern: "`*` within a domain allows 0 or more valid DNS characters,
    except for the `.` separator … `*` alone matches all names … `**.` is a special prefix … to
    wildcard all cascaded subdomains".
    """
    if not other.outside:
        return False
    names = world.learnt.get(str(other.address)) or ()
    if "matchName" in entry:
        return entry["matchName"].lower().rstrip(".") in names
    return any(fits(entry["matchPattern"].lower().rstrip("."), name) for name in names)


def fits(pattern: str, name: str) -> bool:
    """Return whether a name fits a matchPattern."""
    if pattern == "*":
        return True
    spelled = ""
    if pattern.startswith("**."):
        spelled, pattern = r"([-a-z0-9_]+\.)+", pattern[3:]
    spelled += "".join("[-a-z0-9_]*" if letter == "*" else re.escape(letter) for letter in pattern)
    return re.fullmatch(spelled, name) is not None
