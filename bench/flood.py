"""What a flood of SYNs from one source leaves of others' requests, with a limit and without.

    node and client in namespaces, one cable  ->  rows; run by itself, a table

    python bench/flood.py [--rounds N]

One source sends SYNs as fast as its core can make them; another asks and is answered over a
connection. Both come in by the node's one uplink, which has queues as a network card does. The
flood has a core, the client and the server share the other: what is measured is what the node does
with the flood, and not that whoever floods needs a processor too.

Units       round trips per second
"""

import argparse
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from row import Aim, Row, compare, take_turns
from traffic import ECHO_PORT, Place, in_netns, server_commands, trip_ns

from cairn.abi.records import METRIC
from cairn.abi.structs import VERDICT_SPACE, Point, PolicyRate, RateAt, RevisionFlag
from cairn.abi.verdicts import Verdict
from cairn.apply.data_plane import DataPlane
from cairn.apply.revision import RevisionMap
from cairn.apply.uplink import find_uplink
from cairn.apply.xdp import XdpHook
from cairn.compile.xdp_form import Form
from cairn.libbpf import AttachType, Link, Object, load_object
from cairn.linux import namespace
from cairn.net import Protocol, parse_address

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bpf"))

import packets

FLOOD = Path(__file__).resolve().parents[1] / ".cache" / "bpf" / "bench_flood.o"
NODE, GOOD, BAD = "192.168.1.10", "192.168.1.50", "192.168.1.51"
NODE_MAC, CLIENT_MAC = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2))
LIMIT_PER_S = 1000
RULE = 1
BATCH = 20_000
FLOOD_CORE = 1
ROUNDS = 7
PATIENCE_S = 10.0
AIM = Aim(0.9, at_least=True)
NO_FLAGS = 0
QUEUES = "numrxqueues 16 numtxqueues 16"


