"""Random policies of every language, and the dice that they come from.

Dice  ->  one raw policy object
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from random import Random
from typing import TypeVar

from world import Object

Item = TypeVar("Item")

VALUES = {
    "app": ("a", "b", "c"),
    "tier": ("web", "db"),
    "env": ("prod", "dev"),
    "team": ("red", "blue"),
    "zone": ("1", "2"),
}
PORTS = (1, 53, 80, 81, 443, 8000, 8080, 65535)
PORT_NAMES = ("http", "metrics", "query")
NETWORKS = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.244.0.0/16",
    "10.244.1.0/24",
    "10.244.1.0/30",
    "10.244.2.2/32",
    "192.168.1.0/24",
    "192.168.1.10/32",
    "192.168.1.12/32",
    "203.0.113.0/24",
    "203.0.113.64/26",
    "203.0.113.70/32",
    "198.51.100.0/24",
    "::/0",
    "fd00::/8",
    "fd00:10:244::/48",
    "fd00:10:244:1::/64",
    "fd00:10:244:1::2/128",
    "fd00:1::2/128",
    "2001:db8::/32",
    "2001:db8:7::/48",
    "2001:db8:7::7/128",
)
NAMES = (
    "example.com",
    "api.example.com",
    "cdn.api.example.com",
    "shop.example.org",
    "example.org",
)
PATTERNS = ("*", "*.example.com", "**.example.com", "api.*.com", "ex*ple.org", "*.example.org")
ENTITIES = (
    "all",
    "world",
    "world-ipv4",
    "world-ipv6",
    "cluster",
    "host",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "init",
    "health",
    "unmanaged",
    "none",
)


@dataclass
class Dice:
    """Choices from one source of randomness."""

    random: Random
    """The source."""

    def chance(self, share: float) -> bool:
        """Return True in that share of cases."""
        return self.random.random() < share

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of them."""
        return self.random.choice(items)

    def some(self, items: Sequence[Item], *, at_most: int, at_least: int = 0) -> list[Item]:
        """Return a few of them, each once."""
        return self.random.sample(items, self.random.randint(at_least, min(at_most, len(items))))

    def labels(self, keys: Sequence[str], *, at_least: int = 0) -> dict[str, str]:
        """Return values for some of the keys."""
        chosen = self.some(keys, at_most=len(keys), at_least=at_least)
        return {key: self.pick(VALUES[key]) for key in chosen}

    def selector(self, keys: Sequence[str], prefixes: Sequence[str] = ("",)) -> Object:
        """Return a LabelSelector with any operator."""
        if self.chance(0.15):
            return {}
        made: Object = {}
        if self.chance(0.7):
            chosen = self.some(keys, at_most=2, at_least=1)
            made["matchLabels"] = {self.pick(prefixes) + k: self.pick(VALUES[k]) for k in chosen}
        if not made or self.chance(0.3):
            made["matchExpressions"] = [
                self.expression(self.pick(keys), self.pick(prefixes))
                for _ in range(self.pick((1, 1, 2)))
            ]
        return made

    def expression(self, key: str, prefix: str = "") -> Object:
        """Return one of matchExpressions."""
        operator = self.pick(("In", "NotIn", "Exists", "DoesNotExist"))
        made: Object = {"key": prefix + key, "operator": operator}
        if operator in ("In", "NotIn"):
            made["values"] = self.some(VALUES[key], at_most=2, at_least=1)
        return made

    def excepts(self, network: str) -> list[str]:
        """Return networks inside `network`, perhaps none."""
        outer = ip_network(network)
        inner = [text for text in NETWORKS if text != network and is_inside(text, outer)]
        return self.some(inner, at_most=min(2, len(inner))) if self.chance(0.5) else []


def is_inside(text: str, outer: IPv4Network | IPv6Network) -> bool:
    """Return whether a network lies in another."""
    inner = ip_network(text)
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def random_policy(dice: Dice, number: int, priority: int) -> Object:
    """Return one policy; `priority` is used by no other."""
    makers = (network_policy, cilium_policy, clusterwide_policy, host_policy)
    maker = dice.random.choices((*makers, None), (30, 30, 12, 8, 20))[0]
    made = maker(dice) if maker else cluster_policy(dice, priority)
    made["metadata"] = {"name": f"policy-{number}", "uid": f"uid-{number}", **made["metadata"]}
    if made["apiVersion"] == "cilium.io/v2" and dice.chance(0.15):
        other = maker(dice)["spec"] if maker else {}
        if dice.chance(0.5):
            for word in ("endpointSelector", "podSelector", "nodeSelector"):
                other.pop(word, None)
                other |= {word: made["spec"][word]} if word in made["spec"] else {}
        made["specs"] = [made.pop("spec"), other]
    notes = {}
    if dice.chance(0.05):
        notes["policy.cilium.io/disabled"] = "true"
    if dice.chance(0.1):
        notes["policy.cilium.io/audit-mode"] = "true"
    if notes:
        made["metadata"]["annotations"] = notes
    return made


