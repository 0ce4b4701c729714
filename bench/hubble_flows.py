"""What GetFlows costs: a filter over a full ring, and a stream without one.

    python bench/hubble_flows.py [--flows N] [--stream N] [--rounds N]

The server is a process of its own, asked over a unix socket by a client that reads all. A
stream is told beside one of as many responses of the same size that cost nothing to make.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from statistics import median
from typing import Any

import grpc
import numpy as np

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

    def peers(self) -> Sequence[PeerView]:
        return ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--stream", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    words = parser.parse_args()
    alone(words.stream)
    with tempfile.TemporaryDirectory() as folder:
        target = f"unix:{folder}/hubble.sock"
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        server = context.Process(target=serve, args=(target, words.flows, ready), daemon=True)
        server.start()
        ready.wait()
        try:
            over_channel(target, words.flows, words.stream, words.rounds)
        finally:
            server.terminate()
            server.join()


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


def alone(count: int) -> None:
    """Say what writing flows costs without a channel."""
    store = filled(count)
    none = FieldMask(message("google.protobuf.FieldMask")())
    few = FieldMask(message("google.protobuf.FieldMask")(paths=["verdict", "source.pod_name"]))
    for name, mask in (("whole", none), ("of two fields", few)):
        writer = FlowWriter(store.dictionaries, mask)
        began = time.process_time()
        octets = sum(
            len(response)
            for at in range(0, count, SLICE)
            for array in store.slices(at, at + SLICE)
            for response in writer.responses(array)
        )
        each_us = (time.process_time() - began) / count * 1e6
        print(f"a flow, {name}: {each_us:.1f} us to write, {octets // count} octets")


def over_channel(target: str, flows: int, stream: int, rounds: int) -> None:
    filtered = Request(whitelist=[{"source_pod": [f"/pod-{PODS}"]}])
    plain = Request(number=WANTED)
    with grpc.insecure_channel(target) as channel:
        ask = channel.unary_stream("/observer.Observer/GetFlows")

        def taken(request: Any) -> tuple[float, int]:
            began = time.perf_counter()
            count = sum(1 for _ in ask(request.SerializeToString()))
            return (time.perf_counter() - began) * 1e3, count

        taken(plain)
        pairs = [(taken(filtered), taken(plain)) for _ in range(rounds)]
        for name, at in ((f"a filter that matches {WANTED}", 0), (f"the last {WANTED}", 1)):
            found = sorted(pair[at][0] for pair in pairs)
            print(
                f"{name} of {flows:,}: {pairs[0][at][1]} flows in {median(found):.1f} ms, "
                f"at worst {found[-1]:.1f} ms of {rounds}"
            )
        ratio = median(one[0] / other[0] for one, other in pairs)
        print(f"with the filter {ratio:.1f} times as long")
        rates, bares = [], []
        for _ in range(3):
            took_ms, count = taken(Request(number=stream))
            rates.append(count / took_ms * 1e3)
            began = time.perf_counter()
            count = sum(1 for _ in channel.unary_stream("/bench.Bare/Stream")(b"%d" % stream))
            bares.append(count / (time.perf_counter() - began))
        print(
            f"a stream of {stream:,} flows: {median(rates):,.0f} a second; "
            f"of nothing but octets: {median(bares):,.0f}"
        )


if __name__ == "__main__":
    main()
