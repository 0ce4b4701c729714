"""Which nodes a relay hears: told when a client begins, and when it changes.

    Observed.nodes()  ->  responses with relay.NodeStatusEvent, serialised

Standards   Cilium api/v1/relay/relay.proto
"""

from collections.abc import Iterator
from typing import Any

from cairn.hubble.observed import Observed
from cairn.hubble.proto import message

Response: Any = message("observer.GetFlowsResponse")
CONNECTED, UNAVAILABLE, GONE = 1, 2, 3
"""relay.NodeState."""


class NodeStatus:
    """What one client was told."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._told: dict[str, bool] = {}

    def news(self) -> Iterator[bytes]:
        """Yield what the client does not know yet."""
        if not self._observed.is_relay:
            return
        nodes = {node.name: node for node in self._observed.nodes()}
        changed = [
            node for name, node in nodes.items() if self._told.get(name) is not node.connected
        ]
        gone = [name for name in self._told if name not in nodes]
        self._told = {name: node.connected for name, node in nodes.items()}
        if heard := [node.name for node in changed if node.connected]:
            yield self._response(CONNECTED, heard, "")
        if unheard := [node for node in changed if not node.connected]:
            why = "; ".join(f"{node.name}: {node.error or 'not yet asked'}" for node in unheard)
            yield self._response(UNAVAILABLE, [node.name for node in unheard], why)
        if gone:
            yield self._response(GONE, gone, "no longer a node of the cluster")

    def _response(self, state: int, names: list[str], why: str) -> bytes:
        response = Response(node_name=self._observed.name)
        response.node_status.state_change = state
        response.node_status.node_names.extend(names)
        response.node_status.message = why
        response.time.FromNanoseconds(self._observed.now_ns())
        octets: bytes = response.SerializeToString()
        return octets
