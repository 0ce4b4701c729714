"""Queries over TCP: each of a pod's connections has one of ours to its server.

    steered connection  ->  Proxy.ask  ->  server;  answers  ->  Proxy.learn, Store.commit  ->  pod

Invariants  An answer passes if its id and question are those of a query that waits on this
            connection; ids stay the pod's own.
            Nobody waits in memory without bound: who does not read is not read from.
            A server that goes fails what waits for it; the next query connects anew.
Standards   RFC 7766
Units       times in seconds of the monotonic clock
"""

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Callable

from cairn.dns.answer import belongs
from cairn.dns.lookup import Outcome
from cairn.dns.pending import Place
from cairn.dns.proxy import Proxy
from cairn.dns.query import Query, Refusal
from cairn.dnsproxy.lookup_feed import LookupFeed
from cairn.dnsproxy.loop import READ, WRITE, Loop
from cairn.dnsproxy.sampled_log import SampledLog, say_refusal
from cairn.dnsproxy.store import Store
from cairn.dnsproxy.transparent import LOOPBACK, ask_as, listen_both, listen_stream
from cairn.wire import Malformed

MOST_CONNECTIONS = 4096
MOST_OF_ONE = 64
"""Connections of one pod."""
MOST_WAITING = 128
"""Queries on one connection that wait; more are not read."""
MOST_BUFFERED_BYTES = 256 << 10
IDLE_S = 30.0
READ_BYTES = 65536
HEADER_OCTETS = 12


class _End:
    """One end of a pair: what came in and is no whole message yet, what is to go out."""

    def __init__(self, loop: Loop, sock: socket.socket, ready: Callable[[int], None]) -> None:
        self._loop = loop
        self._sock = sock
        self._in = bytearray()
        self._out = bytearray()
        self._events = READ
        self.is_over = False
        """Whether the other side sends nothing more."""
        loop.add(sock.fileno(), ready, READ)

    @property
    def backlog(self) -> int:
        """Octets that wait to go out."""
        return len(self._out)

    def receive(self) -> list[bytes]:
        """Return the whole messages that came; raises OSError."""
        try:
            octets = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        self.is_over = not octets
        self._in += octets
        found, at = [], 0
        while len(self._in) - at >= 2:
            end = at + 2 + (self._in[at] << 8 | self._in[at + 1])
            if end > len(self._in):
                break
            found.append(bytes(self._in[at + 2 : end]))
            at = end
        del self._in[:at]
        return found

    def send(self, message: bytes) -> None:
        """Queue a message."""
        self._out += len(message).to_bytes(2, "big") + message

    def flush(self, *, reads: bool, connecting: bool = False) -> None:
        """Send what can be sent; wait for what is wanted. Raises OSError."""
        if self._out and not connecting:
            with contextlib.suppress(BlockingIOError):
                del self._out[: self._sock.send(self._out)]
        wanted = (READ if reads and not self.is_over else 0) | (WRITE if self._out else 0)
        if wanted != self._events:
            self._events = wanted
            self._loop.change(self._sock.fileno(), wanted)

    def close(self) -> None:
        """Close at once."""
        self._loop.remove(self._sock.fileno())
        self._sock.close()


