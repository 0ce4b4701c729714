"""Traces of this node: filters in the data plane for a while, and packets to whoever asked.

    {"command": "TRACE", rows, for_s} on the agent's socket  ->  lines of traced_packet.TraceLine

The programs that look at filters are put at their hooks for the first trace, and taken away after
the last.

Invariants  A trace ends with its time, or when its caller goes; then its rows are empty. Should the
            agent die, rows end by themselves, and the next agent's programs do not look at them.
            MOST_TRACES at once; one more is told so.
            What a slow reader does not take, and what the data plane's budget forbade, is counted
            and told last.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from cairn.abi.event import VERDICT_SPACE, EventKind
from cairn.flow.address import Records
from cairn.flow.columns import Dictionaries, FlowKind
from cairn.libbpf import BpfError, Map, possible_cpus
from cairn.observe.trace_filter import (
    MOST_TRACES,
    ROWS,
    BadTrace,
    TraceQuestion,
    TraceRow,
    check,
    compile_rows,
    empty_row,
    fits,
)
from cairn.observe.traced_packet import (
    TracedPacket,
    TraceEnd,
    TraceLine,
    is_packet,
    traced_packets,
)

MOST_WAITING = 5_000
"""Packets that may wait for a reader."""
SLACK_S = 30.0
"""By which rows outlive a trace if nobody empties them: programs take a while to be put in place,
which is not the trace's time."""
BEAT_S = 1.0
"""Between signs of life, by which the other side finds out that nobody listens any more."""
MOST_WRITTEN = 200
"""Lines between looks at whether the reader keeps up."""
_GATE = (VERDICT_SPACE + EventKind.PACKET).to_bytes(4, "little")
_GATE_VALUE = np.dtype([("since_ns", "<u8"), ("count", "<u4"), ("suppressed", "<u4")])
_ENCODER = msgspec.json.Encoder()

log = logging.getLogger("trace")


class _Trace:
    """One that runs."""

    def __init__(self, slot: int, rows: tuple[TraceRow, ...]) -> None:
        self.slot = slot
        self.rows = rows
        self.waiting: deque[TracedPacket] = deque()
        self.not_told = 0
        self.told = 0
        self.arrived = asyncio.Event()

    def put(self, records: Records, dictionaries: Dictionaries) -> None:
        """Take the packets that fit."""
        mine = records[fits(self.rows, records)]
        self.not_told += int(mine["suppressed"][mine["kind"] == FlowKind.PACKET].sum())
        room = MOST_WAITING - len(self.waiting)
        self.not_told += max(0, len(mine) - room)
        self.waiting.extend(traced_packets(mine[:room], dictionaries))
        self.arrived.set()


class Tracer:
    """The traces of one node."""

    def __init__(self, maps: Mapping[str, Map], lost: Callable[[], int]) -> None:
        self.switch: Callable[[bool], None] = lambda _: None
        """Puts programs that look at filters at all hooks, or others; in a thread."""
        self._filters = maps["trace_filters"]
        self._gates = maps["event_gates"]
        self._lost = lost
        self._running: dict[int, _Trace] = {}
        self._turn = asyncio.Lock()
        self._on = False

    def forget(self) -> None:
        """Empty all rows: those of an agent that died."""
        for slot in range(MOST_TRACES):
            self._write(slot, [])

    def put(self, records: Records, dictionaries: Dictionaries) -> None:
        """Take flows of any kind, packets among them."""
        if not self._running:
            return
        packets = records[is_packet(records)]
        for trace in self._running.values() if len(packets) else ():
            trace.put(packets, dictionaries)

    async def serve(self, call: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        """Answer one trace until its time is over, or this is cancelled."""
        try:
            question = msgspec.convert(dict(call), TraceQuestion)
            check(question)
            trace = self._begin(question)
        except (msgspec.ValidationError, BadTrace, BpfError) as error:
            await _say(writer, TraceLine(error=str(error)))
            return
        lost = self._lost()
        try:
            await self._settle()
            await _say(writer, TraceLine(started=True))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(question.for_s):
                    await _tell(trace, writer)
            self._end(trace)
            not_told = trace.not_told + self._suppressed()
            end = TraceEnd(trace.told, not_told, self._lost() - lost)
            await _say(writer, TraceLine(end=end))
        except (BpfError, OSError) as error:
            log.warning("a trace ended: %s", error)
            with contextlib.suppress(OSError):
                await _say(writer, TraceLine(error=str(error)))
        finally:
            self._end(trace)
            await asyncio.shield(self._settle())

    def _begin(self, question: TraceQuestion) -> _Trace:
        free = next((s for s in range(MOST_TRACES) if s not in self._running), None)
        if free is None:
            raise BadTrace(f"{MOST_TRACES} traces run here already: wait until one has ended")
        trace = _Trace(free, question.rows)
        until_ns = time.monotonic_ns() + int((question.for_s + SLACK_S) * 1e9)
        self._write(free, compile_rows(question.rows, until_ns))
        if not self._running:
            self._gates.update(_GATE, bytes(_GATE_VALUE.itemsize * possible_cpus()))
        self._running[free] = trace
        log.info("tracing %d kinds of packet for %g s", len(question.rows), question.for_s)
        return trace

    def _end(self, trace: _Trace) -> None:
        if self._running.get(trace.slot) is trace:
            del self._running[trace.slot]
            self._write(trace.slot, [])

    async def _settle(self) -> None:
        """Have the programs that the running traces need."""
        async with self._turn:
            wanted = bool(self._running)
            if wanted != self._on:
                await asyncio.to_thread(self.switch, wanted)
                self._on = wanted

    def _write(self, slot: int, entries: list[bytes]) -> None:
        for index, entry in enumerate([*entries, *[empty_row()] * (ROWS - len(entries))]):
            self._filters.update((slot * ROWS + index).to_bytes(4, "little"), entry)

    def _suppressed(self) -> int:
        """Return how many packets no event has told of yet."""
        held = self._gates.lookup(_GATE)
        return int(np.frombuffer(held or b"", _GATE_VALUE)["suppressed"].sum())


async def _tell(trace: _Trace, writer: asyncio.StreamWriter) -> None:
    """Write what comes until cancelled, or until the reader has gone (OSError)."""
    while True:
        try:
            async with asyncio.timeout(BEAT_S):
                await trace.arrived.wait()
        except TimeoutError:
            await _say(writer, TraceLine())
        trace.arrived.clear()
        while trace.waiting:
            for _ in range(min(MOST_WRITTEN, len(trace.waiting))):
                writer.write(_line(TraceLine(packet=trace.waiting.popleft())))
                trace.told += 1
            await writer.drain()


async def _say(writer: asyncio.StreamWriter, line: TraceLine) -> None:
    writer.write(_line(line))
    await writer.drain()


def _line(line: TraceLine) -> bytes:
    return _ENCODER.encode(line) + b"\n"
