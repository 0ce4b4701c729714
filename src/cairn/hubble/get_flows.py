"""The flows that a client of GetFlows gets, stored ones and those to come.

    Wanted, Observed  ->  observer.GetFlowsResponse after another, serialised

Invariants  A client's pace costs no memory: what waits for it is a place in the store, or 8 octets
            for each flow found. What gave way before it was read is told as lost_events, and does
            not count toward `number`; nor does what nodes lost.
            A relay first says which nodes it hears and which not, and again when that changes.
Standards   Cilium api/v1/observer/observer.proto
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

from cairn.flow.address import Records
from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import FlowKind
from cairn.flow.filter import Mask, compile_filters
from cairn.flow.store import EVER
from cairn.hubble.bad_request import BadRequest
from cairn.hubble.flow_message import CLUSTER, NANOSECONDS
from cairn.hubble.flow_request import Wanted
from cairn.hubble.flow_writer import FlowWriter
from cairn.hubble.node_status import NodeStatus
from cairn.hubble.observed import Observed
from cairn.hubble.proto import message

Response: Any = message("observer.GetFlowsResponse")
SLICE = 512
"""Flows that are written at once: a few milliseconds."""
LATE_S = 1.0
"""How long after `until` a follower waits for flows of that time."""
RING, QUEUE, OVERTAKEN = 1, 2, 3
"""flow.LostEventSource: between kernel and agent, between agent and relay, in the store."""
LOST_ON_THE_WAY = 255
"""`point` of flows that were gone when the relay asked for them (relay.source)."""


async def get_flows(wanted: Wanted, observed: Observed) -> AsyncIterator[bytes]:
    """Yield responses; raises BadRequest before the first."""
    answer = FlowAnswer(wanted, observed)
    status = NodeStatus(observed)
    for told in status.news():
        yield told
    at = observed.store.next_sequence
    for response in answer.stored():
        yield response
    if not wanted.span.follow:
        return
    while True:
        for response in answer.since(at):
            yield response
        at = answer.next_sequence
        # Nothing waits between looking for news and `more`: nothing is overlooked.
        if news := list(status.news()):
            for told in news:
                yield told
        elif answer.over or not await answer.more(at):
            return


class FlowAnswer:
    """The flows of one answer."""

    def __init__(self, wanted: Wanted, observed: Observed) -> None:
        self._span = wanted.span
        self._observed = observed
        self._store = observed.store
        self._select = compiled(wanted, observed)
        self._writer = FlowWriter(observed.store.dictionaries, wanted.mask)
        self.next_sequence = 0
        """Where `since` has come to."""
        self.over = False
        """Whether flows have come that are later than `until`."""

    def stored(self) -> Iterator[bytes]:
        """Yield what the store holds of what is wanted."""
        span = self._span
        if span.only_new:
            return
        most = min(span.number, self._store.capacity)
        found = self._store.search(
            self._select,
            first=most if span.first else 0,
            last=0 if span.first else most,
            since_ns=span.since_ns or 0,
            until_ns=span.until_ns,
        )
        for at in range(0, len(found), SLICE):
            taken = self._store.take(found[at : at + SLICE])
            yield from self._write(taken.records, taken.missed)

    def since(self, sequence: int) -> Iterator[bytes]:
        """Yield what came from `sequence` on."""
        store, span = self._store, self._span
        while sequence < store.next_sequence:
            missed = max(0, store.first_sequence - sequence)
            sequence += missed
            end = min(store.next_sequence, sequence + SLICE)
            records: Records = np.concatenate(store.slices(sequence, end))
            times = records["time_ns"]
            keep = self._select(records)
            keep &= (times >= (span.since_ns or 0)) & (times <= span.until_ns)
            self.over = self.over or bool((times > span.until_ns).any())
            yield from self._write(records[keep], missed)
            sequence = end
        self.next_sequence = sequence

    async def more(self, sequence: int) -> bool:
        """Wait for what comes after; return False if it will not be of the time asked for."""
        changed = self._observed.changed
        if self._store.next_sequence != sequence:
            return True
        changed.clear()
        if self._span.until_ns == EVER:
            await changed.wait()
            return True
        left_s = (self._span.until_ns - self._observed.now_ns()) / NANOSECONDS + LATE_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                await changed.wait()
            return True
        return False

    def _write(self, records: Records, missed: int) -> Iterator[bytes]:
        if missed:
            yield lost_response(missed, OVERTAKEN, self._observed.name, self._observed.now_ns())
        lost = np.flatnonzero(records["kind"] == FlowKind.LOST).tolist()
        begin = 0
        for at in (*lost, len(records)):
            if at > begin:
                yield from self._writer.responses(records[begin:at])
            if at < len(records):
                yield self._lost(records[at])
            begin = at + 1

    def _lost(self, record: Any) -> bytes:
        source = QUEUE if record["point"] == LOST_ON_THE_WAY else RING
        node = self._store.dictionaries.nodes.get(int(record["node"]), "")
        return lost_response(int(record["packets"]), source, node, int(record["time_ns"]))


def compiled(wanted: Wanted, observed: Observed) -> Mask:
    """Return the mask of what is wanted; raises BadRequest."""
    try:
        return compile_filters(wanted.allow, wanted.deny, observed.store.dictionaries, CLUSTER)
    except BadFilter as error:
        raise BadRequest(str(error)) from None


def lost_response(count: int, source: int, node: str, time_ns: int) -> bytes:
    """Return the response that says how many were lost."""
    response = Response(node_name=node)
    response.lost_events.source = source
    response.lost_events.num_events_lost = count
    response.time.FromNanoseconds(time_ns)
    octets: bytes = response.SerializeToString()
    return octets