def subject(dice: Dice, prefixes: Sequence[str] = ("",)) -> Object:
    """Return a selector that often selects something."""
    if dice.chance(0.3):
        return {}
    if dice.chance(0.4):
        key = dice.pick(("app", "tier", "env"))
        return {"matchLabels": {dice.pick(prefixes) + key: dice.pick(VALUES[key])}}
    return dice.selector(("app", "tier", "env"), prefixes)


def network_policy(dice: Dice) -> Object:
    """Return a NetworkPolicy."""
    spec: Object = {"podSelector": subject(dice)}
    directions = dice.some(("ingress", "egress"), at_most=2, at_least=1)
    for direction in directions:
        if dice.chance(0.9):
            rules = [network_rule(dice, direction) for _ in range(dice.pick((0, 1, 1, 2, 3)))]
            spec[direction] = rules
    if dice.chance(0.8) or "egress" in directions:
        spec["policyTypes"] = [direction.capitalize() for direction in directions]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": dice.pick(("x", "y", "z"))},
        "spec": spec,
    }


def network_rule(dice: Dice, direction: str) -> Object:
    """Return one rule of it."""
    rule: Object = {}
    if dice.chance(0.8):
        word = "from" if direction == "ingress" else "to"
        rule[word] = [network_peer(dice) for _ in range(dice.pick((0, 1, 1, 1, 2, 3)))]
    if dice.chance(0.65):
        rule["ports"] = [network_port(dice) for _ in range(dice.pick((0, 1, 1, 2, 3)))]
    return rule


def network_peer(dice: Dice) -> Object:
    """Return one NetworkPolicyPeer."""
    if dice.chance(0.3):
        network = dice.pick(NETWORKS)
        block: Object = {"cidr": network}
        if excepts := dice.excepts(network):
            block["except"] = excepts
        return {"ipBlock": block}
    peer: Object = {}
    if dice.chance(0.6):
        peer["podSelector"] = dice.selector(("app", "tier", "env"))
    if not peer or dice.chance(0.4):
        peer["namespaceSelector"] = dice.selector(("team", "env"))
    return peer


def network_port(dice: Dice) -> Object:
    """Return one NetworkPolicyPort."""
    port: Object = {}
    if dice.chance(0.8):
        port["protocol"] = dice.pick(("TCP", "TCP", "UDP", "SCTP"))
    kind = dice.random.random()
    if kind < 0.25:
        port["port"] = dice.pick((*PORT_NAMES, "nobody"))
    elif kind < 0.9:
        port["port"] = dice.pick(PORTS)
        if dice.chance(0.3):
            port["endPort"] = max(port["port"], dice.pick(PORTS))
    return port


def cluster_policy(dice: Dice, priority: int) -> Object:
    """Return a ClusterNetworkPolicy."""
    spec: Object = {
        "tier": dice.pick(("Admin", "Admin", "Baseline")),
        "priority": priority,
        "subject": cluster_pods(dice),
    }
    for direction in dice.some(("ingress", "egress"), at_most=2, at_least=1):
        spec[direction] = [cluster_rule(dice, direction) for _ in range(dice.pick((1, 2, 3)))]
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {},
        "spec": spec,
    }


def cluster_pods(dice: Dice) -> Object:
    """Return a subject, or a peer inside the cluster."""
    if dice.chance(0.2):
        return {"namespaces": {}}
    if dice.chance(0.5):
        return {"namespaces": dice.selector(("team", "env"))}
    chosen: Object = {"podSelector": dice.selector(("app", "tier", "env"))}
    if dice.chance(0.7):
        chosen["namespaceSelector"] = dice.selector(("team", "env"))
    else:
        chosen["namespaceSelector"] = {}
    return {"pods": chosen}


def cluster_rule(dice: Dice, direction: str) -> Object:
    """Return one rule of it."""
    rule: Object = {"action": dice.pick(("Accept", "Deny", "Pass"))}
    if dice.chance(0.3):
        rule["name"] = "a rule with a name"
    word = "from" if direction == "ingress" else "to"
    peers = [cluster_pods(dice) for _ in range(dice.pick((0, 1, 1, 2)))]
    if direction == "egress" and (not peers or dice.chance(0.3)):
        peers.append(cluster_outside(dice, rule["action"]))
    rule[word] = peers or [cluster_pods(dice)]
    if dice.chance(0.6):
        rule["protocols"] = [cluster_protocol(dice, rule[word]) for _ in range(dice.pick((1, 2)))]
    return rule


