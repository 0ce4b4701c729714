"""Facts of a small cluster in which everything is well, as plain values that a test may change.

nothing  ->  plain values  ->  Facts
"""

import copy
from typing import Any

import msgspec

from cairn.diagnose.facts import Facts
from cairn.kube.policy.mark import marks_of

PREFIX = "192.168.1.100/32"
NOW_AT = 1000.0
YEAR_S = 365 * 86_400.0
DNS = {
    "kind": "Service",
    "metadata": {"name": "kube-dns", "namespace": "kube-system"},
    "spec": {"type": "ClusterIP", "ports": [{"port": 53, "protocol": "UDP"}]},
}
POLICY = {
    "kind": "CiliumNetworkPolicy",
    "apiVersion": "cilium.io/v2",
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 1},
    "spec": {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"fromEntities": ["world"]}],
    },
}


def condition(kind: str, status: str, message: str = "", reason: str = "") -> dict[str, str]:
    """Return one condition of an object."""
    return {"type": kind, "status": status, "message": message, "reason": reason}


def certificate(name: str) -> dict[str, Any]:
    """Return a certificate that is valid for a year."""
    return {"name": name, "begins_at": NOW_AT - YEAR_S, "ends_at": NOW_AT + YEAR_S}


def node_object(name: str, address: str) -> dict[str, Any]:
    """Return a v1.Node."""
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [condition("Ready", "True")],
        },
    }


def pod_object(name: str, node: str, labels: dict[str, str], *names: str) -> dict[str, Any]:
    """Return a v1.Pod that runs."""
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {
            "nodeName": node,
            "containers": [{"name": n, "ports": [{"containerPort": 80}]} for n in names],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.244.1.2",
            "conditions": [condition("Ready", "True")],
            "containerStatuses": [
                {"name": n, "ready": True, "restartCount": 0, "state": {"running": {}}}
                for n in names
            ],
        },
    }


def report(name: str, address: str, peer: str, peer_address: str) -> dict[str, Any]:
    """Return a node's report."""
    return {
        "node": name,
        "version": "1",
        "now_at": 1000.0,
        "clock_synchronised": True,
        "memory_total_bytes": 1000,
        "memory_free_bytes": 900,
        "agent": {
            "version": "1",
            "healthy": True,
            "watches": [{"resource": "services", "heard_s": 0.0}],
            "policy_marks": marks_of([POLICY]),
        },
        "speaker": {
            "version": "1",
            "sessions": [{"peer": "192.168.1.1", "asn": 64512, "state": "established",
                          "uptime_s": 900.0}],
            "announced": [{"prefix": PREFIX}],
        },
        "uplink": "eth0",
        "settings": [
            {"name": "net/ipv4/ip_forward", "value": "1", "wanted": "1"},
            {"name": "net/ipv4/conf/all/rp_filter", "value": "0", "wanted": "0"},
        ],
        "links": [
            {"name": "eth0", "mtu_bytes": 1500, "up": True, "carrier": True, "mac": f"aa:{name}"}
        ],
        "routes": [{"prefix": "10.244.1.0/24"}, {"prefix": "10.244.2.0/24"}],
        "neighbours": [
            {"address": peer_address, "mac": f"aa:{peer}", "state": "reachable", "device": "eth0"}
        ],
        "maps": [{"name": "services", "entries": 10, "capacity": 1000}],
        "hooks": [
            {"name": hook, "attached": True}
            for hook in ("uplink_ingress", "uplink_egress", "socket_connect4", "socket_connect6",
                         "pod-c1", "pod-egress-c1")
        ],
        "endpoints": [{"pod": "default/web-1", "interface": "c1", "mtu_bytes": 1500,
                       "addresses": ["10.244.1.2"]}],
        "vips": ["192.168.1.100"],
        "wired": {"10.244.1.2": False},
        "versions": {"operator": "1"},
        "certificates": [certificate("authority in /ca.crt")],
        "disks": [{"path": "/run", "total_bytes": 1000, "free_bytes": 900}],
        "paths": [{"peer": peer, "address": peer_address, "small": True, "size_bytes": 1500,
                   "large": True, "passed_bytes": 1500}],
        "dns": [{"server": "10.96.0.10", "answered": True, "code": "NOERROR"}],
        "proxies": [{"name": "dns", "needed": 1, "version": "1"}, {"name": "envoy", "needed": 1}],
    }  # fmt: skip


