"""What the data plane drops, in the agent's log.

    ring buffer of sampled drops  ->  a line per source, destination, reason and rule, each second

Invariants  At most LINES lines a second; how many more there were is said.
Not here    Flows and metrics: this is what `kubectl logs` shows of a packet that went nowhere.
"""

import asyncio
import logging

from cairn.abi.records import EVENT
from cairn.libbpf import BpfError, Map
from cairn.libbpf.ring import Ring
from cairn.observe.drops import Names, sum_drops

PAUSE_S = 1.0
LINES = 5

log = logging.getLogger("drop")


async def log_drops(events: Map, names: Names) -> None:
    """Log drops until cancelled, and what policies in audit mode would have dropped."""
    ring = Ring(events, EVENT)
    while True:
        await asyncio.sleep(PAUSE_S)
        try:
            records = ring.drain()
        except BpfError as error:
            log.error("drops can no longer be read: %s", error)
            return
        drops = sum_drops(records) if len(records) else []
        for drop in drops[:LINES]:
            log.warning("%s", drop.describe(names))
        if len(drops) > LINES:
            log.warning("and %d other kinds of drop in this second", len(drops) - LINES)
