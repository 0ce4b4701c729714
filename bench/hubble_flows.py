"""What GetFlows costs: a filter over a full ring, and a stream without one.

    python bench/hubble_flows.py [--flows N] [--stream N] [--rounds N]

The server is a process of its own, asked over a unix socket by a client that reads all. A
stream is told beside one of as many responses of the same size that cost nothing to make.
"""

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
from row import Row, compare, number, take_turns

from cairn.flow.columns import FLOW, Batch, Dictionaries, End
from cairn.flow.store import FlowStore
from cairn.hubble.field_mask import FieldMask
from cairn.hubble.flow_writer import FlowWriter
from cairn.hubble.observed import NodeView, PeerView
from cairn.hubble.proto import message
from cairn.hubble.server import hubble_handlers

PODS = 500
WANTED = 100
SLICE = 512
OCTETS = 525
AIM_MS = 50
Request: Any = message("observer.GetFlowsRequest")


@dataclass
class Full:
    """A node whose ring is full."""

    store: FlowStore
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    name = "node-1"
    is_relay = False
    ready = True
    events = None
    uptime_ns = 1

    def now_ns(self) -> int:
        return time.time_ns()

    def nodes(self) -> Sequence[NodeView]:
        return ()

    async def asked_nodes(self) -> Sequence[NodeView]:
        return ()

    def peers(self) -> Sequence[PeerView]:
        return ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--stream", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    words = parser.parse_args()
    for row in measure(words.flows, words.stream, words.rounds):
        base = "" if row.baseline is None else f", {number(row.baseline)} without; {row.ratio:.3g}"
        print(f"{row.figure}: {number(row.value)} {row.unit}{base}")


def run() -> list[Row]:
    """Measure; return the rows."""
    return measure(flows=1_000_000, stream=100_000, rounds=20)


def measure(flows: int, stream: int, rounds: int) -> list[Row]:
    rows = [*alone(stream)]
    with tempfile.TemporaryDirectory() as folder:
        target = f"unix:{folder}/hubble.sock"
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        server = context.Process(target=serve, args=(target, flows, ready), daemon=True)
        server.start()
        ready.wait()
        try:
            asked = Asked(target, server.pid or 0)
            rows += [*asked.filtered(flows, rounds), asked.streamed(stream)]
        finally:
            server.terminate()
            server.join()
    return rows


def filled(count: int) -> FlowStore:
    rng = np.random.default_rng(1)
    records = np.zeros(count, FLOW)
    records["time_ns"] = time.time_ns() - (count - np.arange(count)) * 1000
    hosts = np.frombuffer(
        b"".join(b"\0" * 10 + b"\xff\xff\x0a\0" + n.to_bytes(2, "big") for n in range(PODS)), "V16"
    )
    for side in ("source", "destination"):
        chosen = rng.integers(0, PODS - 1, count)
        records[side], records[f"{side}_end"] = hosts[chosen], chosen + 1
        records[f"{side}_identity"] = 1000 + chosen
    records["source_port"] = rng.integers(32768, 60999, count)
    records["destination_port"], records["protocol"] = 8080, 6
    records["kind"] = rng.choice([1, 2], count)
    records["verdict"], records["flags"], records["node"] = 1, 2, 1
    rare = rng.choice(count, WANTED, replace=False)
    records["source_end"][rare] = PODS
    labels = tuple(f"k8s:label-{n}=value" for n in range(6))
    ends = {
        k: End(f"ns-{k % 50}", f"pod-{k}", labels, "Deployment", f"app-{k}")
        for k in range(1, PODS + 1)
    }
    store = FlowStore(count)
    for at in range(0, count, 1000):
        added = Dictionaries(ends=ends, nodes={1: "node-1"}) if not at else Dictionaries()
        store.append(Batch(records[at : at + 1000], added))
    return store


def serve(target: str, count: int, ready: Event) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        bare_stream = {"Stream": grpc.unary_stream_rpc_method_handler(bare)}
        handler = grpc.method_handlers_generic_handler("bench.Bare", bare_stream)
        server.add_generic_rpc_handlers((handler, *hubble_handlers(Full(filled(count)))))
        server.add_insecure_port(target)
        await server.start()
        ready.set()
        await server.wait_for_termination()

    asyncio.run(run())


async def bare(request: bytes, _context: Any) -> AsyncIterator[bytes]:
    octets = b"x" * OCTETS
    for _ in range(int(request)):
        yield octets


def alone(count: int) -> Iterator[Row]:
    """Yield what writing flows costs without a channel."""
    store = filled(count)
    none = FieldMask(message("google.protobuf.FieldMask")())
    few = FieldMask(message("google.protobuf.FieldMask")(paths=["verdict", "source.pod_name"]))
    for name, mask in (("whole", none), ("of two fields", few)):
        writer = FlowWriter(store.dictionaries, mask)
        began = time.process_time()
        for at in range(0, count, SLICE):
            for array in store.slices(at, at + SLICE):
                for _ in writer.responses(array):
                    pass
        each_us = (time.process_time() - began) / count * 1e6
        yield Row(f"flow as Hubble's message, {name}", each_us, "us", "CPU that one flow costs")


@dataclass
class Asked:
    """A server in a process of its own."""

    target: str
    process: int

    def filtered(self, flows: int, rounds: int) -> Iterator[Row]:
        """Yield how long a filter over the whole ring takes, beside one that stops at once."""
        filtered = Request(whitelist=[{"source_pod": [f"/pod-{PODS}"]}]).SerializeToString()
        plain = Request(number=WANTED).SerializeToString()
        with grpc.insecure_channel(self.target) as channel:
            ask = channel.unary_stream("/observer.Observer/GetFlows")
            self._taken(ask, plain)
            pairs = [(self._taken(ask, filtered), self._taken(ask, plain)) for _ in range(rounds)]
        if {one.flows for pair in pairs for one in pair} != {WANTED}:
            raise RuntimeError(f"an answer did not have {WANTED} flows")
        what = f"GetFlows, {WANTED} of {flows:,} by a filter"
        took = [(one.took_s * 1e3, other.took_s * 1e3) for one, other in pairs]
        told = compare(what, "ms", took, f"against the last {WANTED} without one")
        yield replace(told, aim=f"< {AIM_MS} ms", met=told.value < AIM_MS)
        cpu_ms = sum(one.cpu_s for one, _ in pairs) / rounds * 1e3
        yield Row(f"{what}: the server's CPU", cpu_ms, "ms", "what asking costs a node")

    def streamed(self, count: int) -> Row:
        """Return how fast flows come, beside octets that cost nothing to make."""
        request = Request(number=count).SerializeToString()
        with grpc.insecure_channel(self.target) as channel:
            flows = channel.unary_stream("/observer.Observer/GetFlows")
            octets = channel.unary_stream("/bench.Bare/Stream")
            pairs = take_turns(
                lambda: count / self._taken(flows, request).took_s,
                lambda: count / self._taken(octets, b"%d" % count).took_s,
                rounds=3,
            )
        return compare("GetFlows, a stream", "/s", pairs, "against a stream of bare octets")

    def _taken(self, ask: Any, request: bytes) -> "Taken":
        before, began = self._cpu_s(), time.perf_counter()
        count = sum(1 for _ in ask(request))
        return Taken(count, time.perf_counter() - began, self._cpu_s() - before)

    def _cpu_s(self) -> float:
        words = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Taken(NamedTuple):
    """What one answer cost."""

    flows: int
    took_s: float
    cpu_s: float
    """The server's."""


if __name__ == "__main__":
    main()
