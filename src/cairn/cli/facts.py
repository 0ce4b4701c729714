"""Collect the facts: the API's objects, every node's report, the router's views; all at once.

    kubeconfig, --router  ->  Facts

Invariants  Who does not answer is named in the facts, and costs no more than PATIENCE_S.
            The router is asked before the nodes, and again if a session is down: what it dropped
            meanwhile tells more than what it ever dropped.
Cost        two round trips to the API server, one `cairn report` on each node, side by side
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

import msgspec

from cairn.cli.certificates import of_kubeconfig, of_secret, of_server
from cairn.cli.cluster_objects import LINTED, POLICY_INPUTS, connect, fetch, fetch_settings
from cairn.cli.overlay_peers import overlay_peers
from cairn.cli.relay_facts import ask_relay
from cairn.cli.render import lab_kubeconfig
from cairn.cli.router_facts import ask_router, lab_of
from cairn.diagnose.facts import Cluster, Facts, NodeReport, RouterReport
from cairn.diagnose.process_facts import CertificateFact
from cairn.diagnose.router_counters import growth
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import find_access
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import Key, Object, key_of
from cairn.kube.node import Node
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_CONFIGS,
    CILIUM_NODES,
    SECRETS,
)
from cairn.lab.state import Lab

PATIENCE_S = 4.0
ROUTER_FIRST_S = 0.5
"""How long the nodes wait for the router's answer before they are asked."""
AGENT, OPERATOR, RELAY = APPS = ("cairn", "cairn-operator", "hubble-relay")
"""Values of the label k8s-app of Cairn's pods."""
CONTAINERS = ("agent", "dns", "speaker")
"""Who is asked to run `cairn report`, in this order: each is of the same image and network."""
KINDS = (*POLICY_INPUTS, *LINTED, CILIUM_NODES, BGP_NODE_CONFIGS, BGP_ADVERTISEMENTS)


async def collect_facts(kubeconfig: str | None, router: str | None = None) -> Facts:
    """Return everything that can be known; raises ApiError, NoAccess if there is no cluster."""
    chosen = kubeconfig or lab_kubeconfig()
    lab = lab_of(chosen or os.environ.get("KUBECONFIG"))
    started = time.monotonic()
    async with connect(chosen) as client:
        asking = asyncio.create_task(asyncio.to_thread(_ask_router, lab, router))
        objects, settings = await asyncio.gather(fetch(client, KINDS), fetch_settings(client))
        clock = client.clock
        now_at = clock[0] if clock else 0.0
        cluster = Cluster(by_kind([*objects, *settings]), client.url, now_at)
        listed_s = time.monotonic() - started
        await asyncio.wait({asking}, timeout=ROUTER_FIRST_S)
        begun = time.monotonic()
        (nodes, unasked, asked_at), certificates = await asyncio.gather(
            ask_nodes(client, cluster), gather(client, cluster, chosen)
        )
        relay = await ask_relay(client, own_pods(cluster, RELAY), nodes.values())
        asked_s = time.monotonic() - begun
        report, router_at = await asking
        if any(one.port_answer for node in nodes.values() for one in node.speaker.sessions):
            later, _ = await asyncio.to_thread(_ask_router, lab, router)
            report = grown(report, later)
    asked_at["router"] = router_at
    if clock:
        asked_at["api"] = clock[1]
    return Facts(
        cluster,
        nodes,
        unasked,
        report,
        relay=relay,
        certificates=certificates,
        asked_at=asked_at,
        took_s={"api": listed_s, "nodes": asked_s, "all": time.monotonic() - started},
        now_at=time.time(),
    )


def _ask_router(lab: Lab | None, given: str | None) -> tuple[RouterReport, float]:
    """Return what the router tells, and when it did."""
    return ask_router(lab, given), time.time()


def grown(before: RouterReport, now: RouterReport) -> RouterReport:
    """Return what the router told, with how much its counters have grown since."""
    if before.skipped or now.skipped:
        return before
    return msgspec.structs.replace(before, grew=growth(before.counters, now.counters))


