"""The reference document's manifests are taken as written, with a note per row of its dialect."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cairn.apiserver.dialect import warnings
from cairn.apiserver.schema import admit

POOL = """
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {name: homelab-pool}
spec:
  cidrs:
  - cidr: "192.168.1.100/28"
  serviceSelector:
    matchLabels: {io.cilium/lb-ipam-ips: pool-homelab}
"""
PEERING = """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: homelab-bgp-peering}
spec:
  nodeSelector: {matchLabels: {node-role.kubernetes.io/worker: ""}}
  virtualRouters:
  - localASN: 64512
    exportPodCIDR: false
    serviceSelector:
      matchExpressions:
      - {key: somekey, operator: NotIn, values: ['never-used-value']}
    neighbors:
    - peerAddress: "192.168.1.1"
      peerASN: 64512
      eBGPMultihop: 1
      connectRetryTimeSeconds: 120
      holdTimeSeconds: 90
      keepAliveTimeSeconds: 30
      gracefulRestart: {enabled: true, restartTimeSeconds: 120}
"""
IPV6 = """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: six}
spec:
  virtualRouters:
  - localASN: 64512
    neighbors:
    - {peerAddress: "2001:db8::1", peerASN: 64512, ipFamily: ipv6}
"""
SECURED = """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: secured}
spec:
  nodeSelector: {}
  virtualRouters:
  - localASN: 64512
    neighbors:
    - {peerAddress: "192.168.1.1", peerASN: 64512, password: "secret"}
    - maxPrefixes: 100
    - importFilter: "deny any"
    - exportFilter: "permit 192.168.1.0/24"
"""
DDOS = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ddos-protection}
spec:
  podSelector: {matchLabels: {app: web-server}}
  ingress:
  - fromCIDR: ["0.0.0.0/0"]
    toPorts:
    - ports:
      - {port: "80", protocol: TCP, rateLimit: {requestsPerSecond: 1000}}
"""
DENY_ALL = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: default-deny-all}
spec: {podSelector: {}, policyTypes: ["Ingress", "Egress"]}
"""
FQDN = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names, annotations: {policy.cilium.io/disabled: "true"}}
spec:
  endpointSelector: {}
  egress:
  - toFQDNs: [{matchName: api.github.com}]
"""
FQDN_WITH_DNS = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names}
spec:
  endpointSelector: {}
  egress:
  - toFQDNs: [{matchName: api.github.com}]
  - toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]
    toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
"""
ENVOY = """
apiVersion: cilium.io/v2
kind: CiliumEnvoyConfig
metadata: {name: prometheus-metrics}
spec:
  services:
  - name: web-service
    listener: web-service-listener
    routes:
    - name: web-service-route
      http:
        match:
        - prefix: "/"
        route: {cluster: web-service-cluster}
        stats: {enabled: true}
"""
MESH = """
apiVersion: cilium.io/v2alpha1
kind: CiliumClusterMesh
metadata: {name: homelab-mesh}
spec:
  clusters:
  - {name: cluster-1, address: "192.168.1.10:2379"}
  - {name: cluster-2, address: "192.168.2.10:2379"}
  serviceDiscovery: {enabled: true, crossCluster: true}
"""
CLEAN_POOL = """
apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: clean}
spec: {blocks: [{cidr: 10.1.0.0/24}, {start: 10.2.0.1, stop: 10.2.0.9}]}
"""

ROWS = [
    (
        POOL,
        [
            "spec.cidrs is the older name",
            "192.168.1.100 to 192.168.1.111",
            "one of the nodes that serve it answers",
        ],
    ),
    (PEERING, ["eBGPMultihop stands at an iBGP peer"]),
    (IPV6, ["spec.nodeSelector is missing", "only repeats what the address says"]),
    (
        SECURED,
        [
            "neighbors[0]: the password stands in the open",
            "neighbors[1] has no peerAddress",
            "neighbors[1]: maxPrefixes is Cairn's own",
            "neighbors[2] has no peerAddress",
            "neighbors[2]: importFilter is Cairn's own",
            "neighbors[3] has no peerAddress",
            "neighbors[3]: exportFilter is Cairn's own",
        ],
    ),
    (DDOS, ["spec.podSelector", "0.0.0.0/0 is the world", "a limit per source address"]),
    (DENY_ALL, ["spec.podSelector", "Ingress, Egress is closed but for what is allowed"]),
    (FQDN, ["policy.cilium.io/disabled=true", "queries for just these names"]),
    (FQDN_WITH_DNS, []),
    (ENVOY, ["this version runs no Envoy", "services[].routes is a shorter form"]),
    (MESH, ["this version joins no clusters", "CiliumClusterMesh is a kind of Cairn's own"]),
    (CLEAN_POOL, []),
]


@pytest.mark.parametrize(("text", "notes"), ROWS)
def test_dialect_is_accepted_as_written_and_noted(kinds: Any, text: str, notes: list[str]) -> None:
    obj = yaml.safe_load(text)
    kind = kinds[obj["apiVersion"], obj["kind"]]
    admitted, errors, _ = admit(kind, obj, "Strict")
    assert errors == []
    for name, value in obj["spec"].items():
        assert contains(admitted["spec"][name], value)
    assert kind.validate is None or kind.validate(admitted, None) == []
    found = kind.warn(admitted)
    assert len(found) == len(notes), found
    for note, words in zip(found, notes, strict=True):
        assert words in note


def contains(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted was kept; defaults may have come on top."""
    if isinstance(wanted, dict):
        return all(name in found and contains(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(contains, found, wanted))
    return bool(found == wanted)


def test_a_peering_without_a_name_is_refused_as_any_object_is(kinds: Any) -> None:
    obj = yaml.safe_load(IPV6)
    del obj["metadata"]
    _, errors, _ = admit(kinds[obj["apiVersion"], obj["kind"]], obj, "Strict")
    assert [str(e) for e in errors] == [
        "metadata.name: Required value: name or generateName is required"
    ]


@pytest.mark.parametrize("spec", [None, [], {"cidrs": 5}, {"virtualRouters": [{"neighbors": 1}]}])
@pytest.mark.parametrize("kind", ["CiliumLoadBalancerIPPool", "CiliumBGPPeeringPolicy"])
def test_wrong_types_find_nothing_and_raise_nothing(kind: str, spec: Any) -> None:
    notes = warnings({"kind": kind, "spec": spec})
    assert all("nodeSelector" in note or "older name" in note for note in notes)


MANIFESTS = Path(__file__).parents[2] / "vectors" / "scenario"


def test_every_manifest_of_the_scenario(kinds: Any) -> None:
    files = sorted(MANIFESTS.glob("*.yaml"))
    assert files
    for path in files:
        obj = yaml.safe_load(path.read_text())
        _, errors, _ = admit(kinds[obj["apiVersion"], obj["kind"]], obj, "Strict")
        missing_name = ["metadata.name"] if path.name == "ipv6-bgp-peering.yaml" else []
        assert [error.field for error in errors] == missing_name, path.name
