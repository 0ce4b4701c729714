"""The pods of this node, shown to the user as CiliumEndpoints.

    EndpointStore, PolicyOf  ->  CiliumEndpoint objects, owned by their pods

Invariants  The objects are a view: nothing is decided by them, so they may lag.
            A pod's end removes its object by the owner reference.
Standards   CiliumEndpoint v2
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cairn.agent.endpoint_store import EndpointStore
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.kube_client import ApiError, Client, Unreachable
from cairn.kube.metadata import Key
from cairn.kube.node import Node
from cairn.kube.resource import CILIUM_ENDPOINTS

PAUSE_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """How a pod stands with policies."""

    identity: int
    """Number of its identity; 0 while it has none."""
    labels: tuple[str, ...]
    """What makes it, as upstream spells it."""
    ingress: bool
    """Whether who reaches it is judged."""
    egress: bool
    """Whether whom it reaches is judged."""
    closed: bool
    """Whether nothing passes, since its policy is not in force."""


PolicyOf = Callable[[PodEndpoint], EndpointPolicy]


class EndpointPublisher:
    """Writes the CiliumEndpoints of one node."""

    def __init__(self, client: Client, node: Node, policy_of: PolicyOf) -> None:
        # Pods come and go in threads; the event loop looks at this flag once a pause.
        self.changed = threading.Event()
        """Set when a pod came or went, or policies changed."""
        self._policy_of = policy_of
        self._client = client
        self._node = node
        self._published: dict[str, tuple[PodEndpoint, EndpointPolicy]] = {}
        self._said = ""

    async def run(self, store: EndpointStore) -> None:
        """Publish what is new, until cancelled."""
        self.changed.set()
        while True:
            if self.changed.is_set():
                self.changed.clear()
                await self._publish_all(store)
            await asyncio.sleep(PAUSE_S)

    async def _publish_all(self, store: EndpointStore) -> None:
        current = {e.uid: (e, self._policy_of(e)) for e in store if e.uid}
        for uid in self._published.keys() - current.keys():
            del self._published[uid]
        for uid, (endpoint, policy) in current.items():
            if self._published.get(uid) == (endpoint, policy):
                continue
            try:
                await self._publish(endpoint, policy)
                self._published[uid] = (endpoint, policy)
            except ApiError as error:
                self.changed.set()
                if error.message != self._said:
                    name = f"{endpoint.namespace}/{endpoint.pod}"
                    log.warning("CiliumEndpoint %s: %s; trying again", name, error.message)
                    self._said = error.message
                if isinstance(error, Unreachable):
                    return  # the others would wait as long

    async def _publish(self, endpoint: PodEndpoint, policy: EndpointPolicy) -> None:
        obj = cilium_endpoint(endpoint, policy, self._node)
        status = obj.pop("status")
        await self._client.apply(CILIUM_ENDPOINTS, obj, manager="cairn-agent")
        key = Key(endpoint.namespace, endpoint.pod)
        await self._client.patch(CILIUM_ENDPOINTS, key, {"status": status}, subresource="status")


def cilium_endpoint(endpoint: PodEndpoint, policy: EndpointPolicy, node: Node) -> dict[str, Any]:
    """Return the CiliumEndpoint that describes `endpoint`."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": endpoint.pod, "uid": endpoint.uid}
    addressing = {f"ipv{address.version}": str(address) for address in endpoint.addresses}
    return {
        "apiVersion": CILIUM_ENDPOINTS.api_version,
        "kind": CILIUM_ENDPOINTS.kind,
        "metadata": {
            "namespace": endpoint.namespace,
            "name": endpoint.pod,
            "ownerReferences": [owner],
        },
        "status": {
            "id": endpoint.host_ifindex,
            "state": "waiting-to-regenerate" if policy.closed else "ready",
            "identity": {"id": policy.identity, "labels": list(policy.labels)},
            "policy": {
                "ingress": _direction(enforcing=policy.ingress),
                "egress": _direction(enforcing=policy.egress),
            },
            "networking": {
                "addressing": [addressing],
                "node": str(node.internal_ips[0]),
            },
        },
    }


def _direction(*, enforcing: bool) -> dict[str, Any]:
    return {"enforcing": enforcing, "state": "enforcing" if enforcing else "disabled"}
