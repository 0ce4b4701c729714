"""The agent's metrics, for Prometheus to fetch.

    maps, pins, the agent's figures  ->  GET /metrics in Prometheus' text format

Invariants  A port that is taken costs a line in the log, never the agent; it is tried again.
            Backends that never did anything have no series, and at most MOST_BACKENDS have:
            `cairn_backends_untold` counts the others.
Cost        nothing between fetches; a fetch reads two maps whole and asks for every link
Standards   Prometheus text format 0.0.4, OpenMetrics 1.0
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from cairn import __version__
from cairn.abi.records import BACKEND_COUNTERS, METRIC
from cairn.abi.structs import POINTS, VERDICT_SPACE, Point
from cairn.abi.verdicts import Verdict
from cairn.agent.upkeep import Upkeep
from cairn.apiserver.http import Head
from cairn.apply.program_state import program_states
from cairn.drive.http_page import Page, serve_pages
from cairn.libbpf import BpfError, Map
from cairn.net import Address
from cairn.observe.expiry import Phase
from cairn.observe.lb_view import BackendName

PORT = 9962
RETRY_S = 30.0
MOST_BACKENDS = 500

log = logging.getLogger(__name__)

Family = CounterMetricFamily | GaugeMetricFamily


NameBackends = Callable[[Collection[int]], Mapping[int, BackendName]]


class NodeMetrics(Collector):
    """What one node's data plane did."""

    def __init__(
        self, maps: Mapping[str, Map], pins: Path, upkeep: Upkeep, name: NameBackends
    ) -> None:
        self._maps_by_name = maps
        self._pins = pins
        self._upkeep = upkeep
        self._name = name

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        labels = ("component", "version")
        build = GaugeMetricFamily("cairn_build_info", "Version that runs", labels=labels)
        build.add_metric(("agent", __version__), 1)
        yield build
        try:
            yield from self._packets()
            yield from self._maps()
            yield from self._connections()
            yield from self._backends()
            yield from self._programs()
        except BpfError as error:
            log.error("metrics are not whole: %s", error)

    def _packets(self) -> Iterator[Family]:
        labels = ("point", "verdict")
        packets = CounterMetricFamily(
            "cairn_packets", "Packets by what became of them", labels=labels
        )
        octets = CounterMetricFamily("cairn_octets", "Their octets", labels=labels)
        lost = CounterMetricFamily("cairn_events_lost", "Drops that found the event ring full")
        table = self._maps_by_name["metrics"]
        rows = b"".join(values for _, values, _ in table.batches())
        counts = np.frombuffer(rows, METRIC).reshape(POINTS * VERDICT_SPACE, -1)
        seen, size = counts["packets"].sum(axis=1), counts["octets"].sum(axis=1)
        for index in np.flatnonzero(seen):
            point, verdict = divmod(int(index), VERDICT_SPACE)
            if verdict == Verdict.EVENT_LOST:
                continue
            names = (_point(point), _verdict(verdict))
            packets.add_metric(names, int(seen[index]))
            octets.add_metric(names, int(size[index]))
        lost.add_metric((), int(seen[Verdict.EVENT_LOST :: VERDICT_SPACE].sum()))
        yield from (packets, octets, lost)

    def _maps(self) -> Iterator[Family]:
        used = GaugeMetricFamily("cairn_map_entries", "Entries that a map holds", labels=("map",))
        labels = ("map", "full")
        most = GaugeMetricFamily("cairn_map_max_entries", "Entries that fit", labels=labels)
        for fill in self._upkeep.fills:
            used.add_metric((fill.name,), fill.entries)
            most.add_metric((fill.name, "evicts" if fill.evicts else "refuses"), fill.capacity)
        yield from (used, most)

    def _connections(self) -> Iterator[Family]:
        sweeps = self._upkeep.sweeps
        if sweeps is None:
            return
        held = GaugeMetricFamily("cairn_connections", "Connections known", labels=("phase",))
        for phase in Phase:
            held.add_metric((phase.name.lower(),), sweeps.last.connections.get(phase, 0))
        yield held
        removed = CounterMetricFamily(
            "cairn_connections_swept", "Entries that ended or fell silent"
        )
        removed.add_metric((), sweeps.removed)
        yield removed
        yield GaugeMetricFamily("cairn_sweep_seconds", "The last sweep took", value=sweeps.took_s)

    def _backends(self) -> Iterator[Family]:
        numbers, counts = self._counters()
        touched = np.flatnonzero(counts["opened"] | counts["refused"])
        chosen = touched[np.argsort(counts["opened"][touched])[::-1][:MOST_BACKENDS]]
        texts = {
            "opened": "Connections that this node opened to it",
            "answered": "Of these: answered",
            "refused": "Of these: refused by a reset",
            "reset": "Of these: reset by it later",
        }
        labels = ("backend", "service")
        families = {
            field: CounterMetricFamily(f"cairn_backend_{field}", text, labels=labels)
            for field, text in texts.items()
        }
        names = self._name([int(numbers[index]) for index in chosen])
        for index in chosen:
            name = names.get(int(numbers[index]))
            if name is None:
                continue
            for field, family in families.items():
                family.add_metric((name.address, name.service), int(counts[field][index]))
        yield from families.values()
        yield GaugeMetricFamily(
            "cairn_backends_untold", "Backends without series", value=len(numbers) - len(chosen)
        )

    def _counters(self) -> "tuple[np.ndarray, np.ndarray]":
        keys, values = [], []
        for some_keys, some_values, _ in self._maps_by_name["backend_counters"].batches():
            keys.append(some_keys)
            values.append(some_values)
        return (
            np.frombuffer(b"".join(keys), "<u4"),
            np.frombuffer(b"".join(values), BACKEND_COUNTERS),
        )

    def _programs(self) -> Iterator[Family]:
        states = program_states(self._pins)
        attached = GaugeMetricFamily(
            "cairn_program_attached", "Whether a program runs at its hook", labels=("program",)
        )
        for state in states:
            if not state.is_pods:
                attached.add_metric((state.name,), state.attached)
        yield attached
        pods = [state for state in states if state.is_pods]
        running = sum(state.attached for state in pods)
        count = GaugeMetricFamily(
            "cairn_pod_programs", "Programs at pods' interfaces, two at each", labels=("attached",)
        )
        count.add_metric(("true",), running)
        count.add_metric(("false",), len(pods) - running)
        yield count


