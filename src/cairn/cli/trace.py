"""`cairn trace`: packets as they pass the nodes, each at each place where it is judged.

    arguments  ->  TraceQuestion  ->  the nodes' agents  ->  a line for each packet at each place

Invariants  Filters go with the command: by its end, when it is killed, with its time at the latest.
            Lines stand in the order of the nodes' clocks, as far as they came within HOLD_S.
            Exit status 0: packets were seen; 1: none, or no node could be asked; 2: wrong usage.
"""

import argparse
import asyncio
import heapq
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta

import msgspec

from cairn.cli.agents import CONTAINER, Agent, NoAgent, agents_of
from cairn.cli.cluster_objects import connect, fetch
from cairn.cli.durations import duration
from cairn.cli.trace_names import Asked, trace_rows
from cairn.cli.trace_show import compact
from cairn.cli.why_lab import lab_hosts, lab_of
from cairn.diagnose.policy.world import World
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import NoAccess
from cairn.drive.pod_exec import stream_from_pod
from cairn.kube.resource import ENDPOINT_SLICES, NODES, PODS, SERVICES
from cairn.net import Protocol
from cairn.observe.trace_filter import LONGEST_S, BadTrace, TraceQuestion, check
from cairn.observe.traced_packet import TracedPacket, TraceEnd, TraceLine

OK, FAILED = 0, 1
HOLD_S = 0.5
"""How long a packet waits for earlier ones of other nodes."""
STEP_S = 0.05
OPENERS = (NODES, PODS, SERVICES, ENDPOINT_SLICES)
PROTOCOLS = {p.name.lower(): int(p) for p in Protocol} | {"icmp": 1, "icmpv4": 1, "icmpv6": 58}
FORMS = ("compact", "json")
END = "address, network, NAMESPACE/NAME of a pod or Service, node, or host of the lab"


