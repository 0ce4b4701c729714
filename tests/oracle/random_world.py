"""Random clusters and random policies of every language, from a seed.

seed  ->  World, Questions

Small alphabets on purpose: few labels, names, networks and ports, so that selectors select, ranges
overlap and rules contradict each other.
"""

from ipaddress import ip_network
from random import Random

from random_policy import NAMES, NETWORKS, PORT_NAMES, PORTS, Dice, random_policy
from world import ICMP, ICMP6, SCTP, TCP, UDP, VRRP, Object, Question, World

NAMESPACES = ("x", "y", "z")
OUTSIDE = (
    "203.0.113.7",
    "203.0.113.70",
    "203.0.113.100",
    "198.51.100.9",
    "8.8.8.8",
    "10.9.9.9",
    "2001:db8:7::7",
    "2001:db8:9::1",
    "2600::1",
    "fd00:99::1",
)
PODS_PER_NODE = 4
NODES = 3


def random_world(seed: int) -> World:
    """Return one random cluster with its policies."""
    dice = Dice(Random(seed))
    objects = [*namespaces(dice), *nodes(dice)]
    pods = [
        pod(dice, node, number)
        for node in range(1, NODES + 1)
        for number in range(1, PODS_PER_NODE + 1)
    ]
    objects += pods
    objects.append(host_pod())
    objects.append(dns_pod())
    objects += services(dice, pods)
    objects += cidr_groups(dice)
    apiserver = dice.some(["192.168.1.11", "203.0.113.100", "2001:db8:9::1"], at_most=2)
    learnt = {address: dice.some(NAMES, at_most=3) for address in OUTSIDE if dice.chance(0.8)}
    priorities = dice.random.sample(range(1001), 12)
    for number in range(dice.pick((1, 2, 3, 4, 5, 6, 8))):
        objects.append(random_policy(dice, number, priorities.pop()))
    return World("node-1", objects, apiserver, {a: n for a, n in learnt.items() if n})


def namespaces(dice: Dice) -> list[Object]:
    """Return the namespaces, with the label that the API server adds."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/metadata.name": name, **dice.labels(("team", "env"))},
            },
        }
        for name in (*NAMESPACES, "kube-system")
    ]


def nodes(dice: Dice) -> list[Object]:
    """Return nodes with addresses of both families."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}", "labels": dice.labels(("zone", "env"))},
            "spec": {},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": f"192.168.1.{9 + number}"},
                    {"type": "InternalIP", "address": f"fd00:1::{number}"},
                ]
            },
        }
        for number in range(1, NODES + 1)
    ]


def pod(dice: Dice, node: int, number: int) -> Object:
    """Return a pod of the pod network."""
    ports = [
        {
            "name": name,
            "containerPort": dice.pick(PORTS),
            "protocol": dice.pick(("TCP", "UDP", "SCTP")),
        }
        for name in dice.some(PORT_NAMES, at_most=2)
    ]
    ips = [f"10.244.{node}.{number}", f"fd00:10:244:{node}::{number}"]
    spec: Object = {"nodeName": f"node-{node}", "containers": [{"name": "main", "ports": ports}]}
    if dice.chance(0.3):
        spec["serviceAccountName"] = dice.pick(("builder", "default"))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"pod-{node}-{number}",
            "namespace": dice.pick(NAMESPACES),
            "labels": dice.labels(("app", "tier", "env")),
        },
        "spec": spec,
        "status": {"phase": "Running", "podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]},
    }


def host_pod() -> Object:
    """Return a pod of a node's own network: whatever selects it selects nothing."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "on-host", "namespace": "x", "labels": {"app": "a", "tier": "web"}},
        "spec": {"nodeName": "node-2", "hostNetwork": True, "containers": [{"name": "main"}]},
        "status": {
            "phase": "Running",
            "podIP": "192.168.1.11",
            "podIPs": [{"ip": "192.168.1.11"}, {"ip": "fd00:1::2"}],
        },
    }


def dns_pod() -> Object:
    """Return the cluster's DNS server."""
    ports = [
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "node-2", "containers": [{"name": "main", "ports": ports}]},
        "status": {
            "phase": "Running",
            "podIP": "10.244.2.53",
            "podIPs": [{"ip": "10.244.2.53"}, {"ip": "fd00:10:244:2::53"}],
        },
    }