def healthy() -> dict[str, Any]:
    """Return the facts of a cluster with two nodes, one Service, one router."""
    nodes = {"n1": "192.168.1.10", "n2": "192.168.1.11"}
    web = pod_object("web-1", "n1", {"app": "web"}, "web")
    web["metadata"]["namespace"] = "default"
    service = {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.20",
            "clusterIPs": ["10.96.0.20"],
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
        },
        "status": {
            "loadBalancer": {"ingress": [{"ip": "192.168.1.100"}]},
            "conditions": [condition("cilium.io/IPAMRequestSatisfied", "True")],
        },
    }
    slices = {
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": "web-x",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "endpoints": [
            {
                "addresses": ["10.244.1.2"],
                "nodeName": "n1",
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-1"},
            }
        ],
        "ports": [{"port": 80, "protocol": "TCP", "name": ""}],
    }
    pool = {
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": "pool"},
        "spec": {"blocks": [{"start": "192.168.3.100", "stop": "192.168.3.109"}]},
        "status": {
            "conditions": [
                condition("cilium.io/IPsUsed", "True", "1"),
                condition("cilium.io/IPsTotal", "True", "10"),
            ]
        },
    }
    agents = [
        pod_object(f"cairn-{n}", n, {"k8s-app": "cairn"}, "agent", "speaker", "dns") for n in nodes
    ]
    for agent in agents:
        agent["spec"]["hostNetwork"] = True
    operator = pod_object("cairn-operator-1", "n1", {"k8s-app": "cairn-operator"}, "operator")
    operator["spec"]["hostNetwork"] = True
    cilium_nodes = [
        {
            "kind": "CiliumNode",
            "metadata": {"name": n, "annotations": {"cairn.io/uplink-mac": f"aa:{n}"}},
            "spec": {"ipam": {"podCIDRs": [f"10.244.{i}.0/24"]}},
            "status": {"l2": {"answered": []}},
        }
        for i, n in enumerate(nodes, 1)
    ]
    return {
        "cluster": {
            "objects": {
                "Node": [node_object(n, a) for n, a in nodes.items()],
                "Pod": [web, *agents, operator],
                "Service": [service, DNS],
                "EndpointSlice": [slices],
                "CiliumLoadBalancerIPPool": [pool],
                "CiliumNode": cilium_nodes,
                "CiliumBGPNodeConfig": [
                    {"kind": "CiliumBGPNodeConfig", "metadata": {"name": n}} for n in nodes
                ],
                "CiliumBGPPeeringPolicy": [],
                "CiliumNetworkPolicy": [POLICY],
                "CiliumL2AnnouncementPolicy": [
                    {
                        "kind": "CiliumL2AnnouncementPolicy",
                        "metadata": {"name": "l2"},
                        "spec": {"loadBalancerIPs": True},
                        "status": {"conditions": [condition("cairn.io/Selected", "True")]},
                    }
                ],
            },
            "server": "https://192.168.1.5:6443",
            "now_at": NOW_AT,
        },
        "nodes": {
            "n1": report("n1", nodes["n1"], "n2", nodes["n2"]),
            "n2": report("n2", nodes["n2"], "n1", nodes["n1"]),
        },
        "router": {
            "kind": "cairn",
            "asn": 64512,
            "sessions": [{"address": a, "state": "established"} for a in nodes.values()],
            "paths": [{"prefix": PREFIX, "gateway": a, "best": True} for a in nodes.values()],
            "routes": [{"prefix": PREFIX, "gateways": list(nodes.values())}],
            "neighbours": [{"address": a, "mac": f"aa:{n}"} for n, a in nodes.items()],
            "settings": [{"name": "net/ipv4/ip_forward", "value": "1", "wanted": "1"}],
            "has_kernel": True,
            "now_at": NOW_AT,
        },
        "relay": {"pod": "hubble-relay-1", "kept": True},
        "certificates": [
            {
                **certificate("certificate of the API server"),
                "names": ["192.168.1.5"],
                "wanted": "192.168.1.5",
            },
            certificate("client certificate of admin"),
        ],
        "asked_at": dict.fromkeys((*nodes, "api", "router"), NOW_AT),
        "now_at": NOW_AT,
    }


def facts_of(plain: dict[str, Any]) -> Facts:
    """Return plain values as facts."""
    return msgspec.convert(copy.deepcopy(plain), Facts)
