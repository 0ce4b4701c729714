"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, by the words of their documentation.

one raw object, who, which connection  ->  whether it isolates, what it allows and denies

Standards   cilium.io/v2 CiliumNetworkPolicy; docs.cilium.io: "Overview of Network Policy", "Layer 3
            Policies", "Layer 4 Policies", "Layer 7 Policies", "Deny Policies", "Host Policies",
            "Using Kubernetes Constructs In Policy"; dialect of the reference scenario: D7, D8, D14
"""

from collections.abc import Iterator, Mapping

from cilium_peers_text import flat_labels, is_peer, meant, peers_of
from label_selector import selects
from world import (
    ICMP,
    ICMP6,
    SCTP,
    TCP,
    UDP,
    VRRP,
    End,
    Object,
    Question,
    World,
    labels_of,
    named_ports,
    on_host_network,
)

SUBJECTS = ("endpointSelector", "podSelector", "nodeSelector")
CAMEL_CASE = {
    "EchoReply": {"IPv4": 0, "IPv6": 129},
    "EchoRequest": {"IPv4": 8, "IPv6": 128},
    "DestinationUnreachable": {"IPv4": 3, "IPv6": 1},
    "TimeExceeded": {"IPv4": 11, "IPv6": 3},
    "PacketTooBig": {"IPv6": 2},
    "NeighborSolicitation": {"IPv6": 135},
}


def specs(policy: Object) -> Iterator[Object]:
    """Yield the rules of an object: spec, and each of specs."""
    if "spec" in policy:
        yield policy["spec"]
    yield from policy.get("specs") or ()


def subject_selector(spec: Object) -> Mapping[str, object] | None:
    """endpointSelector; D7: podSelector means the same."""
    for word in SUBJECTS[:2]:
        if word in spec:
            found: Mapping[str, object] = spec[word]
            return found
    return None


def same_subject(one: Object, other: Object) -> bool:
    """Return whether two specs of an object are about the same, by their words."""
    return [one.get(word) for word in SUBJECTS] == [other.get(word) for word in SUBJECTS]


def is_about_pod(policy: Object, spec: Object, world: World, pod: Object) -> bool:
    """endpointSelector: "The policy rules will be applied to all endpoints which match the labels
    specified in the selector." A CiliumNetworkPolicy is about its own namespace.
    """
    selector = subject_selector(spec)
    if selector is None or on_host_network(pod):
        return False
    namespace = policy["metadata"].get("namespace")
    if namespace and pod["metadata"]["namespace"] != namespace:
        return False
    return selects(meant(selector, ""), flat_labels(world, pod))


def is_about_node(spec: Object, node: Object) -> bool:
    """nodeSelector: "applies to labels associated with Nodes in the cluster"."""
    return "nodeSelector" in spec and selects(meant(spec["nodeSelector"], ""), labels_of(node))


def isolates(spec: Object, direction: str) -> bool:
    """enableDefaultDeny: "If not specified, the default is true for each traffic direction that has
    rules, and false otherwise." D7: the directions of policyTypes, with or without rules.
    """
    said = (spec.get("enableDefaultDeny") or {}).get(direction)
    if said is not None:
        return bool(said)
    if direction.capitalize() in (spec.get("policyTypes") or ()):
        return True
    return bool(spec.get(direction) or spec.get(f"{direction}Deny"))


def denies(
    policy: Object, spec: Object, world: World, pod: Object | None, other: End, asked: Question
) -> bool:
    """ingressDeny: "Any rule inserted here will be denied regardless of the allowed ingress rules
    in the 'ingress' field."
    """
    rules = spec.get(f"{asked.direction}Deny") or ()
    return any(rule_matches(rule, policy, world, pod, other, asked, []) for rule in rules)


def implied(policy: Object, spec: Object) -> list[Object]:
    """D8: "queries for just the names of the policy are let through to the cluster DNS", where no
    rule of the policy about these pods is about DNS. Who leaves egress open leaves the DNS open.
    """
    alike = [one for one in specs(policy) if same_subject(one, spec)]
    if not any(isolates(one, "egress") for one in alike):
        return []
    rules = [rule for one in alike for rule in one.get("egress") or ()]
    entries = [entry for rule in rules for entry in rule.get("toPorts") or ()]
    if any("dns" in (entry.get("rules") or {}) for entry in entries):
        return []
    names = [entry for rule in rules for entry in rule.get("toFQDNs") or ()]
    if not names:
        return []
    server = {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}
    ports = [{"port": "53", "protocol": "UDP"}, {"port": "53", "protocol": "TCP"}]
    return [
        {
            "toEndpoints": [{"matchLabels": server}],
            "toPorts": [{"ports": ports, "rules": {"dns": names}}],
        }
    ]


def allows(
    policy: Object,
    spec: Object,
    world: World,
    pod: Object | None,
    other: End,
    asked: Question,
    required: list[Object],
) -> str:
    """Return `allow` or `proxy` if a rule lets it through, else "".

    "If there is an intersection between two or more rules, then traffic matching the union of
    those rules will be allowed": what one rule lets through unseen, no other has to see.
    """
    found = ""
    rules = list(spec.get(asked.direction) or ())
    if asked.direction == "egress":
        rules += implied(policy, spec)
    for rule in rules:
        if not rule_matches(rule, policy, world, pod, other, asked, required):
            continue
        ports = [entry for entry in rule.get("toPorts") or () if has_port(entry, pod, other, asked)]
        if not ports or any(not by_content(entry) for entry in ports):
            return "allow"
        found = "proxy"
    return found


def by_content(entry: Object) -> bool:
    """rules: "additional port level rules which must be met in order for the PortRule to allow the
    traffic"; serverNames: "a list of allowed TLS SNI values".
    """
    return bool(entry.get("serverNames")) or bool(entry.get("rules"))


def rule_matches(
    rule: Object,
    policy: Object,
    world: World,
    pod: Object | None,
    other: End,
    asked: Question,
    required: list[Object],
) -> bool:
    """IngressRule, EgressRule: "If multiple members of the structure are specified, then all
    members must match in order for the rule to take effect. The exception to this rule is the
    Requires field".

    A rule of no member is the documentation's default deny without whitelisting: it allows nothing,
    and so does one that has only requirements.
    """
    named = peers_of(rule)
    if not named and not rule.get("toPorts") and not rule.get("icmps"):
        return False
    if named and not any(
        is_peer(kind, peer, policy, world, other, required)
        for kind, peer in named
        if peer is not None
    ):
        return False
    if rule.get("toPorts"):
        return any(has_port(entry, pod, other, asked) for entry in rule["toPorts"])
    if rule.get("icmps"):
        return any(is_icmp(item, asked) for entry in rule["icmps"] for item in entry["fields"])
    return True


def has_port(entry: Object, pod: Object | None, other: End, asked: Question) -> bool:
    """toPorts: "a list of destination ports identified by port number and protocol"."""
    return any(is_port(port, pod, other, asked) for port in entry["ports"])


def is_port(port: Object, pod: Object | None, other: End, asked: Question) -> bool:
    """PortProtocol: "Protocol is the L4 protocol. If omitted or empty, any protocol matches.
    Matching on ICMP is not supported. Port can be an L4 port number, or a name … EndPort is
    ignored if Port is a named port." Port 0 is every port.
    """
    protocol = str(port.get("protocol") or "ANY").upper()
    numbers = {
        "TCP": (TCP,),
        "UDP": (UDP,),
        "SCTP": (SCTP,),
        "ANY": (TCP, UDP, SCTP),
        "VRRP": (VRRP,),
    }
    if asked.protocol not in numbers[protocol]:
        return False
    text = str(port["port"])
    if not text.isdigit():
        holder = pod if asked.direction == "ingress" else other.pod
        name = text.lower()
        return holder is not None and (asked.protocol, asked.port) in named_ports(holder, name)
    first = int(text)
    return first == 0 or first <= asked.port <= max(first, port.get("endPort") or 0)


def is_icmp(item: Object, asked: Question) -> bool:
    """ICMPField: "Currently, we support `IPv4` and `IPv6`. `IPv4` is set as default. Type is a
    ICMP-type. It should be an 8bit code (0-255), or it's CamelCase name".
    """
    family = item.get("family") or "IPv4"
    kind = item["type"]
    number = int(kind) if str(kind).isdigit() else CAMEL_CASE[kind][family]
    protocol = ICMP6 if family == "IPv6" else ICMP
    return asked.protocol == protocol and asked.port >> 8 == number


def requirements(policy: Object, spec: Object, direction: str) -> Iterator[Object]:
    """fromRequires: "a list of additional constraints which must be met in order for the selected
    endpoints to be reachable … the effects of any Requires field in any rule will apply to all
    other rules as well".
    """
    word = "fromRequires" if direction == "ingress" else "toRequires"
    namespace = policy["metadata"].get("namespace") or ""
    for rule in spec.get(direction) or ():
        for selector in rule.get(word) or ():
            yield meant(selector, namespace)
