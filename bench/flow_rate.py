"""What the agent makes of 100,000 events a second: what each costs, what is lost, what it holds.

    .cache/bpf/bench_events.o  ->  ring  ->  agent.flows.Flows, gRPC, relay.source  ->  rows

    python bench/flow_rate.py [--seconds N]     (or $CAIRN_BENCH_SECONDS; 60)

A program writes the data plane's own events into the data plane's own ring, by BPF_PROG_TEST_RUN.
The agent's real parts read it in a process of their own: named by a policy engine that knows every
pod, kept, counted, logged, and served to a relay's real source, which is a third process. Every
event must have arrived at the relay, or stand in a count of losses: a figure that does not come out
exactly fails the benchmark. The baseline is a process that empties the ring as often, and no more.

Units       us of processor time per event, of all the agent's threads
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from row import Aim, Row, at_most

from cairn.abi.records import EVENT
from cairn.abi.structs import Config, ConfigFlag
from cairn.agent.drop_log import DropLog
from cairn.agent.flow_ends import FlowEnds, Sources
from cairn.agent.flow_names import LearntNames
from cairn.agent.flow_server import serve_flows
from cairn.agent.flows import PAUSE_S, Flows, lost_events
from cairn.agent.observed_node import ObservedNode
from cairn.apply.data_plane import DataPlane
from cairn.apply.kernel_watch import KernelWatch
from cairn.compile.policy import Engine
from cairn.flow.columns import FlowKind
from cairn.hubble.agent_event import AgentEvents
from cairn.kube.policy.workload import Workload
from cairn.libbpf import Map, load_object
from cairn.libbpf.ring import Ring
from cairn.observe.drops import NO_NAMES
from cairn.observe.flow_records import FlowRecords
from cairn.relay.source import Source

OBJECT = Path(__file__).resolve().parents[1] / ".cache" / "bpf" / "bench_events.o"
RATE = 100_000
SECONDS = int(os.environ.get("CAIRN_BENCH_SECONDS", "60"))
BASELINE_S = 5
"""At most so long the baseline runs."""
TICK_S = 0.01
PODS = 512
CAPACITY = 65_536
AIM_US = 10.0
"""A whole core, at RATE."""
FRAME = bytes(64)


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader of the ring came to."""

    events: int
    """Events that it took from the ring."""
    cpu_s: float
    """Processor time while it read."""
    before_bytes: int
    """Memory when it was ready."""
    after_bytes: int
    """Memory at the end."""
    flows: int = 0
    """Flows that it made of them, those of kind LOST too."""
    lost: int = 0
    """Events that it told as lost."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """What came to the relay."""

    flows: int
    """Flows, those of kind LOST too."""
    missed: int
    """Flows that it was told it missed."""


class Feeder:
    """Writes events at a rate."""

    def __init__(self) -> None:
        config = Config(
            ip_address("192.0.2.1"), ip_address("::"), 1, ConfigFlag.EVENTS, 0, bytes(6), 0, 0, 0
        ).write()  # fmt: skip
        sections = {".rodata.config": config, ".rodata.bench": struct.pack("<I", PODS - 1)}
        self._object = load_object(OBJECT, sizes={}, config=sections)
        self.maps: dict[str, Map] = self._object.maps
        self.told = 0
        """Events that were written, or counted as lost."""

    def feed(self, seconds: float) -> float:
        """Write RATE events a second for so long; return how many a second it came to."""
        program = self._object.programs["tell"]
        began, fed = time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(RATE * elapsed) - fed
            if due:
                program.run_frame(FRAME, repeat=due)
                fed += due
            time.sleep(TICK_S)
        self.told += fed
        return fed / (time.monotonic() - began)

    @property
    def lost(self) -> int:
        """Events that found the ring full."""
        return sum(lost_events(self.maps["metrics"]).values())

    def close(self) -> None:
        """Give back what the kernel holds."""
        self._object.close()


class Child:
    """A process that says when it is ready, and what it came to when it is asked to end."""

    def __init__(self, main: Callable[..., None], *args: Any) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=main, args=(theirs, *args), daemon=True)
        self._process.start()
        theirs.close()

    def wait(self) -> Any:
        """Return the next thing that it says."""
        if not self._pipe.poll(60):
            raise RuntimeError("a reader says nothing")
        return self._pipe.recv()

    def ask(self, what: object) -> Any:
        """Send it something and return what it says."""
        self._pipe.send(what)
        return self.wait()

    def end(self) -> None:
        """Have it end."""
        self._process.terminate()
        self._process.join(10)


def drain_only(pipe: Connection, maps: dict[str, Map]) -> None:
    """Be the baseline: empty the ring and count."""
    ring, events, ending = Ring(maps["events"], EVENT), 0, False
    pipe.send("ready")
    before, began = resident(), time.process_time()
    while not ending:
        ending = pipe.poll(PAUSE_S)
        events += len(ring.drain())
    pipe.send(Read(events, time.process_time() - began, before, resident()))


def be_agent(pipe: Connection, maps: dict[str, Map], folder: Path, port: int) -> None:
    """Be the agent's part that flows go through."""
    logging.basicConfig(filename=folder / "agent.log")
    asyncio.run(_be_agent(pipe, maps, folder, port))