def main(argv: list[str]) -> int:
    """Trace until it is enough; return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    asked = Asked(options.source, options.destination, options.port, options.protocol)
    if not any(asked):
        parser.error("which packets? say --from, --to, --port or --protocol")
    try:
        return asyncio.run(_trace(options, asked))
    except (BadTrace, NoAgent, ApiError, NoAccess) as error:
        print(f"cairn trace: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cairn trace",
        description="Show packets as they pass the nodes, each at each place where it is judged: "
        "those from one end to the other, and their answers.",
    )
    add = parser.add_argument
    add("--from", dest="source", default="", metavar="X", help=END)
    add("--to", dest="destination", default="", metavar="Y", help="likewise")
    add("--port", type=_port, default=0, metavar="N", help="of the destination")
    add("--protocol", type=_protocol, default=0, metavar="P", help="tcp, udp, icmp, … or a number")
    add("--node", metavar="NODE", help="look on this node alone (default: all)")
    add("--for", dest="for_", type=_time, default="30s", metavar="30s", help="end after so long")
    add("--count", type=_count, default=0, metavar="N", help="end after so many lines")
    add("-o", "--output", choices=FORMS, default="compact")
    add("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    return parser


def _number(text: str, least: int, most: int, what: str) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:12]) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}: {least} to {most:,}")
    return int(text)


def _port(text: str) -> int:
    return _number(text, 1, 65535, "port")


def _count(text: str) -> int:
    return _number(text, 1, 1_000_000, "number of lines")


def _protocol(text: str) -> int:
    if text.lower() in PROTOCOLS:
        return PROTOCOLS[text.lower()]
    try:
        return _number(text, 1, 255, "protocol")
    except argparse.ArgumentTypeError:
        known = ", ".join(PROTOCOLS)
        raise argparse.ArgumentTypeError(f"{text!r} is no protocol: {known} or 1 to 255") from None


def _time(text: str) -> timedelta:
    found = duration(text)
    if not 0 < found.total_seconds() <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: a trace lasts 1s to {LONGEST_S // 3600}h")
    return found


async def _trace(options: argparse.Namespace, asked: Asked) -> int:
    """Return the exit status; raises BadTrace, NoAgent, ApiError."""
    hosts = lab_hosts(lab_of(options.kubeconfig))
    async with connect(options.kubeconfig) as client:
        world = World.of(await fetch(client, OPENERS))
        question = TraceQuestion(trace_rows(world, hosts, asked), options.for_.total_seconds())
        check(question)
        agents = await agents_of(client, options.node)
        show = _show_json if options.output == "json" else _show
        session = _Session(show, options.count)
        await session.run(client, agents, question)
    session.say_what_was_missed()
    return OK if session.shown else FAILED


def _show(packet: TracedPacket) -> None:
    print(compact(packet), flush=True)


def _show_json(packet: TracedPacket) -> None:
    print(msgspec.json.encode(packet).decode(), flush=True)


class _Session:
    """One trace on some nodes."""

    def __init__(self, show: Callable[[TracedPacket], None], count: int) -> None:
        self._show = show
        self._count = count
        self._waiting: list[tuple[int, int, float, TracedPacket]] = []
        self._came = 0
        self._ends: list[TraceEnd] = []
        self._started: list[str] = []
        self._failed: dict[str, list[str]] = {}
        self._stop = asyncio.Event()
        self.shown = 0
        """Lines printed."""

    async def run(self, client: Client, agents: dict[str, Agent], question: TraceQuestion) -> None:
        """Trace until the time is over, enough was seen, or a signal comes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        text = msgspec.json.encode(question).decode()
        tasks = [
            asyncio.create_task(self._follow(client, name, agent, text))
            for name, agent in agents.items()
        ]
        begun = asyncio.create_task(self._announce(len(tasks), question.for_s))
        everyone = asyncio.ensure_future(asyncio.gather(*tasks))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not (everyone.done() or stopped.done()):
                await asyncio.wait(
                    (everyone, stopped), timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED
                )
                self._flush(time.monotonic() - HOLD_S)
            self._flush(float("inf"))
        finally:
            everyone.cancel()
            for task in (begun, *tasks):
                task.cancel()
            stopped.cancel()
            await asyncio.gather(everyone, stopped, begun, *tasks, return_exceptions=True)

    async def _announce(self, many: int, for_s: float) -> None:
        """Say that all nodes look, once they do."""
        while len(self._started) < many:
            await asyncio.sleep(STEP_S)
        names = ", ".join(sorted(name for name in self._started if name))
        if names:
            print(f"tracing on {names} for {for_s:g} s", file=sys.stderr, flush=True)

    async def _follow(self, client: Client, name: str, agent: Agent, text: str) -> None:
        """Take what one node says until its end."""
        started = False
        try:
            async for line in _lines(client, agent, text):
                if line.error:
                    raise BadTrace(line.error)
                if line.started:
                    started = True
                    self._started.append(name)
                if line.end is not None:
                    self._ends.append(line.end)
                    return
                if line.packet is not None:
                    self._came += 1
                    entry = (line.packet.time_ns, self._came, time.monotonic(), line.packet)
                    heapq.heappush(self._waiting, entry)
        except (ApiError, BadTrace, msgspec.DecodeError) as error:
            self._failed.setdefault(str(error), []).append(name)
        if not started:
            self._started.append("")

    def _flush(self, arrived_before: float) -> None:
        """Print what no earlier packet can come before any more."""
        while self._waiting and self._waiting[0][2] <= arrived_before:
            if self._count and self.shown >= self._count:
                break
            self._show(heapq.heappop(self._waiting)[3])
            self.shown += 1
        if self._count and self.shown >= self._count:
            self._stop.set()

    def say_what_was_missed(self) -> None:
        """Tell what is not among the lines."""
        for text, names in self._failed.items():
            print(f"cairn trace: {', '.join(sorted(names))}: {text}", file=sys.stderr)
        not_told = sum(end.not_told for end in self._ends)
        lost = sum(end.lost for end in self._ends)
        if not_told:
            text = "packets more, too many to tell one by one"
            print(f"cairn trace: {not_told:,} {text}", file=sys.stderr)
        if lost:
            print(f"cairn trace: {lost:,} events found the ring full: a packet may be missing",
                  file=sys.stderr)  # fmt: skip
        if not self.shown and any(self._started):
            print("cairn trace: no packet came by", file=sys.stderr)


async def _lines(client: Client, agent: Agent, text: str) -> AsyncIterator[TraceLine]:
    argv = ["cairn", "trace-node", text]
    decoder = msgspec.json.Decoder(TraceLine)
    async with aclosing(stream_from_pod(client, agent.pod, CONTAINER, argv)) as lines:
        async for line in lines:
            if line.strip():
                yield decoder.decode(line)
