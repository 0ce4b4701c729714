"""Which connections have ended or gone silent, so that their entries may go.

    columns of `conntrack` (abi.records.TUPLE, CONNECTION), batch by batch  ->  keys to delete

A connection served here has two entries, FORWARD and REVERSE, which say the same three places in
another order: client, frontend, backend. They are judged as one: by the later of the times at which
a packet was seen, and by how far both sides have closed. So the way back of a stream that nobody
answers stays, and so does a download that the client only listens to.

Limits      RFC 5382 s5 asks at least 2 h 4 min for established TCP, 4 min for what is half closed;
            RFC 4787 s4.3 at least 2 min for UDP. A TCP opening that never got further goes after
            60 s, since Maglev would find its backend again. Above 3/4 of the map all become
            shorter, down to an eighth when it is nearly full.
Invariants  An entry whose service is no more goes at once; one whose backend is no more goes like
            one half closed: until then the client is told when it asks.
            Entries younger than the reading of the services are never taken for theirs.
Cost        about 0.2 us and 20 octets for each entry, 40 octets more for each idle one
Standards   RFC 5382 s5, RFC 4787 s4.3
"""

from dataclasses import astuple, dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cairn.abi.structs import Direction, State
from cairn.net import Protocol

NS_PER_S = 1_000_000_000
PRESSURE_FROM = 0.75
PRESSURE_FULL = 0.95
SHORTEST = 1 / 8
_YOUNG_NS = NS_PER_S
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(29)

Column = NDArray[np.uint64]
Records = NDArray[np.void]


class Phase(IntEnum):
    """How far an entry's connection has come."""

    OPENING = 0
    """TCP: a SYN and nothing after it."""
    ESTABLISHED = 1
    """TCP: packets went on."""
    CLOSING = 2
    """TCP: this side sent FIN or RST."""
    DATAGRAMS = 3
    """UDP."""
    ASSOCIATION = 4
    """SCTP, and whatever else has ports."""
    ABANDONED = 5
    """TCP whose backend is no more."""
    ORPHANED = 6
    """Of a service that is no more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a connection may be silent, in seconds."""

    opening_s: float = 60
    """TCP that has not gone beyond its first packet."""
    established_s: float = 7440
    """TCP that both sides hold open."""
    half_closed_s: float = 240
    """TCP that one side has closed, or whose backend is no more."""
    closed_s: float = 30
    """TCP that every side seen here has closed."""
    datagrams_s: float = 120
    """UDP."""
    association_s: float = 300
    """SCTP: it sends heartbeats every 30 s."""

    def under(self, fill: float) -> "Limits":
        """Return the limits at which a map that is `fill` full (0 to 1) is swept."""
        over = min(1.0, max(0.0, (fill - PRESSURE_FROM) / (PRESSURE_FULL - PRESSURE_FROM)))
        factor = 1 - over * (1 - SHORTEST)
        return Limits(
            self.opening_s * factor,
            self.established_s * factor,
            self.half_closed_s * factor,
            self.closed_s * factor,
            self.datagrams_s * factor,
            self.association_s * factor,
        )

    def table(self) -> NDArray[np.float64]:
        """Return the limit by the least and the greatest phase of a connection's entries."""
        size = len(Phase)
        limits = np.full((size, size), float(self.half_closed_s))
        limits[Phase.OPENING, Phase.OPENING] = self.opening_s
        limits[: Phase.CLOSING, Phase.ESTABLISHED] = self.established_s
        limits[Phase.CLOSING, Phase.CLOSING] = self.closed_s
        limits[Phase.DATAGRAMS, Phase.DATAGRAMS] = self.datagrams_s
        limits[Phase.ASSOCIATION, Phase.ASSOCIATION] = self.association_s
        limits[:, Phase.ORPHANED] = -1
        return limits


@dataclass(frozen=True, slots=True)
class Expired:
    """What a walk through the map came to."""

    keys: bytes
    """Keys of the entries to delete, end to end."""
    count: int
    """How many they are."""
    entries: int
    """How many the map held."""
    connections: dict[Phase, int]
    """Connections by the phase of the side that has come furthest, those to delete included."""