def cluster_outside(dice: Dice, action: str) -> Object:
    """Return an egress peer that is no pod."""
    kind = dice.pick(("networks", "networks", "nodes", "domainNames"))
    if kind == "domainNames" and action == "Accept":
        return {"domainNames": dice.some((*NAMES, "*.example.com"), at_most=2, at_least=1)}
    if kind == "nodes":
        return {"nodes": dice.selector(("zone", "env"))}
    return {"networks": dice.some(NETWORKS, at_most=2, at_least=1)}


def cluster_protocol(dice: Dice, peers: list[Object]) -> Object:
    """Return one of `protocols`."""
    named = not any({"networks", "nodes", "domainNames"} & set(peer) for peer in peers)
    if named and dice.chance(0.2):
        return {"destinationNamedPort": dice.pick(PORT_NAMES)}
    word = dice.pick(("tcp", "tcp", "udp", "sctp"))
    first, last = sorted(dice.random.sample(PORTS, 2))
    if dice.chance(0.3):
        return {word: {"destinationPort": {"range": {"start": first, "end": last}}}}
    return {word: {"destinationPort": {"number": first}}}


def cilium_policy(dice: Dice) -> Object:
    """Return a CiliumNetworkPolicy, sometimes in the dialect with podSelector and policyTypes."""
    spec = cilium_rules(dice)
    selector = subject(dice, ("", "k8s:", "any:"))
    if dice.chance(0.2):
        spec["podSelector"] = selector
        with_rules = [d for d in ("ingress", "egress") if d in spec or f"{d}Deny" in spec]
        if "enableDefaultDeny" not in spec:
            wanted = {*with_rules, *dice.some(("ingress", "egress"), at_most=2, at_least=1)}
            spec["policyTypes"] = [direction.capitalize() for direction in sorted(wanted)]
    else:
        spec["endpointSelector"] = selector
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"namespace": dice.pick(("x", "y", "z"))},
        "spec": spec,
    }


def clusterwide_policy(dice: Dice) -> Object:
    """Return a CiliumClusterwideNetworkPolicy about pods."""
    spec = cilium_rules(dice)
    spec["endpointSelector"] = {} if dice.chance(0.4) else cilium_selector(dice)
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {},
        "spec": spec,
    }


def host_policy(dice: Dice) -> Object:
    """Return one about nodes."""
    spec = cilium_rules(dice, content=False)
    spec["nodeSelector"] = dice.selector(("zone", "env"))
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {},
        "spec": spec,
    }


def cilium_rules(dice: Dice, *, content: bool = True) -> Object:
    """Return the rules of a spec."""
    spec: Object = {}
    words = ("ingress", "egress", "ingress", "egress", "ingressDeny", "egressDeny")
    for word in dice.some(words, at_most=3, at_least=1):
        deny = word.endswith("Deny")
        direction = word.removesuffix("Deny")
        rules = [
            cilium_rule(dice, direction, deny=deny, content=content)
            for _ in range(dice.pick((1, 1, 2)))
        ]
        spec[word] = rules
    if dice.chance(0.2):
        spec["enableDefaultDeny"] = {
            direction: dice.chance(0.4)
            for direction in dice.some(("ingress", "egress"), at_most=2, at_least=1)
        }
    return spec


def cilium_rule(dice: Dice, direction: str, *, deny: bool, content: bool) -> Object:
    """Return one IngressRule, EgressRule or one of the Deny kinds."""
    if not deny and dice.chance(0.04):
        return {}
    rule: Object = {}
    if dice.chance(0.8):
        rule |= cilium_peers(dice, direction, names=content and not deny)
    if not deny and direction == "ingress" and dice.chance(0.08):
        rule["fromRequires"] = [dice.selector(("app", "tier", "env"))]
    if not deny and direction == "egress" and dice.chance(0.08) and "toFQDNs" not in rule:
        rule["toRequires"] = [dice.selector(("app", "tier", "env"))]
    if dice.chance(0.12):
        rule["icmps"] = [{"fields": [icmp(dice) for _ in range(dice.pick((1, 2)))]}]
    elif (not rule or dice.chance(0.6)) and "toServices" not in rule:
        content = content and not deny
        rule["toPorts"] = [
            cilium_ports(dice, direction, content=content) for _ in range(dice.pick((1, 1, 2)))
        ]
    return rule