class _Pair:
    """One connection of a pod, and ours to the server it meant."""

    def __init__(self, streams: "Streams", port: int, sock: socket.socket, client: Place) -> None:
        self._streams = streams
        self._port = port
        self.client = client
        self._server: Place = sock.getsockname()[:2]
        self._near = _End(streams.loop, sock, self._guard(self._near_ready))
        self._far: _End | None = None
        self._far_sock: socket.socket | None = None
        self._connecting = False
        self._waiting: dict[tuple[int, bytes], Query] = {}
        self.used = streams.loop.now

    def _guard(self, step: Callable[[int], None]) -> Callable[[int], None]:
        def ready(mask: int) -> None:
            self.used = self._streams.loop.now
            try:
                step(mask)
                self._settle()
            except OSError:
                self.close()  # the pod's end is gone: nobody is left to answer

        return ready

    def _near_ready(self, _: int) -> None:
        for octets in self._near.receive():
            query = self._streams.proxy.ask(self._port, octets)
            if isinstance(query, Refusal):
                say_refusal(self._streams.log, query, self.client, self.used)
                if query.reply:
                    if query.name:
                        self._tell(Outcome.REFUSED, query.reply)
                    self._near.send(query.reply)
                continue
            self._waiting[_key(octets, query.question)] = query
            if self._far is None and not self._connect():
                self._fail_all()
            elif self._far is not None:
                self._far.send(octets)

    def _connect(self) -> bool:
        try:
            sock = ask_as(self.client[0], socket.SOCK_STREAM)
        except OSError as error:
            self._lost(str(error.strerror))
            return False
        status = sock.connect_ex(self._server)
        if status not in (0, errno.EINPROGRESS):
            sock.close()
            self._lost(errno.errorcode.get(status, str(status)))
            return False
        self._connecting = status != 0
        self._far_sock = sock
        self._far = _End(self._streams.loop, sock, self._guard(self._far_ready))
        return True

    def _far_ready(self, _: int) -> None:
        if self._far is None or self._far_sock is None:
            return
        try:
            if self._connecting:
                status = self._far_sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if status:
                    raise OSError(status, errno.errorcode.get(status, str(status)))
                self._connecting = False
            answers = self._far.receive()
        except OSError as error:
            self._drop_far()
            self._lost(str(error.strerror))
            self._fail_all()
            return
        for octets in answers:
            self._answer(octets)
        if self._far.is_over:
            self._drop_far()
            self._fail_all()

    def _answer(self, octets: bytes) -> None:
        key = _key_of_answer(octets, self._waiting)
        if key is None:
            self._streams.proxy.counts["unasked id"] += 1
            return
        query = self._waiting[key]
        try:
            addresses = self._streams.proxy.learn(
                query, key[1], octets, self.used, client=self.client[0]
            )
        except Malformed as error:
            self._streams.log.warn(
                ("malformed", self._server[0]), "an answer from %s cannot be read (%s): ignored",
                self._server[0], error, now=self.used,
            )  # fmt: skip
            octets, addresses = self._streams.proxy.fail(query), ()
        del self._waiting[key]
        self._streams.store.commit()
        outcome = Outcome.ANSWERED
        if not self._streams.store.unwritten.isdisjoint(addresses):
            octets = self._streams.proxy.fail(query)
            outcome = Outcome.FAILED
        self._tell(outcome, octets)
        self._near.send(octets)

    def _tell(self, outcome: Outcome, octets: bytes) -> None:
        self._streams.lookups.tell(
            outcome, self.client, self._server, octets, listener=self._port, tcp=True
        )

    def _settle(self) -> None:
        """Send what can go, read while there is room, close when all is said."""
        reads = len(self._waiting) < MOST_WAITING and self._near.backlog < MOST_BUFFERED_BYTES
        if self._far is not None:
            reads = reads and self._far.backlog < MOST_BUFFERED_BYTES
            try:
                self._far.flush(
                    reads=self._near.backlog < MOST_BUFFERED_BYTES or self._connecting,
                    connecting=self._connecting,
                )
            except OSError as error:
                self._drop_far()
                self._lost(str(error.strerror))
                self._fail_all()
        self._near.flush(reads=reads)
        if self._near.is_over and not self._waiting and not self._near.backlog:
            self.close()

    def _fail_all(self) -> None:
        for query in self._waiting.values():
            failed = self._streams.proxy.fail(query)
            self._tell(Outcome.FAILED, failed)
            self._near.send(failed)
        self._waiting.clear()

    def _lost(self, reason: str) -> None:
        self._streams.proxy.counts["unreachable"] += 1
        self._streams.log.warn(
            ("reach", self._server), "DNS server %s cannot be asked over TCP for %s: %s",
            self._server[0], self.client[0], reason, now=self.used,
        )  # fmt: skip

    def _drop_far(self) -> None:
        if self._far is not None:
            self._far.close()
        self._far = self._far_sock = None
        self._connecting = False

    def expire(self, now: float, timeout_s: float) -> None:
        """Fail what waits too long; close what nobody uses."""
        if self._waiting and now - self.used > timeout_s:
            self._streams.proxy.counts["timeouts"] += len(self._waiting)
            self.used = now
            self._drop_far()
            self._fail_all()
            self._guard(lambda _: None)(0)
        elif now - self.used > IDLE_S:
            self.close()

    def close(self) -> None:
        """Close both ends."""
        self._drop_far()
        self._near.close()
        self._streams.remove(self)