class Sweep:
    """One walk through the map: give it every batch, then ask what has expired."""

    def __init__(
        self,
        now_ns: int,
        services: NDArray[np.uint32],
        backends: NDArray[np.uint32],
        limits: Limits | None = None,
    ) -> None:
        self._now_ns = now_ns
        self._limits = limits or Limits()
        self._services = services
        self._backends = backends
        self._identity: list[Column] = []
        self._seen: list[Column] = []
        self._phase: list[NDArray[np.uint8]] = []
        self._idle: list[NDArray[np.bool_]] = []
        self._keys: list[Records] = []
        self._shortest_ns = int(min(astuple(self._limits.under(1))) * NS_PER_S)

    def add(self, keys: Records, values: Records) -> None:
        """Take a batch: TUPLE and CONNECTION of the same entries."""
        phase = self._phases(keys, values)
        seen = values["seen_ns"]
        # An entry may have been touched after the clock was read.
        idle = seen + np.uint64(self._shortest_ns) < self._now_ns
        idle |= phase == Phase.ORPHANED
        self._identity.append(identities(keys, values))
        self._seen.append(seen.copy())
        self._phase.append(phase)
        self._idle.append(idle)
        # Without field names: concatenating structures would turn their big-endian fields round.
        self._keys.append(keys[idle].view(f"V{keys.itemsize}"))

    def expired(self, capacity: int) -> Expired:
        """Return what may go from a map for `capacity` entries."""
        if not self._identity:
            return Expired(b"", 0, 0, {})
        identity = np.concatenate(self._identity)
        order = np.argsort(identity)
        ordered = identity[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        seen = np.maximum.reduceat(np.concatenate(self._seen)[order], starts)
        phase = np.concatenate(self._phase)[order]
        least, most = np.minimum.reduceat(phase, starts), np.maximum.reduceat(phase, starts)
        table = self._limits.under(len(identity) / capacity).table()
        silent_s = (self._now_ns - seen.astype(np.int64)) / NS_PER_S
        over = np.maximum(silent_s, 0) > table[least, most]
        per_entry = np.empty(len(identity), dtype=bool)
        per_entry[order] = np.repeat(over, np.diff(starts, append=len(identity)))
        chosen = np.concatenate(self._keys)[per_entry[np.concatenate(self._idle)]]
        counts = np.bincount(most, minlength=len(Phase))
        held = {phase: int(counts[phase]) for phase in Phase if counts[phase]}
        return Expired(chosen.tobytes(), len(chosen), len(identity), held)

    def _phases(self, keys: Records, values: Records) -> NDArray[np.uint8]:
        protocol = keys["protocol"]
        tcp = protocol == Protocol.TCP
        phase = np.where(tcp, np.minimum(values["state"], State.CLOSING), Phase.ASSOCIATION)
        phase[protocol == Protocol.UDP] = Phase.DATAGRAMS
        phase[tcp & ~np.isin(values["backend"], self._backends)] = Phase.ABANDONED
        old = values["created_ns"] + np.uint64(_YOUNG_NS) < self._now_ns
        phase[old & ~np.isin(values["service"], self._services)] = Phase.ORPHANED
        return phase.astype(np.uint8)


def identities(keys: Records, values: Records) -> Column:
    """Return a number per entry that FORWARD and REVERSE of one connection share.

    It is a hash of client, frontend, backend and protocol: two connections share one once in
    10^9 full maps, and are then kept a little longer.
    """
    forward = keys["direction"] == Direction.FORWARD
    source, destination = _words(keys["source"]), _words(keys["destination"])
    other = _words(values["address"])
    ports = (keys["source_port"], keys["destination_port"])
    client_port = np.where(forward, *ports)
    frontend_port = np.where(forward, keys["destination_port"], values["port"])
    backend_port = np.where(forward, values["port"], keys["source_port"])
    hashed = np.zeros(len(keys), dtype=np.uint64)
    for half in (0, 1):
        hashed = _mix(hashed, np.where(forward, source[:, half], destination[:, half]))
        hashed = _mix(hashed, np.where(forward, destination[:, half], other[:, half]))
        hashed = _mix(hashed, np.where(forward, other[:, half], source[:, half]))
    numbers = (client_port, frontend_port, backend_port, keys["protocol"])
    packed = np.zeros(len(keys), dtype=np.uint64)
    for number in numbers:
        packed = packed << np.uint64(16) | number.astype(np.uint64)
    return _mix(hashed, packed)


def _mix(hashed: Column, word: Column) -> Column:
    mixed: Column = (hashed ^ word) * _MIX
    return mixed ^ mixed >> _FOLD


def _words(addresses: Records) -> Column:
    whole: Column = np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)
    return whole
