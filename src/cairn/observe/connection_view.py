"""The connections that a node knows, as rows for people and programs.

    batches of `conntrack` (abi.records.TUPLE, CONNECTION), the time, a filter  ->  rows

Shapes      FORWARD and REVERSE of a connection make one row; one handed over has FORWARD alone
Units       seconds; octets count IP packets with their Ethernet header
Cost        rows are made for what the filter lets through, and only as many as are wanted
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cairn.abi.address import read_address, write_address
from cairn.abi.structs import ConnectionFlag, Direction, State
from cairn.net import Protocol
from cairn.observe.connection_rows import ConnectionRow, Filter
from cairn.observe.expiry import NS_PER_S, identities
from cairn.observe.lb_rows import name_of

Records = NDArray[np.void]
STATES = {State.NEW: "new", State.ESTABLISHED: "established", State.CLOSING: "closing"}


class Connections:
    """Collects rows from batches."""

    def __init__(self, now_ns: int, wanted: Filter) -> None:
        self._now_ns = now_ns
        self._wanted = wanted
        self._sides: dict[int, dict[Direction, tuple[np.void, np.void]]] = {}

    def add(self, keys: Records, values: Records) -> None:
        """Take a batch of entries."""
        mask = self._mask(keys, values)
        identity = identities(keys, values)
        for at in np.flatnonzero(mask):
            sides = self._sides.setdefault(int(identity[at]), {})
            sides[Direction(int(keys["direction"][at]))] = (keys[at], values[at])

    def rows(self, limit: int | None = None) -> tuple[list[ConnectionRow], int]:
        """Return at most `limit` rows, the most recent first, and how many there are in all."""
        ordered = sorted(self._sides.values(), key=_last_seen, reverse=True)
        return [self._row(sides) for sides in ordered[:limit]], len(ordered)

    def _mask(self, keys: Records, values: Records) -> NDArray[np.bool_]:
        forward = keys["direction"] == Direction.FORWARD
        mask = np.ones(len(keys), dtype=bool)
        for wanted, out, back in (
            (self._wanted.vip, keys["destination"], values["address"]),
            (self._wanted.client, keys["source"], keys["destination"]),
            (self._wanted.backend, values["address"], keys["source"]),
        ):
            if wanted is not None:
                octets = np.void(write_address(wanted))
                mask &= np.where(forward, out == octets, back == octets)
        return mask

    def _row(self, sides: dict[Direction, tuple[np.void, np.void]]) -> ConnectionRow:
        out, back = sides.get(Direction.FORWARD), sides.get(Direction.REVERSE)
        client, frontend, backend, protocol = _places(sides)
        first = min(int(value["created_ns"]) for _, value in sides.values())
        return ConnectionRow(
            protocol=_protocol(protocol),
            client=client,
            frontend=frontend,
            backend=backend,
            state=_state(protocol, out, back),
            handed_over=back is None,
            age_s=max(0, self._now_ns - first) // NS_PER_S,
            idle_s=max(0, self._now_ns - _last_seen(sides)) // NS_PER_S,
            packets=int(out[1]["packets"]) if out else 0,
            octets=int(out[1]["octets"]) if out else 0,
            answer_packets=int(back[1]["packets"]) if back else 0,
            answer_octets=int(back[1]["octets"]) if back else 0,
        )


def _places(sides: dict[Direction, tuple[np.void, np.void]]) -> tuple[str, str, str, int]:
    direction, (key, value) = next(iter(sides.items()))
    source = _place(key["source"], key["source_port"])
    destination = _place(key["destination"], key["destination_port"])
    translated = _place(value["address"], value["port"])
    protocol = int(key["protocol"])
    if direction is Direction.FORWARD:
        return source, destination, translated, protocol
    return destination, translated, source, protocol


def _place(address: np.void, port: np.integer) -> str:
    return name_of(read_address(address.tobytes()), int(port))


def _protocol(number: int) -> str:
    return next((p.name for p in Protocol if p == number), str(number))


def _last_seen(sides: dict[Direction, tuple[np.void, np.void]]) -> int:
    return max(int(value["seen_ns"]) for _, value in sides.values())


def _state(
    protocol: int, out: tuple[np.void, np.void] | None, back: tuple[np.void, np.void] | None
) -> str:
    if protocol == Protocol.TCP:
        states = [int(side[1]["state"]) for side in (out, back) if side]
        return STATES.get(State(min(max(states), State.CLOSING)), "?")
    answered = back is not None and int(back[1]["flags"]) & ConnectionFlag.ANSWERED
    return "answered" if answered else "unanswered"


def collect(batches: Iterable[tuple[Records, Records]], now_ns: int, wanted: Filter) -> Connections:
    """Return the connections of all batches that the filter lets through."""
    found = Connections(now_ns, wanted)
    for keys, values in batches:
        found.add(keys, values)
    return found