def services(dice: Dice, pods: list[Object]) -> list[Object]:
    """Return Services with and without selectors, with the slices that go with them."""
    made: list[Object] = [slice_of("kube-system", "kube-dns", ["10.244.2.53"])]
    made.append(service("kube-system", "kube-dns", {"k8s-app": "kube-dns"}, {}))
    for name in ("one", "two"):
        namespace = dice.pick(NAMESPACES)
        if dice.chance(0.6):
            selector = dice.labels(("app", "tier"), at_least=1)
            behind = [
                item["status"]["podIPs"][0]["ip"]
                for item in pods
                if item["metadata"]["namespace"] == namespace
                and selector.items() <= item["metadata"]["labels"].items()
            ]
        else:
            selector, behind = {}, dice.some(OUTSIDE[:6], at_most=3)
        made.append(service(namespace, name, selector, dice.labels(("team",))))
        made.append(slice_of(namespace, name, behind))
    return made


def service(namespace: str, name: str, selector: dict[str, str], labels: dict[str, str]) -> Object:
    """Return a Service."""
    spec: Object = {"ports": [{"port": 80, "protocol": "TCP"}], "clusterIP": "None"}
    if selector:
        spec["selector"] = selector
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def slice_of(namespace: str, name: str, behind: list[str]) -> Object:
    """Return the EndpointSlice of a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in behind],
    }


def cidr_groups(dice: Dice) -> list[Object]:
    """Return groups of networks."""
    return [
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumCIDRGroup",
            "metadata": {"name": name, "labels": dice.labels(("team",))},
            "spec": {"externalCIDRs": dice.some(NETWORKS, at_most=3, at_least=1)},
        }
        for name in ("vendors", "offices")
    ]


def questions(world: World, seed: int, count: int) -> list[Question]:
    """Return random questions about the pods of this node, and the node; or about all pods."""
    dice = Dice(Random(seed))
    here = [
        f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        for item in world.of_kind("Pod")
        if item["spec"].get("nodeName") == (world.here or item["spec"]["nodeName"])
        and not item["spec"].get("hostNetwork")
    ]
    everyone = [
        (entry["ip"], f"{item['metadata']['namespace']}/{item['metadata']['name']}")
        for item in world.of_kind("Pod")
        for entry in item["status"]["podIPs"]
        if not item["spec"].get("hostNetwork")
    ]
    hosts = [e["address"] for item in world.of_kind("Node") for e in item["status"]["addresses"]]
    host_policies = bool(world.here) and "nodeSelector" in str(world.objects)
    ports = interesting_ports()
    found: list[Question] = []
    while len(found) < count:
        subject = "" if host_policies and dice.chance(0.2) else dice.pick(here)
        kind = dice.random.random()
        if kind < 0.6:
            other, owner = dice.pick(everyone)
            if owner == subject:
                continue
        elif kind < 0.75:
            other = dice.pick([*hosts, *world.apiserver])
            if not subject and other in hosts[:2]:
                continue
        else:
            other = dice.pick(OUTSIDE)
        protocol, port = protocol_and_port(dice, other, ports)
        direction = dice.pick(("ingress", "egress"))
        found.append(Question(subject, direction, other, protocol, port))
    return found


def interesting_ports() -> list[int]:
    """Return the alphabet of ports often, and what lies just beside it seldom."""
    near = sorted({port + step for port in PORTS for step in (-1, 1)} - {0, 65536})
    return [*PORTS * 6, *near]


def protocol_and_port(dice: Dice, other: str, ports: list[int]) -> tuple[int, int]:
    """Return what a connection to or from `other` may use."""
    protocol = dice.random.choices((TCP, UDP, SCTP, ICMP, VRRP), (60, 20, 8, 10, 2))[0]
    if protocol == VRRP:
        return VRRP, 0
    if protocol == ICMP:
        version = ip_network(other).version
        kinds = (8, 0, 3, 11, 13) if version == 4 else (128, 129, 1, 3, 135)
        return (ICMP if version == 4 else ICMP6), dice.pick(kinds) << 8
    return protocol, dice.pick(ports)
