"""What a Service's EndpointSlices name in vain: endpoints that some client, or none, can reach.

    kube.Service, kube.EndpointSlice  ->  (subject, reason of the Event, sentence or "")

Pure: which nodes there are does not matter, only whether an endpoint claims one.

Standards   KEP-752 (EndpointSlice); Kubernetes "Services without selectors"
Not here    Fields of one slice alone (kube.unsupported), how packets are dropped (bpf/lib/serve.h).
"""

from collections.abc import Iterable, Iterator

from cairn.kube.endpoint_address import unusable
from cairn.kube.endpoint_slice import Endpoint, EndpointSlice
from cairn.kube.service import Service
from cairn.net import Address

MOST_NAMED = 3


def is_used(service: Service, address: Address) -> bool:
    """Return whether anybody is sent to an endpoint at `address`.

    The API server's own Service is the exception: one that serves its machine alone listens on
    loopback, and says so.
    """
    fault = unusable(address)
    if fault == "loopback":
        return (service.key.namespace, service.key.name) == ("default", "kubernetes")
    return not fault


def endpoint_faults(
    service: Service, slices: Iterable[EndpointSlice]
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with a Service's endpoints, or "" for each thing that is right."""
    endpoints = [endpoint for part in slices for endpoint in part.endpoints]
    yield "address", "EndpointNotUsed", _not_used(service, endpoints)
    yield "outside", "BackendOutsideCluster", _outside(service, endpoints)


def _not_used(service: Service, endpoints: list[Endpoint]) -> str:
    wrong = {a: unusable(a) for a, _ in endpoints if not is_used(service, a)}
    if not wrong:
        return ""
    kinds = ", ".join(sorted(set(wrong.values())))
    return (
        f"nobody is sent to {_named(wrong)} ({kinds}): such an address leads to no backend; change "
        "the EndpointSlice"
    )


def _outside(service: Service, endpoints: list[Endpoint]) -> str:
    """Return what to say of backends without a node, where clients outside are to be served.

    Their answers would go past this cluster, from an address that the client did not ask.
    """
    if service.type not in ("NodePort", "LoadBalancer") and not service.external_ips:
        return ""
    used = [
        (address, state)
        for address, state in endpoints
        if is_used(service, address) and (state.ready or service.publish_not_ready)
    ]
    without = {address for address, state in used if not state.node}
    if not without:
        return ""
    rest = "the other endpoints serve them"
    if all(not state.node for _, state in used):
        rest = "their packets are dropped (BACKEND_NO_NODE), and no address is announced for it"
    return (
        f"{_named(without)}: no nodeName: processes of the cluster reach it, clients outside do "
        f"not: {rest}; put a proxy's pod before it, or name its node if it is on one"
    )


def _named(addresses: Iterable[Address]) -> str:
    texts = sorted(str(address) for address in addresses)
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
