"""Many connections at once between pods, by real sockets, each told apart by its ports.

pods  ->  Probes: ask(questions)  ->  which got through, and which was dropped by which rule

Nothing waits for time to pass: what gets through answers, what does not is a drop event.
"""

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from overlay_bed import Pod
from policy_bed import PORTS, Drop, Stranger

from cairn.kube.policy.rule import RuleRef
from cairn.linux import namespace

TCP, UDP, SCTP = 6, 17, 132
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
DEADLINE_S = 5.0
LINGER_NOT = struct.pack("ii", 1, 0)
INIT = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
"""An INIT chunk (RFC 9260 s3.3.2): how an association begins."""


@dataclass(frozen=True)
class Probe:
    """One attempt to open a connection."""

    source: Pod | Stranger = field(hash=False, compare=False)
    target: Pod | Stranger = field(hash=False, compare=False)
    name: str
    """Both ends."""
    version: int
    protocol: int
    port: int


@dataclass
class Outcome:
    """What became of probes."""

    through: set[Probe] = field(default_factory=set)
    """The other end had it, and its answer came back (SCTP, and a stranger's datagrams: the other
    end had it)."""
    dropped: dict[Probe, RuleRef | None] = field(default_factory=dict)
    """The data plane dropped it, by this rule."""
    failed: dict[Probe, str] = field(default_factory=dict)
    """Anything else."""

    def __len__(self) -> int:
        return len(self.through) + len(self.dropped) + len(self.failed)


class Probes:
    """The sockets of all pods."""

    def __init__(
        self, ends: Iterable[Pod | Stranger], drops: Callable[[], dict[Drop, RuleRef | None]]
    ) -> None:
        self._drops = drops
        self._poll = select.epoll()
        self._on_ready: dict[int, Callable[[], None]] = {}
        self._open: list[socket.socket] = []
        self._raw: dict[tuple[str, int], socket.socket] = {}
        self._waiting: dict[Drop, Probe] = {}
        self._outcome = Outcome()
        self._next_port = 20000
        for end in ends:
            for sock, serve in namespace.call_in(end.ns, self._listeners, end):
                self._open.append(sock)
                self._on_ready[sock.fileno()] = serve
                self._poll.register(sock, select.EPOLLIN)

    def close(self) -> None:
        """Close every socket."""
        for sock in self._open:
            sock.close()
        self._poll.close()

    def ask(self, probes: list[Probe]) -> Outcome:
        """Try all of them at once; return when each has come to something."""
        self._outcome, self._waiting = Outcome(), {}
        self._drops()
        opened: list[socket.socket] = []
        by_pod: dict[str, list[Probe]] = {}
        for probe in probes:
            by_pod.setdefault(probe.source.ns, []).append(probe)
        for ns, own in by_pod.items():
            opened += namespace.call_in(ns, self._begin, own)
        deadline = time.monotonic() + DEADLINE_S
        while len(self._outcome) < len(probes) and time.monotonic() < deadline:
            for number, _ in self._poll.poll(0.01):
                if (ready := self._on_ready.get(number)) is not None:
                    ready()
            for where, rule in self._drops().items():
                if where in self._waiting:
                    self._outcome.dropped[self._waiting.pop(where)] = rule
        for sock in opened:
            self._forget(sock)
        return self._outcome

    def _listeners(self, end: Pod | Stranger) -> list[tuple[socket.socket, Callable[[], None]]]:
        """Return the sockets of an end that others reach, with what to do when they are."""
        made: list[tuple[socket.socket, Callable[[], None]]] = []
        for version, family in FAMILIES.items():
            for port in PORTS:
                where = (end.address(version), port)
                listener = socket.create_server(where, family=family, backlog=512)
                listener.setblocking(False)
                made.append((listener, accept_all(listener)))
                datagrams = socket.socket(family, socket.SOCK_DGRAM)
                datagrams.bind(where)
                datagrams.setblocking(False)
                made.append((datagrams, self._echo(datagrams, where)))
            raw = socket.socket(family, socket.SOCK_RAW, SCTP)
            raw.setblocking(False)
            self._raw[end.ns, version] = raw
            made.append((raw, self._hear_sctp(raw, end.address(version), version)))
        return made

    def _begin(self, probes: list[Probe]) -> list[socket.socket]:
        """Send the first packet of each probe; must run in the namespace of their source."""
        opened = []
        for probe in probes:
            self._next_port = self._next_port + 1 if self._next_port < 60000 else 20001
            own, other = (
                (probe.source.address(probe.version), self._next_port),
                (
                    probe.target.address(probe.version),
                    probe.port,
                ),
            )
            where: Drop = (own[0], other[0], probe.protocol, own[1], other[1])
            self._waiting[where] = probe
            if probe.protocol == SCTP:
                head = struct.pack("!HHII", own[1], other[1], 0, 0)
                self._raw[probe.source.ns, probe.version].sendto(head + INIT, (other[0], 0))
                continue
            kind = socket.SOCK_STREAM if probe.protocol == TCP else socket.SOCK_DGRAM
            sock = socket.socket(FAMILIES[probe.version], kind)
            sock.setblocking(False)
            sock.bind(own)
            opened.append(sock)
            with contextlib.suppress(BlockingIOError):
                sock.connect(other)
            if kind == socket.SOCK_STREAM:
                self._on_ready[sock.fileno()] = self._connected(sock, where)
                self._poll.register(sock, select.EPOLLOUT)
            else:
                sock.send(b"?")
                self._on_ready[sock.fileno()] = self._answered(sock, where)
                self._poll.register(sock, select.EPOLLIN)
        return opened

    def _forget(self, sock: socket.socket) -> None:
        if self._on_ready.pop(sock.fileno(), None) is not None:
            self._poll.unregister(sock)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        sock.close()

    def _settle(self, where: Drop, error: int = 0) -> None:
        probe = self._waiting.pop(where, None)
        if probe is None:
            return
        if error:
            self._outcome.failed[probe] = errno.errorcode[error]
        else:
            self._outcome.through.add(probe)

    def _connected(self, sock: socket.socket, where: Drop) -> Callable[[], None]:
        def ready() -> None:
            self._settle(where, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            self._on_ready.pop(sock.fileno(), None)
            self._poll.unregister(sock)

        return ready

    def _answered(self, sock: socket.socket, where: Drop) -> Callable[[], None]:
        def ready() -> None:
            try:
                sock.recv(64)
            except OSError as failure:
                self._settle(where, failure.errno or errno.EIO)
            else:
                self._settle(where)

        return ready

    def _echo(self, datagrams: socket.socket, own: tuple[str, int]) -> Callable[[], None]:
        def ready() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, peer = datagrams.recvfrom(64)
                    datagrams.sendto(data, peer)
                    where: Drop = (peer[0], own[0], UDP, peer[1], own[1])
                    probe = self._waiting.get(where)
                    if probe is not None and isinstance(probe.source, Stranger):
                        # The answer to a stranger's datagram is masqueraded: it knows it not.
                        self._settle(where)

        return ready

    def _hear_sctp(self, raw: socket.socket, own: str, version: int) -> Callable[[], None]:
        def ready() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet, peer = raw.recvfrom(2048)
                    begin = (packet[0] & 15) * 4 if version == 4 else 0
                    source, target = struct.unpack_from("!HH", packet, begin)
                    self._settle((peer[0], own, SCTP, source, target))

        return ready


def accept_all(listener: socket.socket) -> Callable[[], None]:
    """Return a function that takes what connected and closes it."""

    def ready() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                conn, _ = listener.accept()
                conn.close()

    return ready