async def gather(
    client: Client, cluster: Cluster, kubeconfig: str | None
) -> tuple[CertificateFact, ...]:
    """Return the certificates of the API server, of the asker, and of Secrets that Cairn mounts."""
    names = {
        Key(key_of(pod).namespace, str(volume["secret"].get("secretName")))
        for app in APPS
        for pod in own_pods(cluster, app)
        for volume in (pod.get("spec") or {}).get("volumes") or ()
        if isinstance(volume.get("secret"), dict)
    }

    async def read(name: Key) -> list[CertificateFact]:
        try:
            return list(of_secret(await client.get(SECRETS, name)))
        except ApiError as error:
            return [CertificateFact(f"Secret {name}", error=error.message)]

    meeting = asyncio.create_task(asyncio.to_thread(of_meeting, client.url, kubeconfig))
    secrets = await asyncio.gather(*map(read, sorted(names)))
    return (*await meeting, *chain.from_iterable(secrets))


def of_meeting(url: str, kubeconfig: str | None) -> tuple[CertificateFact, ...]:
    """Return the certificates by which API server and asker trust each other, or do not."""
    server = of_server(url)
    path = kubeconfig or os.environ.get("KUBECONFIG")
    own = of_kubeconfig(Path(path)) if path else ()
    return (*((server,) if server else ()), *own)


def unreached(kubeconfig: str | None) -> Facts:
    """Return what can be known of a cluster whose API server gives no answer; raises NoAccess."""
    chosen = kubeconfig or lab_kubeconfig()
    access = find_access(chosen)
    certificates = of_meeting(access.url, chosen)
    return Facts(Cluster(server=access.url), certificates=certificates, now_at=time.time())


def own_pods(cluster: Cluster, app: str) -> list[Object]:
    """Return the pods of a part of Cairn that are to stay."""
    return [
        pod
        for pod in cluster.of("Pod")
        if ((pod.get("metadata") or {}).get("labels") or {}).get("k8s-app") == app
        and not (pod.get("metadata") or {}).get("deletionTimestamp")
    ]


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
    pods = {_node_of(pod): pod for pod in own_pods(cluster, AGENT)}
    pages = _pages(cluster)
    peers = {name: tuple(map(str, node.internal_ips)) for name, node in nodes.items()}
    servers, through = _dns_servers(cluster), overlay_peers(cluster)
    reports: dict[str, NodeReport] = {}
    unasked: dict[str, str] = {}
    asked_at: dict[str, float] = {}

    async def one(name: str) -> None:
        if name not in pods:
            unasked[name] = "no agent's pod is on it"
            return
        argv = ["cairn", "report", "--node", name, "--address", next(iter(peers[name]), "")]
        own = {":" in address for address in peers[name]}
        for peer, addresses in peers.items():
            for address in addresses if peer != name else ():
                # A host of one IP version alone cannot ask the other for anything.
                argv += ["--peer", f"{peer}={address}"] if (":" in address) in own else []
        for pod in through.get(name, ()):
            argv += ["--peer", pod]
        for server in servers:
            argv += ["--dns", server]
        for page in pages.get(name, ()):
            argv += ["--page", page]
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


def _node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _pages(cluster: Cluster) -> dict[str, list[str]]:
    """Return the pages of metrics of operator and relay, by the node that they run on."""
    found: dict[str, list[str]] = defaultdict(list)
    for app, name in ((OPERATOR, "operator"), (RELAY, "relay")):
        for pod in own_pods(cluster, app):
            address = str((pod.get("status") or {}).get("podIP") or "")
            words = [
                str(word)
                for container in (pod.get("spec") or {}).get("containers") or ()
                for word in (*(container.get("command") or ()), *(container.get("args") or ()))
            ]
            ports = [w.partition("=")[2] for w in words if w.startswith("--metrics=")]
            if address and ports:
                found[_node_of(pod)].append(f"{name}={address}:{ports[0]}")
    return found


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
            return tuple((service.get("spec") or {}).get("clusterIPs") or ())
    return ()
