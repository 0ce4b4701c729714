"""Remove from `conntrack` what has ended or gone silent.

    maps conntrack, services, backends; the time  ->  entries deleted, Swept

Invariants  One run walks the map once and holds no lock of it for longer than a bucket's reading.
            A packet that revives an entry between its reading and its deletion finds its backend
            by Maglev, as the first of a connection does.
Cost        0.4 us an entry, 0.6 us where half of them go: 41 and 53 ms of CPU time for 100,000
            (bench/sweep.py); in a thread, so that the loop goes on
Not here    What has expired (observe.expiry), when to run (agent.upkeep).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cairn.abi.records import CONNECTION, SERVICE, TUPLE
from cairn.libbpf import Map
from cairn.observe.expiry import Limits, Phase, Sweep

PIECE = 4096
"""Entries deleted by one call."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one run did."""

    entries: int
    """Entries that remain."""
    removed: int
    """Entries that went."""
    capacity: int
    """Entries that fit."""
    connections: Mapping[Phase, int]
    """Connections that the run met, by how far they have come."""


def sweep(maps: Mapping[str, Map], now_ns: int, limits: Limits | None = None) -> Swept:
    """Walk `conntrack` once and delete what has expired; raises BpfError.

    `now_ns` is CLOCK_MONOTONIC, read before this is called.
    """
    table = maps["conntrack"]
    walk = Sweep(now_ns, _services(maps["services"]), _backends(maps["backends"]), limits)
    for keys, values, _ in table.batches():
        walk.add(np.frombuffer(keys, TUPLE), np.frombuffer(values, CONNECTION))
    capacity = table.shape.max_entries
    found = walk.expired(capacity)
    step = PIECE * TUPLE.itemsize
    removed = sum(
        table.delete_batch(found.keys[at : at + step]) for at in range(0, len(found.keys), step)
    )
    return Swept(found.entries - removed, removed, capacity, found.connections)


def _services(table: Map) -> NDArray[np.uint32]:
    ids = [np.frombuffer(values, SERVICE)["id"].copy() for _, values, _ in table.batches()]
    return np.concatenate(ids) if ids else np.empty(0, np.uint32)


def _backends(table: Map) -> NDArray[np.uint32]:
    ids = [np.frombuffer(keys, np.uint32) for keys, _, _ in table.batches()]
    return np.concatenate(ids) if ids else np.empty(0, np.uint32)
