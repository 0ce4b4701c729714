"""ClusterNetworkPolicy, paragraph by paragraph of the API reference.

raw objects of one tier, who, which connection  ->  Accept, Deny, Pass, or nothing

Standards   policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy
"""

from label_selector import selects
from world import (
    WITH_PORTS,
    End,
    Object,
    Question,
    World,
    labels_of,
    named_ports,
    namespace_labels,
    on_host_network,
)


def decision(
    tier: str, world: World, pod: Object, other: End, asked: Question
) -> tuple[Object, Object] | None:
    """Return the first rule of a tier that matches, with its policy.

    priority: "Policies with lower priority values have higher precedence". ingress: "The relative
    precedence of ingress rules within a single CNP object … will be determined by the order in
    which the rule is written."
    """
    policies = [
        item for item in world.of_kind("ClusterNetworkPolicy") if item["spec"]["tier"] == tier
    ]
    for policy in sorted(policies, key=lambda item: int(item["spec"]["priority"])):
        if not is_about(policy, world, pod):
            continue
        for rule in policy["spec"].get(asked.direction) or ():
            if rule_matches(rule, world, pod, other, asked):
                return rule, policy
    return None


def is_about(policy: Object, world: World, pod: Object) -> bool:
    """subject: "Note that host-networked pods are not included in subject selection." """
    return not on_host_network(pod) and pods_match(policy["spec"]["subject"], world, pod)


def pods_match(chosen: Object, world: World, pod: Object) -> bool:
    """namespaces: "select all pods within a set of Namespaces"; pods: "a set of pods in a set of
    namespaces".
    """
    labels = namespace_labels(world, pod["metadata"]["namespace"])
    if "namespaces" in chosen:
        return selects(chosen["namespaces"], labels)
    if "pods" in chosen:
        both = chosen["pods"]
        return selects(both.get("namespaceSelector") or {}, labels) and selects(
            both["podSelector"], labels_of(pod)
        )
    return False


def rule_matches(rule: Object, world: World, pod: Object, other: End, asked: Question) -> bool:
    """from, to: "If any element matches … then the specified action is applied." protocols: "If
    unspecified, protocol-specific attributes will not be used to match traffic."
    """
    peers = rule["from" if asked.direction == "ingress" else "to"]
    if not any(is_peer(peer, world, other) for peer in peers):
        return False
    protocols = rule.get("protocols")
    return not protocols or any(is_protocol(item, pod, other, asked) for item in protocols)


def is_peer(peer: Object, world: World, other: End) -> bool:
    """namespaces, pods: "host-networked pods are not included in this type of peer". nodes: "if
    present but empty, it selects all Nodes". networks: "cluster-internal traffic will be checked
    against the rule as well".
    """
    if "nodes" in peer:
        return other.node is not None and selects(peer["nodes"], labels_of(other.node))
    if "networks" in peer:
        return any(other.within(network) for network in peer["networks"])
    if "domainNames" in peer:
        names = world.learnt.get(str(other.address)) or ()
        return other.outside and any(
            is_domain(wanted, name) for wanted in peer["domainNames"] for name in names
        )
    return other.pod is not None and pods_match(peer, world, other.pod)


def is_domain(wanted: str, name: str) -> bool:
    """DomainName: "'*', the wildcard specifier, matches one or more entire labels … may only be
    specified as a prefix."
    """
    wanted = wanted.lower().rstrip(".")
    if wanted.startswith("*."):
        return name.endswith(wanted[1:]) and len(name) > len(wanted[1:])
    return name == wanted


def is_protocol(item: Object, pod: Object, other: End, asked: Question) -> bool:
    """protocols: tcp, udp, sctp with "destinationPort"; destinationNamedPort "selects a destination
    port on a pod based on the ContainerPort name".
    """
    if "destinationNamedPort" in item:
        holder = pod if asked.direction == "ingress" else other.pod
        name = item["destinationNamedPort"]
        return holder is not None and (asked.protocol, asked.port) in named_ports(holder, name)
    for word, attributes in item.items():
        if asked.protocol != WITH_PORTS[word.upper()]:
            continue
        port = (attributes or {}).get("destinationPort")
        if port is None:
            return True
        if "range" in port:
            return bool(port["range"]["start"] <= asked.port <= port["range"]["end"])
        return bool(asked.port == port["number"])
    return False
