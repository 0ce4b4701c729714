"""The objects that every cluster has from its first moment.

    advertised address  ->  namespaces, Service and EndpointSlice `default/kubernetes`

Invariants  What is there stays; only the advertised address is brought up to date.
"""

from typing import Any

import msgspec

from cairn.api.committer import Committer
from cairn.apiserver.request import Request, User, Write
from cairn.apiserver.serve import Server
from cairn.apiserver.status import Refused

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SELF = User("system:apiserver", ("system:masters", "system:authenticated"))
_DEFAULT = "/api/v1/namespaces/default"
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


async def bootstrap(
    server: Server, committer: Committer, advertise: tuple[str, int], service_ip: str
) -> None:
    """Make what is missing; raises Refused if it cannot be stored."""
    for name in NAMESPACES:
        await _ensure(server, committer, "/api/v1/namespaces", {"metadata": {"name": name}})
    address, port = advertise
    labels = {"component": "apiserver", "provider": "kubernetes"}
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]
    spec = {"type": "ClusterIP", "clusterIP": service_ip, "ports": ports}
    service = {"metadata": {"name": "kubernetes", "labels": labels}, "spec": spec}
    await _ensure(server, committer, f"{_DEFAULT}/services", service)
    endpoint_ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    endpoints = {
        "metadata": {"name": "kubernetes"},
        "subsets": [{"addresses": [{"ip": address}], "ports": endpoint_ports}],
    }
    await _ensure(server, committer, f"{_DEFAULT}/endpoints", endpoints, replace=True)
    piece = {
        "metadata": {
            "name": "kubernetes",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": endpoint_ports,
    }
    await _ensure(server, committer, _SLICES, piece, replace=True)


async def _ensure(
    server: Server, committer: Committer, path: str, obj: dict[str, Any], *, replace: bool = False
) -> None:
    try:
        await _submit(server, committer, "POST", path, obj)
    except Refused as refused:
        if refused.reason != "AlreadyExists":
            raise
        if replace:
            name = obj["metadata"]["name"]
            await _submit(server, committer, "PUT", f"{path}/{name}", obj)


async def _submit(
    server: Server, committer: Committer, method: str, path: str, obj: dict[str, Any]
) -> None:
    request = Request(method, path, {}, "", {}, msgspec.json.encode(obj), _SELF)
    outcome = server.handle(request)
    if not isinstance(outcome, Write):
        raise TypeError(f"{method} {path} is not a write")
    await committer.submit(outcome)
