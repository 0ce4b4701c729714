"""Pods by which nodes can tell that the overlay passes what is sent to another subnet.

    CiliumNodes, Pods, policies  ->  NAME=ADDRESS to probe, by node

Invariants  Only pods that no policy can keep from answering are asked.
"""

from collections import defaultdict

from cairn.diagnose.facts import PODS_OF, Cluster
from cairn.kube.metadata import key_of
from cairn.kube.node import NodeFacts
from cairn.kube.resource import POLICY_KINDS
from cairn.net import parse_address

PODS_ASKED = 3
"""Of each node: one that stands still is no overlay that does."""


def overlay_peers(cluster: Cluster) -> dict[str, list[str]]:
    """Return what each node is to probe; nothing where all nodes share a subnet."""
    pods = _pods(cluster)
    nodes = [NodeFacts.from_object(raw) for raw in cluster.of("CiliumNode")]
    found: dict[str, list[str]] = defaultdict(list)
    for asker in nodes:
        for peer in nodes if asker.uplink_networks else ():
            if not any(a in n for a in peer.internal_ips for n in asker.uplink_networks):
                chosen = pods.get(peer.name, ())[:PODS_ASKED]
                found[asker.name] += [f"{PODS_OF}{peer.name}={address}" for address in chosen]
    return found


def _pods(cluster: Cluster) -> dict[str, list[str]]:
    """Return addresses of pods that run, by node, of namespaces without policies."""
    policies = [key_of(one) for kind in POLICY_KINDS for one in cluster.of(kind.kind)]
    closed = {key.namespace for key in policies}
    found: dict[str, list[str]] = defaultdict(list)
    for pod in cluster.of("Pod") if "" not in closed else ():
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        if status.get("phase") != "Running" or spec.get("hostNetwork"):
            continue
        if key_of(pod).namespace not in closed and status.get("podIP"):
            found[str(spec.get("nodeName"))].append(str(parse_address(status["podIP"])))
    return found