async def _be_agent(pipe: Connection, maps: dict[str, Map], folder: Path, port: int) -> None:
    names = LearntNames()
    ends = FlowEnds(Sources(engine(), {}, {}, names.of))
    flows = Flows(
        maps,
        FlowRecords("node-1", ends.known, lambda _: None, lambda *_: None),
        ends,
        names,
        drops=DropLog(NO_NAMES),
        capacity=CAPACITY,
        # It is not started: what the kernel drops is not asked for here.
        kernel=KernelWatch(cast(DataPlane, None)),
    )
    node = ObservedNode("node-1", flows.feed, AgentEvents(time.time_ns), {})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(flows.run(folder / "no-dns.sock"))
        tasks.create_task(serve_flows(node, folder, port=port))
        await asyncio.to_thread(pipe.poll, None)  # the relay has come
        pipe.recv()
        pipe.send("ready")
        before, began = resident(), time.process_time()
        await asyncio.to_thread(pipe.poll, None)
        cpu_s = time.process_time() - began
        flows.drain()
        flows.look()
        made, counts = flows.feed.store.next_sequence, flows.counts
        told = sum(n for (kind, _), n in counts.flows.items() if kind == FlowKind.LOST)
        lost = sum(counts.lost.values())
        pipe.send(Read(made - told, cpu_s, before, resident(), made, lost))


def be_relay(pipe: Connection, folder: Path, port: int) -> None:
    """Be the relay's part that flows come to."""
    logging.basicConfig(filename=folder / "relay.log")
    asyncio.run(_be_relay(pipe, port))


async def _be_relay(pipe: Connection, port: int) -> None:
    def ignore(*_: object) -> None:
        pass

    source = Source(
        "node-1", f"ipv4:127.0.0.1:{port}", on_batch=ignore, on_missed=ignore, on_state=ignore
    )
    state = source.state
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(source.run())
        while not state.connected:
            await asyncio.sleep(PAUSE_S)
        pipe.send("ready")
        await asyncio.to_thread(pipe.poll, None)
        wanted, end = pipe.recv(), time.monotonic() + 20
        while state.flows + state.missed < wanted and time.monotonic() < end:
            await asyncio.sleep(PAUSE_S)
        pipe.send(Relayed(state.flows, state.missed))


def engine() -> Engine:
    """Return an engine that knows every pod."""
    made = Engine("node-1")
    made.put_namespace("shop", {"kubernetes.io/metadata.name": "shop"})
    for number in range(PODS):
        labels = {"app": f"app-{number % 17}"}
        made.put_pod(
            Workload.from_object(
                {
                    "kind": "Pod",
                    "metadata": {"namespace": "shop", "name": f"pod-{number}", "labels": labels},
                    "spec": {"nodeName": f"node-{number % 3}"},
                    "status": {
                        "podIPs": [{"ip": f"10.244.{number >> 8}.{number & 255}"}],
                        "phase": "Running",
                    },
                }
            )
        )
    return made


def resident() -> int:
    """Return how much memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def baseline(seconds: float) -> float:
    """Return the processor time of an event that is read and forgotten, in us."""
    feeder = Feeder()
    reader = Child(drain_only, feeder.maps)
    try:
        reader.wait()
        feeder.feed(seconds)
        read: Read = reader.ask("end")
        check("read and lost", read.events + feeder.lost, feeder.told)
        return read.cpu_s / read.events * 1e6
    finally:
        reader.end()
        feeder.close()


def measure(seconds: float) -> list[Row]:
    """Return the rows."""
    base_us = baseline(min(seconds, BASELINE_S))
    feeder = Feeder()
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder:
        port = free_port()
        agent = Child(be_agent, feeder.maps, Path(folder), port)
        relay = Child(be_relay, Path(folder), port)
        try:
            relay.wait()
            agent.ask("go")
            rate = feeder.feed(seconds)
            read: Read = agent.ask("end")
            relayed: Relayed = relay.ask(read.flows)
        finally:
            agent.end()
            relay.end()
            lost = feeder.lost
            feeder.close()
    check("events that the agent took, and told as lost", read.events + read.lost, feeder.told)
    check("events that the kernel counts as lost, and the agent", read.lost, lost)
    check("flows that came to the relay, and that it was told it missed",
          relayed.flows + relayed.missed, read.flows)  # fmt: skip
    return rows(seconds, base_us, rate, feeder.told, read, relayed)


def rows(
    seconds: float, base_us: float, rate: float, told: int, read: Read, relayed: Relayed
) -> list[Row]:
    """Return what was measured."""
    each_us = read.cpu_s / read.events * 1e6
    aim = Aim(AIM_US / base_us)
    mib = 1 << 20
    return [
        Row(
            "flow events to the agent", rate, "events/s",
            f"{seconds:.0f} s: {told:,} events, {read.events:,} came, {read.lost:,} are counted "
            "as lost, none is unaccounted for",
        ),
        Row(
            "an event, from the ring to the relay", each_us, "us",
            f"the agent's processor time; baseline: to empty the ring; of a core: "
            f"{read.cpu_s / seconds:.0%}",
            baseline=base_us, ratio=each_us / base_us, aim=f"< {AIM_US:g} us",
            met=aim.met(each_us / base_us),
        ),
        Row(
            "flows at the relay", relayed.flows, "flows",
            f"{relayed.missed:,} were told as missed: the relay was too slow for them",
        ),
        at_most(
            "memory that these events need", (read.after_bytes - read.before_bytes) / mib, "MiB",
            40, f"{CAPACITY:,} flows kept, and what waits for the relay; "
            f"{read.after_bytes / mib:.0f} in all",
        ),
    ]  # fmt: skip


def check(what: str, found: int, wanted: int) -> None:
    """Raise RuntimeError unless a sum comes out."""
    if found != wanted:
        raise RuntimeError(f"{what}: {found:,}, of {wanted:,}")


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run() -> list[Row]:
    """Measure all."""
    return measure(SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    json.dump([asdict(row) for row in measure(options.seconds)], sys.stdout, indent=1)
