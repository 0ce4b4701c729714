"""The part of the catalogue that adds objects of its own and touches no other.

WORKLOAD_FAULTS  ->  applications, pools and policies that are wrong from the start
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cairn.lab.breakages import objects, workloads
from cairn.lab.breakages.workloads import application, policy
from cairn.lab.fault import Clear, Fault, Inject

_WEB_TO_DB = "pod/production/web-app pod/production/database:5432"
_TIER_WEB = {"tier": "web"}
_DATABASE = {"tier": "database"}
_TO_DNS: dict[str, Any] = {
    "toEndpoints": [
        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s-app": "kube-dns"}}
    ],
    "toPorts": [
        {
            "ports": [{"port": "53", "protocol": "ANY"}],
            "rules": {"dns": [{"matchPattern": "*"}]},
        }
    ],
}
_TO_ONE_NAME = copy.deepcopy(_TO_DNS)
_TO_ONE_NAME["toPorts"][0]["rules"] = {"dns": [{"matchName": "intern.example.org"}]}
_GET_ONLY = {
    "fromEndpoints": [{}],
    "toPorts": [
        {
            "ports": [{"port": "8080", "protocol": "TCP"}],
            "rules": {"http": [{"method": "GET", "path": "/allowed"}]},
        }
    ],
}


def _added(made: Callable[[str], Sequence[objects.Made]]) -> tuple[Inject, Clear]:
    return partial(objects.add, made=made), partial(objects.take_away, made=made)


def _lan(name: str) -> str:
    return f"client-1 default/{name}"


WORKLOAD_FAULTS = (
    Fault("exhausted-pool", "NAMESPACE", "a pool of one address, and two Services that want it",
          *_added(workloads.small_pool), "", "CRN-101", "default", _lan("fault-second")),
    Fault("overlapping-pool", "NAMESPACE", "a second pool that overlaps the first",
          *_added(workloads.overlapping_pool), "", "CRN-104", "default"),
    Fault("no-ready-pod", "NAMESPACE", "an application whose readiness probe never succeeds",
          *_added(application(
              "fault-unready",
              container={"readinessProbe": {"httpGet": {"path": "/nowhere", "port": 8081}}},
          )), "", "CRN-509", "default", _lan("fault-unready")),
    Fault("crash-loop", "NAMESPACE", "an application that ends as soon as it starts",
          *_added(application("fault-crash", container={"command": ["false"]})), "",
          "CRN-505", "default", _lan("fault-crash")),
    Fault("image-missing", "NAMESPACE", "an application whose image is nowhere",
          *_added(application("fault-image", container={"image": "registry.example.org/no:1"})), "",
          "CRN-507", "default", _lan("fault-image")),
    Fault("no-node-fits", "NAMESPACE", "an application that asks for a node that is not there",
          *_added(application("fault-unplaced", pod={"nodeSelector": {"disk": "tape"}})), "",
          "CRN-551", "default", _lan("fault-unplaced")),
    Fault("foreign-class", "NAMESPACE", "a Service that is another load balancer's",
          *_added(application("fault-foreign",
                              service={"loadBalancerClass": "example.org/other"})), "",
          "CRN-107", "default", _lan("fault-foreign")),
    Fault("wrong-range", "NAMESPACE", "a Service that asks for an address outside of the pool",
          *_added(application("fault-range", service={"loadBalancerIP": "192.168.9.9"})), "",
          "CRN-102", "default", _lan("fault-range")),
    Fault("local-elsewhere", "NAMESPACE", "internalTrafficPolicy Local, and no pod on the node",
          *_added(application("fault-local", service={"externalTrafficPolicy": "Local"},
                              pod={"nodeSelector": {"kubernetes.io/hostname": "node-1"}})), "",
          "", "default", _lan("fault-local")),
    Fault("deny-ingress", "NAMESPACE", "a policy that lets nobody in to the database",
          *_added(policy("fault-ingress", _DATABASE, ingressDeny=[{"fromEntities": ["all"]}])), "",
          "CRN-650", "production", _WEB_TO_DB),
    Fault("deny-egress", "NAMESPACE", "a policy that lets the web tier reach DNS alone",
          *_added(policy("fault-egress", _TIER_WEB, egress=[_TO_DNS])), "",
          "CRN-651", "production", _WEB_TO_DB),
    Fault("default-deny", "NAMESPACE", "default deny without DNS",
          *_added(policy("fault-deny", _TIER_WEB, egress=[{}])), "",
          "CRN-651", "production",
          "pod/production/web-app database.production.svc.cluster.local:5432"),
    Fault("deny-request", "NAMESPACE", "HTTP rules that let one path through",
          *_added(policy("fault-request", _TIER_WEB, ingress=[_GET_ONLY])), "",
          "CRN-652", "production",
          "pod/production/nginx-ingress pod/production/web-app:8080 --http 'POST /other'"),
    Fault("dns-denied", "NAMESPACE", "a policy that lets the web tier ask for one name alone",
          *_added(policy("fault-dns", _TIER_WEB, egress=[_TO_ONE_NAME])), "",
          "CRN-752", "production", "pod/production/web-app shop.example.org:443"),
    Fault("policy-disabled", "NAMESPACE", "a policy that an annotation keeps out of force",
          *_added(policy("fault-disabled", _DATABASE, ingress=[{"fromEndpoints": [{}]}],
                         annotations={"policy.cilium.io/disabled": "true"})), "",
          "CRN-604", "production"),
    Fault("name-not-learnt", "NAMESPACE", "a rule by name, and nobody has asked for the name",
          *_added(policy("fault-names", _TIER_WEB, egress=[
              _TO_DNS, {"toFQDNs": [{"matchName": "shop.example.org"}]}])), "",
          "CRN-753", "production", "pod/production/web-app shop.example.org:443",
          "a server of the cluster's DNS that knows the name"),
)  # fmt: skip
