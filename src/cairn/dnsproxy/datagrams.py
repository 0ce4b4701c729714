"""Queries over UDP: from the pod to its server and back, each leg with the other's address.

    steered datagram  ->  Proxy.ask  ->  server;  answer  ->  Proxy.learn, Store.commit  ->  pod

Invariants  An answer leaves when its addresses are in the data plane, and not before.
            What waits, per pod and in all, is bounded (pending.py).
            A pod's queries leave from a port that changes every ROTATE_S (RFC 5452).
Cost        four system calls a query, about 60 µs in all
Units       times in seconds of the monotonic clock
"""

import os
import socket
from collections.abc import Callable

from cairn.dns.lookup import Outcome
from cairn.dns.pending import Pending, Place, Unasked, Waiting
from cairn.dns.proxy import Proxy
from cairn.dns.query import Query, Refusal
from cairn.dnsproxy.lookup_feed import LookupFeed
from cairn.dnsproxy.loop import Loop
from cairn.dnsproxy.sampled_log import SampledLog, say_refusal
from cairn.dnsproxy.senders import Senders
from cairn.dnsproxy.store import Store
from cairn.dnsproxy.transparent import (
    ANCILLARY_BYTES,
    LOOPBACK,
    ask_as,
    listen_both,
    listen_datagrams,
    meant_for,
)
from cairn.drive.metrics_text import Histogram
from cairn.wire import Malformed

QUERY_BYTES = 4096
"""A longer query is none: questions have 12 to 271 octets, options a few more."""
ANSWER_BYTES = 65535
BURST = 64
"""Datagrams of one socket before the others have their turn."""
ROTATE_S = 10.0
ROTATE_QUERIES = 2000


class _Asker:
    """The socket by which one pod's queries leave."""

    def __init__(self, sock: socket.socket, born: float) -> None:
        self.sock = sock
        self.born = born
        self.queries = 0
        self.pending = Pending(_number)


