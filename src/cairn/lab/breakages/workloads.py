"""Applications, Services, pools and policies that are wrong from the start, as a person makes them.

    namespace  ->  objects to apply

Invariants  Every Service asks for an address of the reference scenario's pool, and every name
            begins with `fault-`: what runs already is not touched.
"""

from collections.abc import Callable, Sequence
from typing import Any

from cairn.kube.metadata import Object
from cairn.kube.resource import (
    DEPLOYMENTS,
    NETWORK_POLICY_KINDS,
    POOLS,
    SERVICES,
)
from cairn.lab.breakages.objects import FAULT_LABEL, Made

POOL_LABEL = {"io.cilium/lb-ipam-ips": "pool-homelab"}
_WEB = "cairn.io/lab/web"
_READY = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}


def application(
    name: str,
    *,
    container: dict[str, Any] | None = None,
    service: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
) -> Callable[[str], Sequence[Made]]:
    """Return what makes a Deployment of one web server and its Service, with these changes."""

    def made(namespace: str) -> Sequence[Made]:
        labels = {"app": name}
        web: dict[str, Any] = {"name": "web", "image": _WEB, "ports": [{"containerPort": 8080}]}
        web |= {"readinessProbe": _READY} | (container or {})
        template = {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [web], **(pod or {})},
        }
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        return [
            (DEPLOYMENTS, _object("apps/v1", "Deployment", namespace, name, spec)),
            balanced(namespace, name, labels, service or {}),
        ]

    return made


def balanced(namespace: str, name: str, selector: dict[str, str], changes: dict[str, Any]) -> Made:
    """Return a Service of type LoadBalancer; `labels` among the changes replace the pool's."""
    spec = {
        "type": "LoadBalancer",
        "selector": selector,
        "ports": [{"port": 80, "targetPort": 8080}],
        **{k: v for k, v in changes.items() if k != "labels"},
    }
    labels = changes.get("labels", POOL_LABEL)
    return SERVICES, _object("v1", "Service", namespace, name, spec, labels)


def small_pool(namespace: str) -> Sequence[Made]:
    """Return a pool of one address, and two Services that ask for it."""
    label = {"pool": "fault-small"}
    spec = {
        "blocks": [{"start": "192.168.77.1", "stop": "192.168.77.1"}],
        "serviceSelector": {"matchLabels": label},
    }
    wanted = {"labels": label}
    return [
        (POOLS, _object("cilium.io/v2alpha1", "CiliumLoadBalancerIPPool", "", "fault-small", spec)),
        balanced(namespace, "fault-first", {"app": "web-app"}, wanted),
        balanced(namespace, "fault-second", {"app": "web-app"}, wanted),
    ]


def overlapping_pool(_: str) -> Sequence[Made]:
    """Return a pool that overlaps the reference scenario's."""
    spec = {"blocks": [{"start": "192.168.1.104", "stop": "192.168.1.120"}]}
    kind = "CiliumLoadBalancerIPPool"
    return [(POOLS, _object("cilium.io/v2alpha1", kind, "", "fault-overlap", spec))]


def policy(
    name: str,
    selector: dict[str, str],
    *,
    annotations: dict[str, str] | None = None,
    **sections: Any,
) -> Callable[[str], Sequence[Made]]:
    """Return what makes a CiliumNetworkPolicy for the pods with these labels."""

    def made(namespace: str) -> Sequence[Made]:
        spec = {"endpointSelector": {"matchLabels": selector}, **sections}
        obj = _object("cilium.io/v2", "CiliumNetworkPolicy", namespace, name, spec)
        if annotations:
            obj["metadata"]["annotations"] = annotations
        return [(NETWORK_POLICY_KINDS[1], obj)]

    return made


def _object(
    version: str,
    kind: str,
    namespace: str,
    name: str,
    spec: dict[str, Any],
    labels: dict[str, str] | None = None,
) -> Object:
    metadata: dict[str, Any] = {"name": name, "labels": {FAULT_LABEL: name, **(labels or {})}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