def cilium_peers(dice: Dice, direction: str, *, names: bool) -> Object:
    """Return the one list of peers that a rule may have."""
    word = "from" if direction == "ingress" else "to"
    kinds = ["Endpoints", "Endpoints", "Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes"]
    if direction == "egress":
        kinds += ["Services", "FQDNs", "FQDNs"]
    kind = dice.pick(kinds)
    if kind == "FQDNs" and not names:
        kind = "CIDR"
    if kind == "Endpoints" and dice.chance(0.04):
        return {f"{word}Endpoints": []}
    makers = {
        "Endpoints": cilium_selector,
        "CIDR": lambda dice: dice.pick((*NETWORKS, "203.0.113.7", "2001:db8:7::7")),
        "CIDRSet": cidr_set,
        "Entities": lambda dice: dice.pick(ENTITIES),
        "Nodes": lambda dice: dice.selector(("zone", "env")),
        "Services": service_peer,
        "FQDNs": name_peer,
    }
    return {word + kind: [makers[kind](dice) for _ in range(dice.pick((1, 1, 2)))]}


def cilium_selector(dice: Dice) -> Object:
    """Return an EndpointSelector, perhaps over namespaces and their labels."""
    made = dice.selector(("app", "tier", "env"), ("", "k8s:", "any:"))
    kind = dice.random.random()
    wanted = made.setdefault("matchLabels", {})
    if kind < 0.25:
        wanted["k8s:io.kubernetes.pod.namespace"] = dice.pick(("x", "y", "z"))
    elif kind < 0.35:
        wanted["io.cilium.k8s.namespace.labels.team"] = dice.pick(VALUES["team"])
    elif kind < 0.42:
        wanted["k8s:io.cilium.k8s.policy.serviceaccount"] = dice.pick(("builder", "default"))
    elif kind < 0.5:
        made.setdefault("matchExpressions", []).append(
            {
                "key": "k8s:io.kubernetes.pod.namespace",
                "operator": dice.pick(("In", "NotIn")),
                "values": dice.some(("x", "y", "z"), at_most=2, at_least=1),
            }
        )
    if not wanted:
        del made["matchLabels"]
    return made


def cidr_set(dice: Dice) -> Object:
    """Return a CIDRRule."""
    if dice.chance(0.3):
        return {"cidrGroupRef": dice.pick(("vendors", "offices", "nobody"))}
    if dice.chance(0.15):
        return {"cidrGroupSelector": dice.selector(("team",))}
    network = dice.pick(NETWORKS)
    made: Object = {"cidr": network}
    if excepts := dice.excepts(network):
        made["except"] = excepts
    return made


def service_peer(dice: Dice) -> Object:
    """Return an entry of toServices."""
    namespace = dice.pick(("x", "y", "z"))
    if dice.chance(0.6):
        return {"k8sService": {"serviceName": dice.pick(("one", "two")), "namespace": namespace}}
    return {"k8sServiceSelector": {"selector": dice.selector(("team",)), "namespace": namespace}}


def name_peer(dice: Dice) -> Object:
    """Return a FQDNSelector."""
    if dice.chance(0.5):
        return {"matchName": dice.pick(NAMES)}
    return {"matchPattern": dice.pick(PATTERNS)}


def icmp(dice: Dice) -> Object:
    """Return an ICMPField."""
    if dice.chance(0.5):
        return {"family": "IPv6", "type": dice.pick((128, 1, "EchoRequest", "EchoReply"))}
    made: Object = {"type": dice.pick((8, 0, 3, "EchoRequest", "TimeExceeded"))}
    if dice.chance(0.5):
        made["family"] = "IPv4"
    return made


def cilium_ports(dice: Dice, direction: str, *, content: bool) -> Object:
    """Return a PortRule, perhaps with rules above the ports."""
    if content and dice.chance(0.3):
        ports = [
            {"port": str(port), "protocol": "TCP"}
            for port in dice.some(PORTS, at_most=5, at_least=1)
        ]
        return {"ports": ports, "rules": {"http": [{"method": "GET", "path": "/public.*"}]}}
    if content and direction == "egress" and dice.chance(0.2):
        ports = [{"port": "53", "protocol": dice.pick(("UDP", "ANY"))}]
        return {"ports": ports, "rules": {"dns": [{"matchPattern": "*"}]}}
    if content and direction == "egress" and dice.chance(0.1):
        ports = [{"port": "443", "protocol": "TCP"}]
        return {"ports": ports, "serverNames": ["api.example.com"]}
    return {"ports": [cilium_port(dice) for _ in range(dice.pick((1, 1, 2)))]}


def cilium_port(dice: Dice) -> Object:
    """Return a PortProtocol."""
    port: Object = {}
    if dice.chance(0.8):
        port["protocol"] = dice.pick(("TCP", "TCP", "UDP", "SCTP", "ANY"))
    if dice.chance(0.2):
        port["port"] = dice.pick((*PORT_NAMES, "nobody"))
    elif dice.chance(0.08):
        port["port"] = "0"
    else:
        number = dice.pick(PORTS)
        port["port"] = str(number)
        if dice.chance(0.3):
            port["endPort"] = max(number, dice.pick(PORTS))
    return port
