"""How a server stands: its flows, and its nodes.

    Observed  ->  observer.ServerStatusResponse, observer.GetNodesResponse, serialised

Standards   Cilium api/v1/observer/observer.proto
"""

from typing import Any

import numpy as np

from cairn import __version__
from cairn.flow.address import Records
from cairn.flow.key_test import Bools
from cairn.flow.store import FlowStore
from cairn.hubble.flow_message import NANOSECONDS
from cairn.hubble.node_status import CONNECTED, UNAVAILABLE
from cairn.hubble.observed import Observed
from cairn.hubble.proto import message

StatusResponse: Any = message("observer.ServerStatusResponse")
NodesResponse: Any = message("observer.GetNodesResponse")
VERSION = f"cairn v{__version__}"
MINUTE_NS = 60 * NANOSECONDS


def server_status(observed: Observed) -> bytes:
    """Return the response of ServerStatus."""
    store = observed.store
    response = StatusResponse(
        num_flows=len(store),
        max_flows=store.capacity,
        seen_flows=store.seen,
        uptime_ns=observed.uptime_ns,
        version=VERSION,
        flows_rate=_rate(observed),
    )
    if observed.is_relay:
        nodes = observed.nodes()
        unavailable = [node.name for node in nodes if not node.connected]
        response.num_connected_nodes.value = len(nodes) - len(unavailable)
        response.num_unavailable_nodes.value = len(unavailable)
        response.unavailable_nodes.extend(unavailable)
    octets: bytes = response.SerializeToString()
    return octets


def node_list(observed: Observed) -> bytes:
    """Return the response of GetNodes."""
    response = NodesResponse()
    for node in observed.nodes():
        made = response.nodes.add(
            name=node.name,
            address=node.address,
            state=CONNECTED if node.connected else UNAVAILABLE,
            version=node.version,
            uptime_ns=node.uptime_ns,
            num_flows=node.stored,
            max_flows=node.capacity,
            seen_flows=node.seen,
        )
        made.tls.enabled, made.tls.server_name = node.tls, node.server_name
    octets: bytes = response.SerializeToString()
    return octets


def _rate(observed: Observed) -> float:
    """Return flows a second, of the last minute or since the first that is stored."""
    store, now_ns = observed.store, observed.now_ns()
    since_ns = now_ns - min(MINUTE_NS, observed.uptime_ns)
    found = store.search(_every, since_ns=since_ns)
    if not len(found):
        return 0.0
    if found[0] == store.first_sequence and store.seen > store.capacity:
        since_ns = _time_of(store, int(found[0]))
    return float(len(found) / max(1e-3, (now_ns - since_ns) / NANOSECONDS))


def _time_of(store: FlowStore, sequence: int) -> int:
    return int(store.slices(sequence, sequence + 1)[0]["time_ns"][0])


def _every(records: Records) -> Bools:
    return np.ones(len(records), np.bool_)
