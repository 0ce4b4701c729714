"""What the data plane's events cost: round trips and connections between two pods, on against off.

    src/cairn/_bpf/*.o with and without CAIRN_CONFIG_EVENTS  ->  rows; run by itself, JSON

    python bench/flow_events.py [--rounds N]

The same pods on the same path, without policy; in turns their programs are those with events and
those without, exchanged in place. A thread empties the ring as the agent does, every PAUSE_S, and
does nothing with what it reads: what the agent makes of events is in flow_query.

Units       ns per round trip or connection; a ratio is on / off, so 1 / RATE is its aim
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from cairn.abi.records import EVENT
from cairn.abi.structs import Config, ConfigFlag
from cairn.apply.data_plane import CONNECTION_EVENTS, DROP_EVENTS, EVENT_INTERVAL_NS
from cairn.libbpf import BpfError, Program, load_object
from cairn.libbpf.ring import Ring
from cairn.linux import namespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bpf"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "netns"))

from datapath_bed import OBJECTS, SIZES, NodeBed, bed
from policy import until_served
from row import Aim, Row, compare, take_turns
from traffic import Place, connection_ns, in_netns, serving, trip_ns

ROUNDS = 25
RATE = 0.97
"""Requests with events, of those without."""
PAUSE_S = 0.1
NAMES = ("uplink_ingress", "uplink_egress", "pod_ingress", "pod_egress")


class Switch:
    """Programs of one node, with events and without, on the same maps."""

    def __init__(self, node: NodeBed, stack: contextlib.ExitStack) -> None:
        self._node = node
        self._programs: dict[bool, dict[str, Program]] = {}
        uplink = namespace.call_in(node.ns, socket.if_nametoindex, "eth0")
        shared = {name: table for name, table in node.maps.items() if "." not in name}
        for events in (False, True):
            config = Config(
                ip_address(node.address), ip_address("::"), uplink,
                ConfigFlag.EVENTS if events else ConfigFlag(0), 0, node.mac, DROP_EVENTS,
                CONNECTION_EVENTS, EVENT_INTERVAL_NS,
            ).write()  # fmt: skip
            self._programs[events] = {}
            for name in NAMES:
                loaded = load_object(
                    OBJECTS / f"{name}.o",
                    sizes=SIZES,
                    config={".rodata.config": config},
                    reuse=shared,
                )
                stack.enter_context(loaded)
                self._programs[events][name] = loaded.programs[name]

    def turn(self, *, on: bool) -> None:
        """Put the programs of one kind at every hook."""
        for name, link in self._node.hooked:
            if not link.update(self._programs[on][name]):
                raise RuntimeError(f"{name} has lost its interface")


class Drain:
    """Empties the ring beside the traffic."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.events = 0

    def __enter__(self) -> "Drain":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.events += len(self._ring.drain())


def rows(rounds: int) -> Iterator[Row]:
    """Measure traffic between two pods."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(bed(nodes=1, pods=3))
        switch = Switch(made.nodes[0], stack)
        source, two = in_netns(made.pods[0].ns), made.pods[2]
        stack.enter_context(serving([two.ns]))
        until_served(source, two.address)
        drain = stack.enter_context(Drain(Ring(made.nodes[0].maps["events"], EVENT)))
        for what, measure, aim in (
            ("round trip", trip_ns, Aim(1 / RATE)),
            ("new connection", connection_ns, Aim(1 / RATE)),
        ):

            def taken(measure: Callable[[Place, str], float] = measure, *, on: bool) -> float:
                switch.turn(on=on)
                return measure(source, two.address)

            before = drain.events
            pairs = take_turns(partial(taken, on=True), partial(taken, on=False), rounds)
            meaning = f"events on against off, {drain.events - before:,} events told"
            yield compare(f"pod to pod with events, {what}", "ns", pairs, meaning, aim)


def run() -> list[Row]:
    """Measure all."""
    try:
        return list(rows(ROUNDS))
    except BpfError as error:
        raise RuntimeError(str(error)) from error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps([asdict(row) for row in rows(options.rounds)], indent=1))