class Streams:
    """All of TCP."""

    def __init__(
        self,
        loop: Loop,
        proxy: Proxy,
        store: Store,
        log: SampledLog,
        lookups: LookupFeed,
        *,
        timeout_s: float,
    ) -> None:
        self.lookups = lookups
        self.loop = loop
        self.proxy = proxy
        self.store = store
        self.log = log
        self._timeout_s = timeout_s
        self._listeners: dict[int, list[socket.socket]] = {}
        self._pairs: set[_Pair] = set()
        self._clients: Counter[str] = Counter()

    def listen(self, port: int) -> None:
        """Take connections that are steered to `port`; raises OSError."""
        opened = self._listeners[port] = listen_both(listen_stream, port)
        for sock in opened:
            self.loop.add(sock.fileno(), self._acceptor(port, sock))

    def close(self, port: int) -> None:
        """Take no more connections at `port`; those that stand go on."""
        for sock in self._listeners.pop(port, ()):
            self.loop.remove(sock.fileno())
            sock.close()

    def tick(self, now: float) -> None:
        """Have each connection look at the time."""
        for pair in list(self._pairs):
            pair.expire(now, self._timeout_s)

    def remove(self, pair: _Pair) -> None:
        """Forget a connection that is closed."""
        if pair in self._pairs:
            self._pairs.discard(pair)
            self._clients[pair.client[0]] -= 1
            if not self._clients[pair.client[0]]:
                del self._clients[pair.client[0]]

    def _acceptor(self, port: int, sock: socket.socket) -> Callable[[int], None]:
        def ready(_: int) -> None:
            try:
                accepted, client = sock.accept()
            except OSError:
                return  # gone before we looked
            self._take(port, accepted, client[:2])

        return ready

    def _take(self, port: int, sock: socket.socket, client: Place) -> None:
        meant: Place = sock.getsockname()[:2]
        if meant[1] == port and meant[0] in LOOPBACK.values():
            self.proxy.counts["rejected: not steered"] += 1
        elif len(self._pairs) >= MOST_CONNECTIONS or self._clients[client[0]] >= MOST_OF_ONE:
            self.proxy.counts["limited"] += 1
            self.log.warn(
                ("connections", client[0]), "%s has too many connections to DNS servers",
                client[0], now=self.loop.now,
            )  # fmt: skip
        else:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[client[0]] += 1
            self._pairs.add(_Pair(self, port, sock, client))
            return
        sock.close()


def _key(octets: bytes, question: bytes) -> tuple[int, bytes]:
    return octets[0] << 8 | octets[1], question


def _key_of_answer(
    octets: bytes, waiting: dict[tuple[int, bytes], Query]
) -> tuple[int, bytes] | None:
    """Return whose answer this is: of that id, and of that question if it has one."""
    if len(octets) < HEADER_OCTETS:
        return None
    number = octets[0] << 8 | octets[1]
    for key in waiting:
        if key[0] == number and belongs(octets, key[1]):
            return key
    return None