@dataclass
class Bed:
    """A node with its programs at the uplink, and a host at the other end of the cable."""

    name: str
    stack: contextlib.ExitStack
    plane: DataPlane = field(init=False)
    hook: XdpHook = field(init=False)
    flooder: Object = field(init=False)
    out: int = field(init=False)
    sent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def node(self) -> str:
        """The node's namespace."""
        return f"{self.name}-n"

    @property
    def client(self) -> str:
        """The other host's."""
        return f"{self.name}-c"

    def wire(self) -> None:
        """Make both namespaces and the cable."""
        for ns in (self.node, self.client):
            namespace.create(ns)
            self.stack.callback(namespace.delete, ns)
        ip(
            self.node,
            f"link add eth0 address {NODE_MAC.hex(':')} {QUEUES} type veth peer name eth0 "
            f"address {CLIENT_MAC.hex(':')} {QUEUES} netns {self.client}",
            "link set lo up",
            "link set eth0 up",
            f"addr add {NODE}/24 dev eth0",
        )
        ip(
            self.client,
            "link set lo up",
            "link set eth0 up",
            f"addr add {GOOD}/24 dev eth0",
            f"addr add {BAD}/24 dev eth0",
        )

    def load(self) -> None:
        """Load the node's programs, in its namespace."""
        pins = Path("/sys/fs/bpf") / self.name
        uplink = find_uplink(parse_address(NODE))
        self.plane = DataPlane.load(pins, uplink)
        self.stack.callback(remove_pins, pins)
        self.plane.attach_uplink()
        self.hook = XdpHook(self.plane, uplink, RevisionMap(self.plane.maps))
        self.hook.apply(Form(attached=True, hand_over=False, why="benchmark"))

    def load_flooder(self) -> None:
        """Load what sends the flood, in the client's namespace."""
        self.flooder = self.stack.enter_context(load_object(FLOOD))
        self.out = socket.if_nametoindex("eth0")
        self.flooder.maps["out_ifindex"].update(bytes(4), self.out.to_bytes(4, "little"))
        # A veth takes frames from XDP only if its own end has a program as well.
        program = self.flooder.programs["flood_pass"]
        link = Link.create(program, AttachType.XDP, self.out, flags=4)
        self.stack.callback(link.close)

    def limit(self, *, on: bool) -> None:
        """Have a policy limit what one source opens, or not."""
        at = RateAt(parse_address(NODE), 0, ECHO_PORT, Protocol.TCP).write()
        rates = self.plane.maps["policy_rates"]
        if on:
            rates.update(at, PolicyRate(RULE, LIMIT_PER_S, LIMIT_PER_S, NO_FLAGS).write())
        elif rates.lookup(at):
            rates.delete(at)
        RevisionMap(self.plane.maps).set(RevisionFlag.POLICY_RATES, on=on)

    def dropped(self) -> int:
        """Return how many frames the limit has dropped."""
        place = Point.XDP * VERDICT_SPACE + Verdict.DROP_POLICY_RATE
        raw = self.plane.maps["metrics"].lookup(place.to_bytes(4, "little"))
        return int(np.frombuffer(raw or b"", METRIC)["packets"].sum())

    @contextlib.contextmanager
    def flooded(self) -> Iterator[None]:
        """Send SYNs meanwhile, and count them."""
        self.stop.clear()
        thread = threading.Thread(target=namespace.call_in, args=(self.client, self._flood))
        thread.start()
        try:
            wait_for(lambda: self.sent > 0, "the flood to begin")
            yield
        finally:
            self.stop.set()
            thread.join()

    def _flood(self) -> None:
        os.sched_setaffinity(0, {FLOOD_CORE % (os.cpu_count() or 1)})
        segment = packets.tcp((BAD, 40000), (NODE, ECHO_PORT), packets.SYN)
        packet = packets.ip4(segment, source=BAD, destination=NODE, protocol=packets.TCP)
        frame = packets.ethernet(packet, source=CLIENT_MAC, destination=NODE_MAC)
        program = self.flooder.programs["flood"]
        while not self.stop.is_set():
            program.send_frames(frame, ifindex=self.out, many=BATCH)
            self.sent += BATCH


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure requests beside the flood."""
    with bed() as made:
        rate = partial(per_second, in_netns(made.client))
        rows = []
        for limited in (True, False):
            made.limit(on=limited)
            pairs = take_turns(partial(beside_flood, made, rate), rate, rounds)
            limit = f"{LIMIT_PER_S:,} a second" if limited else "no limit"
            rows.append(
                compare(
                    f"requests beside a SYN flood, {limit}",
                    "/s",
                    pairs,
                    "what a client keeps; base: no flood",
                    AIM if limited else None,
                )
            )
        began, before = time.monotonic(), made.sent
        with made.flooded():
            time.sleep(1.0)
        if not made.dropped():
            raise AssertionError("the limit dropped nothing")
        speed = (made.sent - before) / (time.monotonic() - began)
        return [Row("the flood itself", speed, "/s", "SYNs that one core makes"), *rows]


def beside_flood(made: Bed, rate: Callable[[], float]) -> float:
    """Return a rate while the flood runs."""
    with made.flooded():
        return rate()


def per_second(place: Place) -> float:
    """Return how many requests a second the client gets answered."""
    return 1e9 / trip_ns(place, NODE)


@contextlib.contextmanager
def bed() -> Iterator[Bed]:
    """Make the bed, with a server on the node; nothing is left of it afterwards."""
    with contextlib.ExitStack() as stack:
        made = Bed(f"bench-flood-{secrets.token_hex(2)}", stack)
        made.wire()
        namespace.call_in(made.node, made.load)
        namespace.call_in(made.client, made.load_flooder)
        server = subprocess.Popen(
            [*in_netns(made.node).enter, *server_commands()[1]], start_new_session=True
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        wait_for(partial(answers, made), "the server")
        yield made


def answers(made: Bed) -> bool:
    """Return whether the server takes connections."""
    try:
        namespace.call_in(made.client, socket.create_connection, (NODE, ECHO_PORT), 1).close()
    except OSError:
        return False
    return True


def ip(name: str, *commands: str) -> None:
    """Run `ip` commands in a namespace."""
    subprocess.run(
        ["ip", "-n", name, "-batch", "-"], input="\n".join(commands), text=True, check=True
    )


def remove_pins(folder: Path) -> None:
    """Remove a folder of pins with what is below it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return once `condition` holds; raises TimeoutError."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE_S:g} s for {what}")
        time.sleep(0.01)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for found in run(parser.parse_args().rounds):
        print(found)
