"""Remove from `policy_flows` what has ended or gone silent.

    map policy_flows; the time  ->  entries deleted, FlowsSwept, events of what is over

Invariants  A packet that revives an entry between its reading and its deletion is judged anew, as
            after any change of policies.
Cost        one walk through the map, in batches: 0.3 us an entry; in a thread
Not here    What has expired (observe.policy_expiry), when to run (agent.upkeep).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cairn.abi.records import FLOW_KEY, POLICY_FLOW
from cairn.libbpf import Map
from cairn.observe.closed_flows import Records, closed_events
from cairn.observe.policy_expiry import expired_flows

PIECE = 4096
"""Entries deleted by one call."""


@dataclass(frozen=True, slots=True)
class FlowsSwept:
    """What one run did."""

    entries: int
    """Entries that remain."""
    removed: int
    """Entries that went."""
    proxied: int
    """Entries that are with a proxy."""


def sweep_flows(
    table: Map, now_ns: int, on_closed: Callable[[Records], object] | None = None
) -> FlowsSwept:
    """Walk `policy_flows` once and delete what has expired; raises BpfError.

    `now_ns` is CLOCK_MONOTONIC, read before this is called. `on_closed` gets EVENT records of
    those whose end the data plane has not told of; it is called in this thread.
    """
    entries = proxied = 0
    expired: list[bytes] = []
    for octets, values, count in table.batches():
        keys, flows = np.frombuffer(octets, FLOW_KEY), np.frombuffer(values, POLICY_FLOW)
        entries += count
        proxied += int(np.count_nonzero(flows["proxy"]))
        over = expired_flows(keys, flows, now_ns)
        expired.append(keys[over].tobytes())
        if on_closed and over.any():
            on_closed(closed_events(keys[over], flows[over], now_ns))
    gone = b"".join(expired)
    step = PIECE * FLOW_KEY.itemsize
    removed = sum(table.delete_batch(gone[at : at + step]) for at in range(0, len(gone), step))
    return FlowsSwept(entries - removed, removed, proxied)
