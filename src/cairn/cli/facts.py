"""Collect the facts: the API's objects, every node's report, the router's views; all at once.

    kubeconfig, --router  ->  Facts

Invariants  Who does not answer is named in the facts, and costs no more than PATIENCE_S.
Cost        two round trips to the API server, one `cairn report` on each node, side by side
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from cairn.cli.cluster_objects import LINTED, POLICY_INPUTS, connect, fetch, fetch_settings
from cairn.cli.render import lab_kubeconfig
from cairn.cli.router_facts import ask_router, lab_of
from cairn.diagnose.facts import Cluster, Facts, NodeReport
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import Object, key_of
from cairn.kube.node import Node
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_CONFIGS,
    CILIUM_NODES,
)

PATIENCE_S = 4.0
AGENTS = ("k8s-app", "cairn")
CONTAINERS = ("agent", "dns", "speaker")
"""Who is asked to run `cairn report`, in this order: each is of the same image and network."""
KINDS = (*POLICY_INPUTS, *LINTED, CILIUM_NODES, BGP_NODE_CONFIGS, BGP_ADVERTISEMENTS)


async def collect_facts(kubeconfig: str | None, router: str | None = None) -> Facts:
    """Return everything that can be known; raises ApiError, NoAccess if there is no cluster."""
    chosen = kubeconfig or lab_kubeconfig()
    lab = lab_of(chosen or os.environ.get("KUBECONFIG"))
    started = time.monotonic()
    async with connect(chosen) as client:
        asking = asyncio.create_task(asyncio.to_thread(ask_router, lab, router))
        objects, settings = await asyncio.gather(fetch(client, KINDS), fetch_settings(client))
        cluster = Cluster(by_kind([*objects, *settings]), client.url)
        listed_s = time.monotonic() - started
        nodes, unasked, asked_at = await ask_nodes(client, cluster)
        asked_s = time.monotonic() - started - listed_s
        report = await asking
    took = {"api": listed_s, "nodes": asked_s, "all": time.monotonic() - started}
    return Facts(cluster, nodes, unasked, report, asked_at, took, time.time())


def by_kind(objects: Iterable[Object]) -> dict[str, tuple[Object, ...]]:
    """Return objects by their kind."""
    found: dict[str, list[Object]] = defaultdict(list)
    for obj in objects:
        found[str(obj.get("kind"))].append(obj)
    return {kind: tuple(listed) for kind, listed in found.items()}


async def ask_nodes(
    client: Client, cluster: Cluster
) -> tuple[dict[str, NodeReport], dict[str, str], dict[str, float]]:
    """Return each node's report, why others have none, and when each answer came."""
    nodes = {node.name: node for node in map(Node.from_object, cluster.of("Node"))}
    pods = {}
    for pod in cluster.of("Pod"):
        metadata = pod.get("metadata") or {}
        if (metadata.get("labels") or {}).get(AGENTS[0]) == AGENTS[1] and not metadata.get(
            "deletionTimestamp"
        ):
            pods[str((pod.get("spec") or {}).get("nodeName") or "")] = pod
    peers = {name: str(node.internal_ips[0]) for name, node in nodes.items() if node.internal_ips}
    servers = _dns_servers(cluster)
    reports: dict[str, NodeReport] = {}
    unasked: dict[str, str] = {}
    asked_at: dict[str, float] = {}

    async def one(name: str) -> None:
        if name not in pods:
            unasked[name] = "no agent's pod is on it"
            return
        argv = ["cairn", "report", "--node", name, "--address", peers.get(name, "")]
        for peer, address in peers.items():
            argv += ["--peer", f"{peer}={address}"] if peer != name else []
        for server in servers:
            argv += ["--dns", server]
        try:
            async with asyncio.timeout(PATIENCE_S):
                reports[name] = await _report(client, pods[name], argv)
            asked_at[name] = time.time()
        except TimeoutError:
            unasked[name] = f"no answer within {PATIENCE_S:.0f} s"
        except ApiError as error:
            unasked[name] = error.message

    await asyncio.gather(*map(one, sorted(nodes)))
    return dict(sorted(reports.items())), unasked, asked_at


async def _report(client: Client, pod: Object, argv: list[str]) -> NodeReport:
    """Return a node's report, run in the first container that runs."""
    said = ""
    for container in _running(pod) or CONTAINERS:
        try:
            done = await exec_in_pod(client, key_of(pod), container, argv, timeout_s=PATIENCE_S)
            if done.code == 0:
                return msgspec.json.decode(done.stdout, type=NodeReport)
            said = done.stderr.decode(errors="replace").strip() or f"exit status {done.code}"
        except ApiError as error:
            said = error.message
        except msgspec.MsgspecError as error:
            said = f"unreadable report: {error}"
    raise ApiError(0, "", said)


def _running(pod: Object) -> list[str]:
    states: Mapping[str, object] = {
        str(status.get("name")): (status.get("state") or {}).get("running")
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
    }
    return [name for name in CONTAINERS if states.get(name) is not None]


def _dns_servers(cluster: Cluster) -> tuple[str, ...]:
    for service in cluster.of("Service"):
        if key_of(service) == ("kube-system", "kube-dns"):
            return tuple(
                a for a in (service.get("spec") or {}).get("clusterIPs") or () if ":" not in a
            )
    return ()
