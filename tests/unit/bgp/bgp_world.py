"""Speakers joined by pretended TCP, under one virtual clock.

World.add(address, …)  ->  World.run()  ->  sessions, routes, events
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address, ip_network

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.config import BGP_PORT, Connect, ConnectionId, PeerConfig, Refused
from cairn.bgp.event import Event, PeerState
from cairn.bgp.speaker import Speaker
from cairn.machine import VirtualClock
from cairn.net import Address, Network

End = tuple[str, ConnectionId]
VIP = ip_network("192.168.1.100/32")


class World:
    """A network of speakers, by address."""

    def __init__(self) -> None:
        self.clock = VirtualClock(0.0)
        self.speakers: dict[str, Speaker] = {}
        self.events: dict[str, list[Event]] = {}
        self.cut: set[str] = set()
        """Addresses whose octets are lost, while TCP stays up."""
        self.dead: set[str] = set()
        """Addresses where nobody listens."""
        self.delay_connects = False
        """Collect connects instead of completing them."""
        self.pending: list[tuple[str, Connect]] = []
        self._ends: dict[End, End] = {}
        self.octets: dict[End, bytearray] = {}
        """All that was ever sent from an end."""

    def add(
        self, address: str, *peers: PeerConfig, multipath: int = 16, router_id: str = ""
    ) -> Speaker:
        """Start a speaker; its address is its identifier unless another one is given."""
        identifier = IPv4Address(router_id or address)
        speaker = Speaker(router_id=identifier, random=lambda: 0.5, multipath=multipath)
        self.speakers[address] = speaker
        self.events.setdefault(address, [])
        speaker.configure({one.name: one for one in peers}, self.clock.now)
        return speaker

    def announce(self, address: str, routes: Mapping[Network, Attributes]) -> None:
        """Originate `routes` and let everything settle."""
        self.speakers[address].announce(routes, self.clock.now)
        self.settle()

    def kill(self, address: str) -> None:
        """End a speaker like a crash: TCP connections just close."""
        del self.speakers[address]
        for end in [one for one in self._ends if one[0] == address]:
            self._close(end)
        self.settle()

    def settle(self) -> None:
        """Move octets and connections until nothing moves."""
        for _ in range(1000):
            if not any([self._connects(), self._moves(), self._closes()]):
                break
        else:
            raise AssertionError("the world does not come to rest")
        for address, speaker in self.speakers.items():
            self.events[address] += speaker.events()

    def run(self, seconds: float) -> None:
        """Let time pass, firing every timer when it is due."""
        until = self.clock.now + seconds
        self.settle()
        while True:
            times = [s.deadline for s in self.speakers.values() if s.deadline is not None]
            at = min(times, default=until)
            if at > until:
                break
            self.clock.advance(max(0.0, at - self.clock.now))
            for speaker in self.speakers.values():
                speaker.expire(self.clock.now)
            self.settle()
            if at == until:
                break
        self.clock.advance(until - self.clock.now)

    def connect(self, address: str, wanted: Connect) -> None:
        """Complete or refuse one connection."""
        now, speaker = self.clock.now, self.speakers[address]
        other = self.speakers.get(str(wanted.remote))
        answer: ConnectionId | Refused = Refused("nobody listens")
        if other is not None and str(wanted.remote) not in self.dead:
            answer = other.accepted(ip_address(address), wanted.remote, now)
        if isinstance(answer, Refused):
            speaker.connect_failed(wanted.connection, "connection refused", now)
            return
        here, there = (address, wanted.connection), (str(wanted.remote), answer)
        self._ends[here], self._ends[there] = there, here
        speaker.connected(wanted.peer, wanted.connection, local=ip_address(address), now=now)

    def peer(self, address: str, remote: str) -> PeerState:
        """Return how one speaker sees another."""
        return next(one for one in self.speakers[address].peers() if str(one.remote) == remote)

    def happened(self, address: str, kind: type[Event]) -> list[Event]:
        """Return and forget the events of one kind."""
        found = [one for one in self.events[address] if isinstance(one, kind)]
        self.events[address] = [one for one in self.events[address] if one not in found]
        return found

    def _connects(self) -> bool:
        wanted = [(a, one) for a, s in self.speakers.items() for one in s.wanted_connections()]
        if self.delay_connects:
            self.pending += wanted
            return False
        for address, one in wanted:
            self.connect(address, one)
        return bool(wanted)

    def _moves(self) -> bool:
        moved = False
        for (address, connection), there in list(self._ends.items()):
            speaker = self.speakers.get(address)
            data = speaker.output(connection) if speaker else b""
            self.octets.setdefault((address, connection), bytearray()).extend(data)
            if data and address not in self.cut and there in self._ends:
                self.speakers[there[0]].receive(there[1], data, self.clock.now)
            moved |= bool(data)
        return moved

    def _closes(self) -> bool:
        closing = [(a, c) for a, s in self.speakers.items() for c in s.closing()]
        for address, connection in closing:
            there = self._ends.get((address, connection))
            data = self.speakers[address].output(connection)
            if data and there in self._ends and there and address not in self.cut:
                self.speakers[there[0]].receive(there[1], data, self.clock.now)
            self._close((address, connection))
        return bool(closing)

    def _close(self, end: End) -> None:
        there = self._ends.pop(end, None)
        if there is not None and there in self._ends and end[0] not in self.cut:
            del self._ends[there]
            if there[0] in self.speakers:
                self.speakers[there[0]].closed(there[1], self.clock.now)
        if end[0] in self.speakers:
            self.speakers[end[0]].closed(end[1], self.clock.now)


def peer(remote: str, **options: object) -> PeerConfig:
    """Return a configured peer; internal unless said otherwise."""
    network = "/" in remote
    where: Address | Network = ip_network(remote) if network else ip_address(remote)
    fields: dict[str, object] = {
        "name": remote,
        "remote": where,
        "local_asn": 64512,
        "remote_asn": 64512,
        "port": BGP_PORT,
        **options,
    }
    return PeerConfig(**fields)  # type: ignore[arg-type]
