"""A small healthy cluster for walks, as objects and as what its nodes and router say.

changes to objects, changes to facts  ->  Walk
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cairn.diagnose.policy.layer7 import Request
from cairn.diagnose.policy.trace import NO_REQUEST
from cairn.diagnose.policy.world import World
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.parts import (
    HostPart,
    Neighbour,
    NodePart,
    Peer,
    RouterPart,
    RouterPath,
    RouterSession,
)
from cairn.diagnose.why.question import Role, find_client, find_target, make_question, split_target
from cairn.diagnose.why.step import Step
from cairn.diagnose.why.walk import Walk, walk
from cairn.net import parse_address

Objects = dict[str, dict[str, Any]]
VIP, ROUTER = "192.168.1.100", "192.168.1.1"
NODES = {"node-1": "192.168.1.10", "node-2": "192.168.1.11"}
MACS = {"node-1": "02:00:00:00:00:01", "node-2": "02:00:00:00:00:02"}
HOSTS = {"client-1": ("192.168.50.10",), "client-2": ("192.168.1.50",)}
READY = [{"type": "Ready", "status": "True"}]


def obj(kind: str, namespace: str, name: str, **more: Any) -> dict[str, Any]:
    """Return an object."""
    metadata: dict[str, Any] = {"name": name, **more.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def pod(namespace: str, name: str, node: str, address: str, labels: dict[str, str]) -> Any:
    """Return a pod that runs."""
    container = {"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    states = [{"name": n, "ready": True} for n in ("main", "agent")]
    return obj(
        "Pod",
        namespace,
        name,
        metadata={"labels": labels},
        spec={"nodeName": node, "containers": [container]},
        status=status | {"conditions": READY, "containerStatuses": states},
    )


def service(namespace: str, name: str, app: str, port: int, cluster_ip: str) -> Any:
    """Return a Service."""
    spec: dict[str, Any] = {"type": "ClusterIP", "clusterIP": cluster_ip}
    spec["clusterIPs"] = [cluster_ip]
    spec |= {"selector": {"app": app}, "ports": [{"port": port, "targetPort": 8080}]}
    return obj("Service", namespace, name, spec=spec, status={})


def endpoints(namespace: str, name: str, *ends: tuple[str, str]) -> Any:
    """Return the EndpointSlice of a Service: (address, node) of each end, all ready."""
    return obj(
        "EndpointSlice",
        namespace,
        f"{name}-1",
        metadata={"labels": {"kubernetes.io/service-name": name}},
        ports=[{"name": "", "protocol": "TCP", "port": 8080}],
        endpoints=[
            {"addresses": [address], "nodeName": node, "conditions": {"ready": True}}
            for address, node in ends
        ],
    )


def objects() -> Objects:
    """Return the objects of a healthy cluster, by kind/name."""
    made = [obj("Namespace", "", n, metadata={"labels": {}}) for n in ("default", "kube-system")]
    for number, (name, address) in enumerate(NODES.items(), 1):
        status = {"addresses": [{"type": "InternalIP", "address": address}], "conditions": READY}
        made.append(obj("Node", "", name, status=status, spec={}))
        notes = {"cairn.io/uplink-mac": MACS[name], "cairn.io/uplink-networks": "192.168.1.0/24"}
        spec = {"addresses": [{"type": "InternalIP", "ip": address}]}
        l2 = {"answered": [VIP] if number == 1 else []}
        made.append(
            obj("CiliumNode", "", name, metadata={"annotations": notes}, spec=spec,
                status={"l2": l2})
        )  # fmt: skip
        made.append(node_config(name))
        agent = pod("kube-system", f"cairn-{number}", name, address, {"k8s-app": "cairn"})
        agent["spec"]["hostNetwork"] = True
        made += [agent, pod("default", f"web-{number}", name, f"10.244.{number}.1", {"app": "web"})]
    operator = pod("kube-system", "cairn-operator", "node-1", NODES["node-1"], {})
    operator["metadata"]["labels"] = {"k8s-app": "cairn-operator"}
    operator["spec"]["hostNetwork"] = True
    web = service("default", "web", "web", 80, "10.96.0.1")
    web["spec"]["type"] = "LoadBalancer"
    web["status"] = {"loadBalancer": {"ingress": [{"ip": VIP}]}}
    pool = {"blocks": [{"start": VIP, "stop": "192.168.1.111"}]}
    made += [
        operator,
        web,
        endpoints("default", "web", ("10.244.1.1", "node-1"), ("10.244.2.1", "node-2")),
        pod("default", "shop", "node-2", "10.244.2.9", {"app": "shop"}),
        obj("CiliumLoadBalancerIPPool", "", "pool", spec=pool),
        obj("CiliumBGPPeeringPolicy", "", "peering", spec={"virtualRouters": []}, status={}),
    ]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in made}


def node_config(name: str) -> Any:
    """Return what the operator compiled for a node."""
    peer = {"name": "router", "peerAddress": ROUTER, "peerASN": 64512}
    told = {"peerAddress": ROUTER, "peerASN": 64512, "peeringState": "established"}
    instance = {"name": "i", "localASN": 64512, "peers": [peer], "serviceSelector": {}}
    status = {
        "announcements": [{"prefix": f"{VIP}/32"}],
        "bgpInstances": [{"name": "i", "localASN": 64512, "peers": [told]}],
    }
    return obj("CiliumBGPNodeConfig", "", name, spec={"bgpInstances": [instance]}, status=status)


def facts(world: World) -> Facts:
    """Return what nodes, router and client say when all is well."""
    shares = {"10.244.1.1:8080": 126, "10.244.2.1:8080": 125}
    nodes = {
        name: NodePart(
            ready=2,
            local=1,
            shares=shares,
            digest="same",
            tried={f"10.244.{number}.1:8080": ""},
            peers=(Peer(ROUTER, "established", 64512, 64512),),
            routes=(f"{VIP}/32",),
            back=ROUTER,
        )
        for number, name in enumerate(NODES, 1)
    }
    router = RouterPart(
        "lab home",
        64512,
        tuple(RouterSession(a, "Established", 64512) for a in NODES.values()),
        tuple(RouterPath(f"{VIP}/32", a, a, valid=True, best=True) for a in NODES.values()),
        tuple(NODES.values()),
        f"{VIP}/32",
        {a: Neighbour(MACS[name], "reachable") for name, a in NODES.items()},
    )
    host = HostPart(("192.168.50.0/24",), "", routed=True, gateway="192.168.50.1")
    return Facts(world, nodes, {}, router, "", host)


def walked(
    client: str = "client-1",
    target: str = "default/web",
    change: Callable[[Objects], object] = lambda _: None,
    know: Callable[[Facts], Facts] = lambda known: known,
    request: Request = NO_REQUEST,
) -> Walk:
    """Return the walk through the cluster with these changes."""
    held = objects()
    change(held)
    world = World.of(copy.deepcopy(list(held.values())))
    hosts = {name: tuple(map(parse_address, texts)) for name, texts in HOSTS.items()}
    at = split_target(target)
    question = make_question(
        world, find_client(world, client, hosts), find_target(world, at.host, hosts), at, request
    )
    if question.target.role is Role.NAME and (lookup := know(facts(world)).lookup):
        named = replace(question.target, addresses=tuple(map(parse_address, lookup.addresses)))
        question = make_question(world, question.client, named, at, request)
    return walk(question, know(facts(world)))


def step(found: Walk, name: str) -> Step:
    """Return a step of a walk by its name."""
    return next(one for one in found.steps if one.name == name)


def node(known: Facts, name: str, **change: Any) -> Facts:
    """Return facts in which one node says otherwise."""
    return replace(known, nodes={**known.nodes, name: replace(known.nodes[name], **change)})


def every_node(known: Facts, **change: Any) -> Facts:
    """Return facts in which all nodes say otherwise."""
    for name in known.nodes:
        known = node(known, name, **change)
    return known


def router(known: Facts, **change: Any) -> Facts:
    """Return facts in which the router says otherwise."""
    assert known.router is not None
    return replace(known, router=replace(known.router, **change))


def host(known: Facts, **change: Any) -> Facts:
    """Return facts in which the client's host is otherwise."""
    assert known.host is not None
    return replace(known, host=replace(known.host, **change))