class MetricsServer:
    """Answers GET /metrics at the node's addresses."""

    def __init__(
        self, collectors: Iterable[Collector], addresses: Iterable[Address], port: int
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._addresses = tuple(addresses)
        self._port = port

    async def run(self) -> None:
        """Serve until cancelled; with port 0, not at all."""
        if not self._port:
            return
        async with asyncio.TaskGroup() as tasks:
            for address in self._addresses:
                tasks.create_task(self._listen(address))

    async def _listen(self, address: Address) -> None:
        said = False
        while True:
            try:
                server = await serve_pages(_listener(address, self._port), self._answer)
            except OSError as error:
                if not said:
                    why = os.strerror(error.errno) if error.errno else str(error)
                    log.error(
                        "metrics at %s port %d: %s; trying again (or pass another --metrics PORT)",
                        address,
                        self._port,
                        why,
                    )
                said = True
                await asyncio.sleep(RETRY_S)
            else:
                async with server:
                    await server.serve_forever()

    def _answer(self, head: Head) -> Page:
        if head.target.partition("?")[0] != "/metrics":
            text = b"the metrics are at /metrics\n"
            return Page(404, text, (("Content-Type", "text/plain"),))
        encode, kind = choose_encoder(head.headers.get("accept", ""))
        return Page(200, encode(self._registry), (("Content-Type", kind),))


def _listener(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return socket.create_server((str(address), port), family=family, backlog=128)


def _point(number: int) -> str:
    return Point(number).name.lower()


def _verdict(number: int) -> str:
    return Verdict(number).name if number in tuple(Verdict) else str(number)
