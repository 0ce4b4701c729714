"""The node's flows: read from the data plane and the proxies, named, stored, handed on.

    ring buffer, access log, DNS proxy  ->  FlowRecords  ->  FlowFeed, drop log, counts

Start       at once: what the ring holds from before is told with the names of now
Invariants  The ring is emptied every PAUSE_S, and sooner when much comes: at half its room it could
            wait for a busy processor no longer. What it had no room for
            the data plane counts; each second these become flows of kind LOST.
            One failure to read ends nothing: it is said once and tried again.
Cost        0.3 us an event (bench/flow_query.py); 0.9 us from the ring to a relay's socket, with
            reading, counting and serving it (bench/flow_rate.py)
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cairn.abi.records import EVENT, METRIC
from cairn.abi.structs import POINTS, VERDICT_SPACE
from cairn.abi.verdicts import Verdict
from cairn.agent.drop_log import DropLog
from cairn.agent.flow_counts import FlowCounts
from cairn.agent.flow_ends import FlowEnds
from cairn.agent.flow_feed import FlowFeed
from cairn.agent.flow_names import LearntNames
from cairn.agent.lookup_watch import watch_lookups
from cairn.agent.tracer import Tracer
from cairn.apply.kernel_watch import KernelWatch
from cairn.desired.endpoint import PodEndpoint
from cairn.dns.lookup import Lookup
from cairn.flow.address import Records
from cairn.flow.columns import Batch, FlowKind
from cairn.libbpf import BpfError, Map
from cairn.libbpf.ring import Ring
from cairn.observe.access_log import Line
from cairn.observe.flow_records import FlowRecords
from cairn.observe.flow_requests import Made, of_lookups, of_requests

PAUSE_S = 0.1
SHORTEST_S = 0.02
AT_ONCE = 4096
"""Events that a pause should bring, at the most: an eighth of the ring."""
LOOK_S = 1.0
"""Between looks at what was lost, at Services, nodes and interfaces."""
CAPACITY = 65_536
LARGEST = 1 << 22

log = logging.getLogger("flows")


class Flows:
    """One node's flows."""

    def __init__(
        self,
        maps: Mapping[str, Map],
        records: FlowRecords,
        ends: FlowEnds,
        names: LearntNames,
        *,
        drops: DropLog,
        capacity: int,
        kernel: KernelWatch,
    ) -> None:
        self.feed = FlowFeed(capacity)
        """Where they go."""
        self.counts = FlowCounts()
        """What they came to."""
        self.kernel = kernel
        """What tells of drops by the kernel itself."""
        self.tracer = Tracer(maps, lambda: self.counts.lost.total())
        """What shows single packets to whoever asks."""
        self._metrics = maps["metrics"]
        self._ring = Ring(maps["events"], EVENT)
        self._records = records
        self._ends = ends
        self._names = names
        self._drops = drops
        self._lost: dict[int, int] = {}
        self._drained = 0
        self._said = ""

    def start(self, pods: Iterable[PodEndpoint]) -> None:
        """Have the kernel's own drops told too, of this node and these pods."""
        self.tracer.forget()
        self.kernel.start(pods)
        self._records.name_kernel_reasons(self.kernel.names)

    async def run(self, dns_socket: Path) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_ring())
            tasks.create_task(self._look())
            tasks.create_task(watch_lookups(dns_socket, self.take_lookups))
            tasks.create_task(self._drops.run())

    def drain(self) -> int:
        """Take what the ring holds; return how many events that were. Raises BpfError."""
        self._drained = 0
        events = self._ring.drain()
        self._drained = len(events)
        if len(events):
            self.take_events(events)
        return len(events)

    def take_events(self, events: Records) -> None:
        """Take what happened, as the data plane tells it."""
        self._drops.put(events)
        now_ns = time.monotonic_ns()
        offset_ns = time.time_ns() - now_ns
        batch = self._records.of_events(events, offset_ns=offset_ns, now_ns=now_ns)
        # What a trace asked for is no flow: what became of its connection is told besides.
        flows = batch.records["kind"] != FlowKind.PACKET
        kept = batch if flows.all() else replace(batch, records=batch.records[flows])
        self._put(kept)
        self.tracer.put(batch.records, self.feed.store.dictionaries)

    def take_requests(self, lines: Collection[Line]) -> None:
        """Take what the HTTP proxy judged."""
        if lines:
            self._take(of_requests(lines, self._records.numberings))

    def take_lookups(self, lookups: Sequence[Lookup], lost: int, bad: int) -> None:
        """Take what the DNS proxy judged."""
        self.counts.lost_lookups += lost
        self.counts.bad_lines += bad
        made = of_lookups(lookups, self._records.numberings)
        for name, addresses in made.learnt:
            self._names.learn(name, addresses)
        self._take(made)

    def look(self) -> None:
        """See what was lost, and what addresses and interfaces are called now.

        Raises BpfError.
        """
        lost = lost_events(self._metrics)
        more = {p: n - self._lost.get(p, n if not self._lost else 0) for p, n in lost.items()}
        more = {point: count for point, count in more.items() if count > 0}
        self._lost = lost
        if more:
            now_ns = time.monotonic_ns()
            self._put(self._records.lost(more, time.time_ns(), now_ns))
        self._ends.refresh()
        for ifindex, name in socket.if_nameindex():
            self._records.name_interface(ifindex, name)

    def _take(self, made: Made) -> None:
        self.counts.bad_lines += made.bad
        if len(made.records):
            self._put(self._records.finish(made.records, time.monotonic_ns()))

    def _put(self, batch: Batch) -> None:
        self.counts.count(batch.records)
        self.feed.put(batch)

    async def _follow_ring(self) -> None:
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._ring.fd, arrived.set)
        pause_s = PAUSE_S
        try:
            while True:
                self._try(self.drain)
                pause_s = next_pause_s(pause_s, self._drained)
                arrived.clear()
                # The ring wakes us for the first record after we have caught up; the pause lets
                # others follow it, so that they are read together.
                await arrived.wait()
                loop.remove_reader(self._ring.fd)
                await asyncio.sleep(pause_s)
                loop.add_reader(self._ring.fd, arrived.set)
        finally:
            loop.remove_reader(self._ring.fd)

    async def _look(self) -> None:
        while True:
            self._try(self.look)
            await asyncio.sleep(LOOK_S)

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except (BpfError, OSError, ValueError, LookupError) as error:
            if str(error) != self._said:
                log.error("flows are not whole: %s; trying again", error)
            self._said = str(error)


def next_pause_s(pause_s: float, count: int) -> float:
    """Return how long to wait after a pause that brought so many events."""
    return min(PAUSE_S, max(SHORTEST_S, pause_s * AT_ONCE / max(count, 1)))


def lost_events(metrics: Map) -> dict[int, int]:
    """Return how many events found the ring full, by point."""
    rows = b"".join(values for _, values, _ in metrics.batches())
    counts = np.frombuffer(rows, METRIC).reshape(POINTS * VERDICT_SPACE, -1)
    lost = counts["packets"].sum(axis=1)[Verdict.EVENT_LOST :: VERDICT_SPACE]
    return {point: int(count) for point, count in enumerate(lost)}
