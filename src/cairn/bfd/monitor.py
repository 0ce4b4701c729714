"""All BFD sessions of one node: which packet is whose, and why one is nobody's.

    datagrams with source and TTL, now  ->  Monitor  ->  (local, remote, octets), Change, deadline

Invariants  Every packet that is not taken is counted under one name of Discard.
            Once the other side knows our number, packets are told apart by it alone (RFC 5881 s3).
            `output` and `events` drain: what they return is not returned again.
Standards   RFC 5880 s6.3, s6.8.6; RFC 5881 s5 (a TTL below 255 has passed a router)
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum

from cairn.bfd.packet import ControlPacket, State, read_packet
from cairn.bfd.session import Change, Session, SessionConfig
from cairn.net import Address
from cairn.wire import Malformed

SINGLE_HOP_TTL = 255
HIGHEST_DISCRIMINATOR = 2**32 - 1


class Discard(StrEnum):
    """Why a packet was not taken."""

    TTL = "it passed a router: its TTL is below 255"
    MALFORMED = "it is not a BFD version 1 packet"
    AUTHENTICATED = "it is authenticated, and no session here is"
    NO_DISCRIMINATOR = "it names no session, in a state that needs one"
    UNKNOWN_DISCRIMINATOR = "it names a session that is not here"
    UNKNOWN_NEIGHBOUR = "its sender is no neighbour of ours"


class Monitor:
    """One node's sessions, by the neighbour's address."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.discarded: Counter[Discard] = Counter()
        """How many packets were not taken, and why."""
        self._random = random
        self._sessions: dict[Address, Session] = {}
        self._by_discriminator: dict[int, Session] = {}
        self._leaving: list[tuple[Address, Address, bytes]] = []

    @property
    def sessions(self) -> Mapping[Address, Session]:
        """Every session by the neighbour's address."""
        return self._sessions

    @property
    def deadline(self) -> float | None:
        """When `expire` must be called at the latest; None without sessions."""
        times = [s.deadline for s in self._sessions.values() if s.deadline is not None]
        return min(times, default=None)

    def configure(self, wanted: Mapping[Address, SessionConfig], now: float) -> None:
        """Make `wanted` the sessions; those whose local address stays go on."""
        for remote, session in list(self._sessions.items()):
            config = wanted.get(remote)
            if config is None or config.local != session.config.local:
                self._remove(session, now)
            else:
                session.configure(config, now)
        for remote, config in wanted.items():
            if remote not in self._sessions:
                self._add(remote, config, now)

    def receive(self, data: bytes, source: Address, ttl: int, now: float) -> Discard | None:
        """Take a datagram; return why it was not taken, None if it was."""
        found = self._find(data, source, ttl)
        if isinstance(found, Discard):
            self.discarded[found] += 1
            return found
        session, packet = found
        session.receive(packet, now)
        return None

    def expire(self, now: float) -> None:
        """Take the time; timers whose deadline has passed fire."""
        for session in self._sessions.values():
            session.expire(now)

    def output(self) -> list[tuple[Address, Address, bytes]]:
        """Return what to send, each with the local and the remote address, and forget it."""
        out, self._leaving = self._leaving, []
        for session in self._sessions.values():
            local = session.config.local
            out += [(local, session.remote, octets) for octets in session.output()]
        return out

    def events(self) -> list[Change]:
        """Return what happened since the last call and forget it."""
        return [change for session in self._sessions.values() for change in session.changes()]

    def shut_down(self, now: float) -> None:
        """Leave every session on purpose."""
        for session in list(self._sessions.values()):
            self._remove(session, now)

    def _find(
        self, data: bytes, source: Address, ttl: int
    ) -> tuple[Session, ControlPacket] | Discard:
        if ttl != SINGLE_HOP_TTL:
            return Discard.TTL
        try:
            packet = read_packet(data)
        except Malformed:
            return Discard.MALFORMED
        if packet.your_discriminator:
            session = self._by_discriminator.get(packet.your_discriminator)
            missing = Discard.UNKNOWN_DISCRIMINATOR
        elif packet.state in (State.DOWN, State.ADMIN_DOWN):
            session = self._sessions.get(source)
            missing = Discard.UNKNOWN_NEIGHBOUR
        else:
            return Discard.NO_DISCRIMINATOR
        if session is None:
            return missing
        return Discard.AUTHENTICATED if packet.authenticated else (session, packet)

    def _add(self, remote: Address, config: SessionConfig, now: float) -> None:
        number = 0
        while number == 0 or number in self._by_discriminator:
            number = int(self._random() * HIGHEST_DISCRIMINATOR)
        session = Session(remote, config, discriminator=number, random=self._random, now=now)
        self._sessions[remote] = self._by_discriminator[number] = session

    def _remove(self, session: Session, now: float) -> None:
        session.leave(now)
        local = session.config.local
        self._leaving += [(local, session.remote, octets) for octets in session.output()]
        del self._sessions[session.remote], self._by_discriminator[session.discriminator]
