"""Where a request for a pod's log, exec, attach or port-forward is to go.

    pod, its node, subresource, query  ->  Proxy

Not here    Carrying the bytes (cairn.api.relay), understanding them (the kubelet).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from cairn.apiserver.request import Proxy, Request
from cairn.apiserver.route import Route
from cairn.apiserver.status import Refused, bad_request, not_found
from cairn.apiserver.store import Store
from cairn.kube.metadata import Key

STREAMS = {
    "log": "containerLogs",
    "exec": "exec",
    "attach": "attach",
    "portforward": "portForward",
}
"""Subresource -> the kubelet's word for it."""
_RENAMED = {"stdin": "input", "stdout": "output", "stderr": "error"}


def proxy_of(store: Store, route: Route, request: Request) -> Proxy:
    """Return where to send the request; raises Refused."""
    key = Key(route.namespace, route.name)
    entry = store.get("pods", key)
    if entry is None:
        raise not_found(route.kind, route.name)
    pod = entry.decode()
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {route.name} does not have a host assigned")
    path = f"/{STREAMS[route.subresource]}/{quote(key.namespace)}/{quote(key.name)}"
    if route.subresource != "portforward":
        path += "/" + quote(_container(pod, request.query.get("container") or ""))
    address, port = _kubelet_address(store, node)
    return Proxy(node, address, port, f"{path}?{_query(request.raw_query)}")


def _container(pod: Mapping[str, Any], wanted: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    groups = ("containers", "initContainers", "ephemeralContainers")
    names = [c["name"] for group in groups for c in spec.get(group) or ()]
    own = [c["name"] for c in spec.get("containers") or ()]
    if wanted:
        if wanted not in names:
            raise bad_request(f"container {wanted} is not valid for pod {name}: it has {names}")
        return wanted
    if len(own) == 1:
        return str(own[0])
    raise bad_request(
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(own)}]"
    )


def _kubelet_address(store: Store, node: str) -> tuple[str, int]:
    entry = store.get("nodes", Key("", node))
    if entry is None:
        raise Refused(502, "BadGateway", f'node "{node}" is not known: it has no Node object')
    status = entry.decode().get("status") or {}
    addresses = {a.get("type"): a.get("address") for a in status.get("addresses") or ()}
    address = addresses.get("InternalIP") or addresses.get("Hostname")
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    if not address or not port:
        missing = "InternalIP" if not address else "kubelet port (status.daemonEndpoints)"
        raise Refused(502, "BadGateway", f'node "{node}" has no {missing} in its status yet')
    return str(address), int(port)


def _query(raw: str) -> str:
    """Return the query with the kubelet's own names beside those of the API."""
    pairs = parse_qsl(raw, keep_blank_values=True)
    for name, value in list(pairs):
        if name in _RENAMED and value in ("true", "1"):
            pairs.append((_RENAMED[name], "1"))
        elif name == "ports":
            pairs.append(("port", value))
    return urlencode(pairs)
