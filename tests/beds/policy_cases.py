"""A small cluster for policies, as objects: three tiers, a client elsewhere, a DNS, an API server.

YAML  ->  World
"""

from typing import Any

import yaml

from cairn.diagnose.policy.ends import find_ends
from cairn.diagnose.policy.layer7 import Request
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.trace import NO_REQUEST, Trace, trace
from cairn.diagnose.policy.world import World
from cairn.kube.metadata import Object
from cairn.net import Protocol

TCP, UDP = int(Protocol.TCP), int(Protocol.UDP)


def namespace(name: str, **labels: str) -> Object:
    return {
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}},
    }


def pod(
    place: str, address: str, labels: dict[str, str], port: int = 0, node: str = "node-1"
) -> Object:
    where, name = place.split("/")
    ports = [{"containerPort": port, "name": "main"}] if port else []
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": where,
            "name": name,
            "labels": labels,
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{name}-5c9d8f7b6c"}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "main", "ports": ports}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


def node(name: str, address: str) -> Object:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def service(
    place: str, cluster_ip: str, port: int, target: int, backends: list[str]
) -> list[Object]:
    where, name = place.split("/")
    protocol = "UDP" if port == 53 else "TCP"
    metadata = {"namespace": where, "name": name}
    labels = {"kubernetes.io/service-name": name}
    return [
        {
            "kind": "Service",
            "metadata": metadata,
            "spec": {"clusterIP": cluster_ip, "ports": [{"port": port, "protocol": protocol}]},
        },
        {
            "kind": "EndpointSlice",
            "metadata": {"namespace": where, "name": f"{name}-1", "labels": labels},
            "ports": [{"port": target, "protocol": protocol}],
            "endpoints": [{"addresses": [address]} for address in backends],
        },
    ]


CLUSTER: list[Object] = [
    *map(namespace, ("default", "production", "kube-system")),
    node("node-1", "192.168.1.10"),
    node("node-2", "192.168.1.11"),
    pod("default/client", "10.244.1.9", {"app": "client"}),
    pod("production/web-app", "10.244.1.2", {"app": "web-app", "tier": "web"}, 8080),
    pod(
        "production/database", "10.244.2.3", {"app": "database", "tier": "database"}, 5432, "node-2"
    ),
    pod("production/nginx-ingress", "10.244.2.4", {"app": "nginx-ingress"}, 8080, "node-2"),
    pod("kube-system/kube-dns", "10.244.2.5", {"k8s-app": "kube-dns"}, 53, "node-2"),
    *service("kube-system/kube-dns", "10.96.0.10", 53, 53, ["10.244.2.5"]),
    *service("production/web", "10.96.0.20", 80, 8080, ["10.244.1.2"]),
    *service("default/kubernetes", "10.96.0.1", 443, 6443, ["192.168.1.5"]),
]


def read(text: str) -> list[Any]:
    return [document for document in yaml.safe_load_all(text) if document]


def world(text: str = "") -> World:
    """Return the cluster with these objects in it."""
    return World.of([*CLUSTER, *read(text)])


def cilium(spec: str, name: str = "p", where: str = "production") -> str:
    """Return a CiliumNetworkPolicy with a spec, as YAML."""
    lines = "\n".join(f"  {line}" for line in spec.strip("\n").splitlines())
    metadata = f"{{name: {name}, namespace: {where}}}"
    return (
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        f"metadata: {metadata}\nspec:\n{lines}\n"
    )


def plain(spec: str, name: str = "p", where: str = "production") -> str:
    """Return a NetworkPolicy with a spec, as YAML."""
    return (
        cilium(spec, name, where)
        .replace("cilium.io/v2", "networking.k8s.io/v1")
        .replace("CiliumNetworkPolicy", "NetworkPolicy")
    )


def ask(
    around: World, sender: str, receiver: str, port: int, request: Request = NO_REQUEST
) -> Trace:
    """Return the trace between the first ends that two texts name."""
    (one, *_), (other, *_) = find_ends(around, sender), find_ends(around, receiver)
    return trace(around, one, other, Place(UDP if port == 53 else TCP, port), request)
