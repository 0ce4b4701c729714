"""The cluster inside a lab: filled through the API, and waited for until it is whole.

    objects, names  ->  "ready", or what is missing, until a deadline

Invariants  Waiting asks for a state; its text at the deadline says what was last missing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key, key_of
from cairn.kube.resource import (
    CILIUM_NODES,
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
)
from cairn.lab.state import LabError

Check = Callable[[], Awaitable[str]]
_POLL_S = 0.1
_NOT_FOUND = 404


async def wait_for(what: str, check: Check, *, deadline_s: float, hint: Callable[[], str]) -> None:
    """Wait until `check` returns "", else raise with what it last said and what helps."""
    end = time.monotonic() + deadline_s
    while missing := await _missing(check):
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {deadline_s:.0f} s: {missing}; {hint()}")
        await asyncio.sleep(_POLL_S)


async def api_missing(client: Client) -> str:
    """Return "" once the API server serves."""
    await client.list(NAMESPACES)
    return ""


async def nodes_missing(client: Client, names: Sequence[str]) -> str:
    """Return "" once all these nodes are Ready."""
    nodes, _ = await client.list(NODES)
    found = {node["metadata"]["name"]: condition_of(node, "Ready") for node in nodes}
    rows = []
    for name in names:
        condition = found.get(name)
        if condition is None:
            rows.append(f"{name} has not registered")
        elif condition.get("status") != "True":
            rows.append(f"{name}: {condition.get('message') or condition.get('reason')}")
    return ", ".join(rows)


async def daemon_set_missing(client: Client, key: Key, nodes: int) -> str:
    """Return "" once the DaemonSet runs, ready, on this many nodes."""
    status = (await client.get(DAEMON_SETS, key)).get("status") or {}
    ready = status.get("numberReady") or 0
    if ready >= nodes:
        return ""
    return f"DaemonSet {key} is ready on {ready} of {nodes} nodes{await pods_in_trouble(client)}"


async def deployments_missing(client: Client) -> str:
    """Return "" once every Deployment has all its replicas ready."""
    deployments, _ = await client.list(DEPLOYMENTS)
    rows = []
    for deployment in deployments:
        wanted = deployment["spec"].get("replicas", 1)
        ready = (deployment.get("status") or {}).get("readyReplicas") or 0
        if ready < wanted:
            metadata = deployment["metadata"]
            rows.append(f"{metadata['namespace']}/{metadata['name']} {ready}/{wanted}")
    return f"{', '.join(rows)}{await pods_in_trouble(client)}" if rows else ""


async def address_missing(client: Client, key: Key) -> str:
    """Return "" once the Service has an external address."""
    service = await client.get(SERVICES, key)
    if external_address(service):
        return ""
    for condition in (service.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "False":
            return f"Service {key}: {condition.get('message')}"
    return f"Service {key} has no external address"


async def strike_out_strangers(client: Client, names: Sequence[str]) -> list[str]:
    """Remove nodes that a kept database knows and this lab has not; return their names."""
    nodes, _ = await client.list(NODES)
    strangers = [n["metadata"]["name"] for n in nodes if n["metadata"]["name"] not in names]
    for name in strangers:
        await strike_out(client, name)
    return strangers


async def strike_out(client: Client, node: str) -> None:
    """Remove a node that is gone, and the pods that were on it."""
    pods, _ = await client.list(PODS, field_selector=f"spec.nodeName={node}")
    gone = [(PODS, key_of(pod)) for pod in pods]
    for resource, key in [*gone, (NODES, Key("", node)), (CILIUM_NODES, Key("", node))]:
        try:
            await client.delete(resource, key, grace_period_s=0)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise LabError(f"{resource.kind} {key}: {error}") from None


async def pods_in_trouble(client: Client) -> str:
    """Return a text on pods that wait for something, "" if none does."""
    pods, _ = await client.list(PODS)
    rows = []
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason"):
                rows.append(f"{name} {waiting['reason']} {waiting.get('message', '')}".strip())
                break
    return f" ({'; '.join(rows[:3])})" if rows else ""


def external_address(service: dict[str, Any]) -> str | None:
    """Return the first address that a load balancer gave to the Service."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    for ingress in balancer.get("ingress") or []:
        if ingress.get("ip"):
            return str(ingress["ip"])
    return None


def condition_of(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return an object's condition of that type, or one without status that says it has none."""
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind:
            return dict(condition)
    return {"reason": f"no condition {kind} yet"}


async def _missing(check: Check) -> str:
    try:
        return await check()
    except ApiError as error:
        return error.message or f"API status {error.status}"
