"""NetworkPolicy, paragraph by paragraph of the API reference.

one raw object, who, which connection  ->  whether it isolates, whether it allows

Standards   networking.k8s.io/v1 NetworkPolicy; "Network Policies" of the Kubernetes documentation
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


def is_about(policy: Object, pod: Object) -> bool:
    """podSelector: "selects the pods to which this NetworkPolicy object applies. An empty selector
    matches all pods in the policy's namespace."

    Pods of the host network are left alone: the documentation leaves that to the implementation.
    """
    if on_host_network(pod):
        return False
    if pod["metadata"]["namespace"] != policy["metadata"]["namespace"]:
        return False
    return selects(policy["spec"].get("podSelector") or {}, labels_of(pod))


def isolates(policy: Object, direction: str) -> bool:
    """policyTypes: "If this field is not specified, it will default based on the existence of
    ingress or egress rules; policies that contain an egress section are assumed to affect egress,
    and all policies (whether or not they contain an ingress section) are assumed to affect
    ingress."
    """
    types = policy["spec"].get("policyTypes")
    if types:
        return direction.capitalize() in types
    return direction == "ingress" or bool(policy["spec"].get("egress"))


def allows(policy: Object, world: World, pod: Object, other: End, asked: Question) -> bool:
    """ingress: "Traffic is allowed to a pod if … the traffic matches at least one ingress rule
    across all of the NetworkPolicy objects whose podSelector matches the pod." Likewise egress.
    """
    for rule in policy["spec"].get(asked.direction) or ():
        peers = rule.get("from" if asked.direction == "ingress" else "to")
        if any_peer(peers, policy, world, other) and any_port(rule.get("ports"), pod, other, asked):
            return True
    return False


def any_peer(peers: list[Object] | None, policy: Object, world: World, other: End) -> bool:
    """from: "Items in this list are combined using a logical OR operation. If this field is empty
    or missing, this rule matches all sources (traffic not restricted by source)."
    """
    return not peers or any(is_peer(peer, policy, world, other) for peer in peers)


def is_peer(peer: Object, policy: Object, world: World, other: End) -> bool:
    """NetworkPolicyPeer: ipBlock alone, or podSelector, namespaceSelector or both."""
    if "ipBlock" in peer:
        return in_block(peer["ipBlock"], other)
    if other.pod is None:
        return False
    namespace = other.pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        # "selects namespaces using cluster-scoped labels … if present but empty, it selects all
        # namespaces. If podSelector is also set, then the NetworkPolicyPeer as a whole selects
        # the pods matching podSelector in the namespaces selected by namespaceSelector."
        if not selects(peer["namespaceSelector"], namespace_labels(world, namespace)):
            return False
    elif namespace != policy["metadata"]["namespace"]:
        # "Otherwise it selects the pods matching podSelector in the policy's own namespace."
        return False
    return selects(peer.get("podSelector") or {}, labels_of(other.pod))


def in_block(block: Object, other: End) -> bool:
    """ipBlock: "cidr is a string representing the IPBlock … except is a slice of CIDRs that should
    not be included within an IPBlock." Addresses of pods and nodes are addresses, too.
    """
    return other.within(block["cidr"], block.get("except") or ())


def any_port(ports: list[Object] | None, pod: Object, other: End, asked: Question) -> bool:
    """ports: "Each item in this list is combined using a logical OR. If this field is empty or
    missing, this rule matches all ports (traffic not restricted by port)."
    """
    return not ports or any(is_port(port, pod, other, asked) for port in ports)


def is_port(port: Object, pod: Object, other: End, asked: Question) -> bool:
    """NetworkPolicyPort: "protocol … If not specified, this field defaults to TCP. port … can
    either be a numerical or named port on a pod. If this field is not provided, this matches all
    port names and numbers. endPort indicates that the range of ports from port to endPort if set,
    inclusive, should be allowed by the policy."
    """
    protocol = WITH_PORTS[port.get("protocol") or "TCP"]
    if asked.protocol != protocol:
        return False
    number = port.get("port")
    if number is None:
        return True
    if isinstance(number, str):
        holder = pod if asked.direction == "ingress" else other.pod
        return holder is not None and (protocol, asked.port) in named_ports(holder, number)
    return bool(number <= asked.port <= (port.get("endPort") or number))
