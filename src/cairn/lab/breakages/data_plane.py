"""Faults of a node's data plane: programs that another tool detaches, maps that are full.

    node  ->  its pinned links and maps

Invariants  A program comes back with the agent, which attaches what is missing when it starts.
"""

import os
import signal
import sys
import time
from pathlib import Path

from cairn.abi import structs
from cairn.lab.breakages.host import container_pid
from cairn.lab.fault import Active, host_of
from cairn.lab.state import Lab, LabError
from cairn.libbpf import Link, Map
from cairn.net import parse_address

PROGRAM = "uplink_ingress"
MAP = "conntrack"
FROM, TO = parse_address("198.18.0.1"), parse_address("198.18.0.2")
"""Addresses that nobody has (RFC 2544 s C.2.2)."""
PORTS = 60_000
SLACK = 8


def detach(lab: Lab, target: str, _: str) -> None:
    """Detach the program at a node's uplink, as `bpftool link detach` does."""
    pin = lab.pins / host_of(lab, target).name / "cairn" / "links" / PROGRAM
    with Link.open_pinned(pin) as link:
        link.detach()


def attach_again(lab: Lab, active: Active) -> None:
    """Have the agent start anew."""
    os.kill(container_pid(lab, active.target, "agent"), signal.SIGTERM)


def fill_map(lab: Lab, target: str, _: str) -> None:
    """Fill the table of connections of a node, as a flood of them does."""
    maps = lab.pins / host_of(lab, target).name / "cairn"
    now_ns = time.monotonic_ns()
    # Of a service and a backend that there are: the agent sweeps away what is left of others.
    service = structs.Service.read(_first(maps / "services")[1]).id
    backend = int.from_bytes(_first(maps / "backends")[0], sys.byteorder)
    value = structs.Connection(
        TO, 0, structs.State.ESTABLISHED, 0, backend, service, now_ns, now_ns, 0, 0
    ).write()
    with Map.open_pinned(maps / MAP) as table:
        keys = _keys(table.shape.max_entries - SLACK)
        table.update_batch(keys, value * (len(keys) // structs.Tuple.SIZE))


def empty_map(lab: Lab, active: Active) -> None:
    """Delete what was filled in."""
    with Map.open_pinned(lab.pins / active.target / "cairn" / MAP) as table:
        table.delete_batch(_keys(table.shape.max_entries - SLACK))


def _first(pin: Path) -> tuple[bytes, bytes]:
    """Return one entry of a map."""
    with Map.open_pinned(pin) as table:
        for entry in table.items():
            return entry
    raise LabError(f"the node has no {pin.name}: nothing that a connection could be to")


def _keys(count: int) -> bytes:
    return b"".join(
        structs.Tuple(FROM, TO, 1 + n % PORTS, 1 + n // PORTS, 6, 0).write() for n in range(count)
    )
