"""What the packet programs cost: ns per packet by BPF_PROG_TEST_RUN, against an empty program.

    src/cairn/_bpf/*.o  ->  rows; run by itself, JSON

    python bench/uplink.py [--packets N] [--rounds N]

The least of several rounds counts; the rounds of all rows take turns, so that a busy machine slows
them alike. A trial run hands the program its own output again. So a translated packet is made to
go to and fro: two services are each other's backend, and every run does the whole work.

Units       ns per packet; the empty program's time is the cost of the trial itself
"""

import argparse
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from cairn.abi.address import write_address
from cairn.abi.structs import (
    MAGLEV_SIZE,
    Backend,
    BackendFlag,
    Endpoint,
    Node,
    Service,
    ServiceKey,
    Vip,
    VipFlag,
)
from cairn.libbpf import BpfError, Map, MapShape, MapType, load_object

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bpf"))

import packets
import trial
from row import Row

HERE, THERE, ELSE = "192.0.2.200", "192.0.2.201", "203.0.113.9"
TRAVELLER = "10.244.1.99"
HERE_PORT, THERE_PORT, BUSY_PORT = 80, 8081, 8082
FILL = 2000
EMPTY = "empty program"
PACKETS, ROUNDS = 300_000, 5


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is measured, and how to run it many times."""

    name: str
    run: Callable[[int], int]


def publish(node: trial.Trial, frontend: tuple[str, int], number: int, backend: Backend) -> None:
    """Write a service with one backend."""
    maps = node.maps
    raw = struct.pack("<I", number)
    maps["vips"].update(write_address(ip_address(frontend[0])), Vip(VipFlag.PING).write())
    maps["backends"].update(raw, backend.write())
    key = ServiceKey(ip_address(frontend[0]), frontend[1], packets.TCP)
    maps["services"].update(key.write(), Service(number, 0, 1, 1, 1, 0, 0).write())
    with Map.create(MapShape(MapType.ARRAY, 4, MAGLEV_SIZE * 4, 1, 0), "maglev") as inner:
        inner.update(bytes(4), np.full(MAGLEV_SIZE, number, "<u4").tobytes())
        maps["maglev"].update_inner(raw, inner)


def prepare(node: trial.Trial) -> None:
    """Write the services that lead to each other, and other entries so that no map is small."""
    local = BackendFlag.LOCAL
    publish(node, (HERE, HERE_PORT), 50, Backend(ip_address(THERE), THERE_PORT, local, 1))
    publish(node, (THERE, THERE_PORT), 51, Backend(ip_address(HERE), HERE_PORT, local, 1))
    leaving = local | BackendFlag.TERMINATING
    publish(node, (HERE, BUSY_PORT), 52, Backend(ip_address(THERE), BUSY_PORT, leaving, 1))
    publish(node, (THERE, BUSY_PORT), 53, Backend(ip_address(HERE), BUSY_PORT, leaving, 1))
    for text in (HERE, THERE):
        value = Endpoint(trial.LOOPBACK, trial.POD_MAC, trial.UPLINK, 0, 0)
        node.maps["endpoints"].update(write_address(ip_address(text)), value.write())
    # A trial run hands the program its own output: what goes to another node must stay this node's
    # and its pod's, or the second run would see a stranger's frame.
    there = Node(ip_address(trial.PEER_ADDRESS), trial.UPLINK, 0)
    node.maps["nodes"].update(struct.pack("<I", 2), there.write())
    traveller = Endpoint(trial.LOOPBACK, trial.UPLINK, trial.UPLINK, 0, 0)
    node.maps["endpoints"].update(write_address(ip_address(TRAVELLER)), traveller.write())
    for number in range(FILL):
        address = ip_address("198.18.0.0") + number
        key = ServiceKey(address, 80, packets.TCP).write()
        node.maps["services"].update(key, Service(1, 0, 1, 1, 1, 0, 0).write())
        node.maps["vips"].update(write_address(address), Vip(0).write())


def warm(node: trial.Trial, frame: bytes, program: str) -> Callable[[int], int]:
    """Return a runner of `frame` whose connection is established."""
    node.run(frame, program, 4)
    return lambda count: node.run(frame, program, count).duration_ns


def cases(node: trial.Trial, empty: Callable[[int], int]) -> list[Case]:
    """Return the cases; the first is the yardstick."""
    established = trial.request(HERE_PORT, flags=packets.ACK, to=HERE)
    new = trial.request(BUSY_PORT, to=HERE)
    remote = trial.request(trial.REMOTE_PORT, flags=packets.ACK)
    answer = trial.from_pod(trial.CLIENT, 40000, source=THERE, source_port=THERE_PORT)
    segment = packets.tcp((TRAVELLER, 8080), (trial.REMOTE_POD, 80), packets.ACK)
    packet = packets.ip4(
        segment, source=TRAVELLER, destination=trial.REMOTE_POD, protocol=packets.TCP
    )
    far = trial.sent_by_pod(packet, mac=trial.UPLINK)
    uplink, pod = "uplink_ingress", "pod_ingress"
    return [
        Case(EMPTY, empty),
        Case("not for a service: to the stack", warm(node, trial.request(22, to=ELSE), uplink)),
        Case("to the node itself", warm(node, trial.request(22, to=trial.NODE), uplink)),
        Case("to a pod of this node", warm(node, trial.request(80, to=trial.POD), uplink)),
        Case("established, backend here", warm(node, established, uplink)),
        Case("established, handed over", warm(node, remote, uplink)),
        Case("new connection every time", warm(node, new, uplink)),
        Case("a pod's answer, translated back", warm(node, answer, pod)),
        Case("a pod's packet to a pod here", warm(node, trial.from_pod(trial.OTHER_POD, 80), pod)),
        Case("a pod's packet to another node's", warm(node, far, pod)),
    ]


def measure(listed: list[Case], count: int, rounds: int) -> dict[str, int]:
    """Return the least time of each case over all rounds."""
    best = {case.name: sys.maxsize for case in listed}
    for _ in range(rounds):
        for case in listed:
            best[case.name] = min(best[case.name], case.run(count))
    return best


def measured(packets_each: int, rounds: int) -> dict[str, int]:
    """Load the programs and return the ns per packet of each case, the empty program first."""
    with trial.loaded() as node, load_object(trial.OBJECTS / "empty.o") as nothing:
        prepare(node)
        frame = trial.request(HERE_PORT, to=HERE)
        program = nothing.programs["empty"]
        listed = cases(node, lambda n: program.run_packet(frame, ifindex=1, repeat=n).duration_ns)
        return measure(listed, packets_each, rounds)


def run() -> list[Row]:
    """Measure all cases."""
    try:
        best = measured(PACKETS, ROUNDS)
    except BpfError as error:
        raise RuntimeError(str(error)) from error
    empty = float(max(1, best.pop(EMPTY)))
    return [
        Row(
            name, spent, "ns/packet", f"{1000 / max(1, spent):.1f} million packets/s a core",
            baseline=empty, ratio=spent / empty,
        )
        for name, spent in best.items()
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packets", type=int, default=PACKETS, help="per round and case")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps({"unit": "ns/packet", "cases": measured(options.packets, options.rounds)}))