class Datagrams:
    """All of UDP."""

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
        self._lookups = lookups
        self._loop = loop
        self._proxy = proxy
        self._store = store
        self._log = log
        self._timeout_s = timeout_s
        self._listeners: dict[int, list[socket.socket]] = {}
        self._askers: dict[str, _Asker] = {}
        self._leaving: list[_Asker] = []
        self._senders = Senders()
        self._buffer = bytearray(ANSWER_BYTES)
        self.took = Histogram()
        """From a query to its server's answer."""

    @property
    def waiting(self) -> int:
        """How many queries wait for an answer."""
        return sum(len(a.pending) for a in (*self._askers.values(), *self._leaving))

    def listen(self, port: int) -> None:
        """Take queries that are steered to `port`; raises OSError."""
        opened = self._listeners[port] = listen_both(listen_datagrams, port)
        for sock in opened:
            self._loop.add(sock.fileno(), self._reader(port, sock))

    def close(self, port: int) -> None:
        """Take no more queries at `port`."""
        for sock in self._listeners.pop(port, ()):
            self._loop.remove(sock.fileno())
            sock.close()

    def tick(self, now: float) -> None:
        """Fail what waited too long; have askers leave by another port."""
        for client, asker in list(self._askers.items()):
            if now - asker.born > ROTATE_S or asker.queries > ROTATE_QUERIES:
                self._leaving.append(self._askers.pop(client))
        for asker in (*self._askers.values(), *self._leaving):
            for waiting in asker.pending.expire(now):
                self._proxy.counts["timeouts"] += 1
                failed = self._proxy.fail(waiting.query)
                self._tell(Outcome.FAILED, failed, waiting)
                self._send(failed, waiting.client, waiting.server)
        for asker in self._leaving:
            if not asker.pending:
                self._loop.remove(asker.sock.fileno())
                asker.sock.close()
        self._leaving = [asker for asker in self._leaving if asker.pending]

    def _reader(self, port: int, sock: socket.socket) -> Callable[[int], None]:
        ask, receive = self._ask, sock.recvmsg

        def ready(_: int) -> None:
            for _ in range(BURST):
                try:
                    octets, ancillary, flags, client = receive(QUERY_BYTES, ANCILLARY_BYTES)
                except BlockingIOError:
                    return
                except OSError as error:
                    self._log.warn("receive", "DNS queries: %s", error.strerror, now=self._loop.now)
                    return
                server = meant_for(ancillary)
                if server is None or (server[1] == port and server[0] in LOOPBACK.values()):
                    self._proxy.counts["rejected: not steered"] += 1
                elif flags & socket.MSG_TRUNC:
                    self._proxy.counts["rejected: malformed"] += 1
                else:
                    ask(port, octets, client[:2], server)

        return ready

    def _ask(self, port: int, octets: bytes, client: Place, server: Place) -> None:
        now = self._loop.now
        query = self._proxy.ask(port, octets)
        if isinstance(query, Refusal):
            say_refusal(self._log, query, client, now)
            if query.reply:
                if query.name:
                    self._lookups.tell(Outcome.REFUSED, client, server, query.reply, listener=port)
                self._send(query.reply, client, server)
            return
        asker = self._askers.get(client[0]) or self._new_asker(client[0])
        out = None
        if asker is not None:
            out = asker.pending.open(query, client, server, now + self._timeout_s)
        if asker is None or out is None:
            self._proxy.counts["limited"] += 1
            self._log.warn(
                ("limit", client[0]), "%s asks faster than its DNS server %s answers",
                client[0], server[0], now=now,
            )  # fmt: skip
            self._fail(query, client, server)
            return
        asker.queries += 1
        try:
            asker.sock.sendto(out, server)
        except OSError as error:
            asker.pending.cancel(out)
            self._proxy.counts["unreachable"] += 1
            self._log.warn(
                ("reach", server), "DNS server %s cannot be asked for %s: %s",
                server[0], client[0], error.strerror, now=now,
            )  # fmt: skip
            self._fail(query, client, server)

    def _fail(self, query: Query, client: Place, server: Place) -> None:
        failed = self._proxy.fail(query)
        self._lookups.tell(Outcome.FAILED, client, server, failed)
        self._send(failed, client, server)

    def _new_asker(self, client: str) -> _Asker | None:
        try:
            sock = ask_as(client, socket.SOCK_DGRAM)
        except OSError as error:
            self._log.warn("asker", "no socket for DNS of %s: %s", client, error.strerror,
                           now=self._loop.now)  # fmt: skip
            return None
        asker = self._askers[client] = _Asker(sock, self._loop.now)
        buffer, view = self._buffer, memoryview(self._buffer)

        def ready(_: int) -> None:
            for _ in range(BURST):
                try:
                    size, server = sock.recvfrom_into(buffer)
                except OSError:  # nothing is left, or ICMP told what a timeout will tell as well
                    return
                self._answer(asker, bytes(view[:size]), server[:2])

        self._loop.add(sock.fileno(), ready)
        return asker

    def _answer(self, asker: _Asker, octets: bytes, server: Place) -> None:
        waiting = asker.pending.close(octets, server)
        if isinstance(waiting, Unasked):
            self._proxy.counts[waiting.reason] += 1
            self._log.warn(
                ("unasked", server[0]), "a message from %s answers no query (%s): ignored",
                server[0], waiting.reason, now=self._loop.now,
            )  # fmt: skip
            return
        try:
            addresses = self._proxy.learn(
                waiting.query, waiting.question, octets, self._loop.now, client=waiting.client[0]
            )
        except Malformed as error:
            asker.pending.reopen(octets, waiting)
            self._log.warn(
                ("malformed", server[0]), "an answer from %s cannot be read (%s): ignored",
                server[0], error, now=self._loop.now,
            )  # fmt: skip
            return
        self.took.observe(self._loop.now - waiting.deadline + self._timeout_s)
        self._store.commit()
        outcome = Outcome.ANSWERED
        if self._store.unwritten and not self._store.unwritten.isdisjoint(addresses):
            octets = self._proxy.fail(waiting.query)
            outcome = Outcome.FAILED
        else:
            octets = waiting.query.octets[:2] + octets[2:]
        self._tell(outcome, octets, waiting)
        self._send(octets, waiting.client, waiting.server)

    def _tell(self, outcome: Outcome, octets: bytes, waiting: Waiting) -> None:
        took_s = self._loop.now - (waiting.deadline - self._timeout_s)
        self._lookups.tell(outcome, waiting.client, waiting.server, octets, took_s=took_s)

    def _send(self, octets: bytes, client: Place, server: Place) -> None:
        try:
            self._senders.send(octets, client, server)
        except OSError as error:
            self._proxy.counts["unsent"] += 1
            self._log.warn(
                ("send", client[0], server), "no answer of %s to %s: %s",
                server[0], client[0], error.strerror, now=self._loop.now,
            )  # fmt: skip


def _number() -> int:
    return int.from_bytes(os.urandom(2), "big")
