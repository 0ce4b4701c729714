"""Give a BFD monitor its sockets and its clock, in a thread of its own.

    bfd.Monitor  <->  UDP sockets, a monotonic clock
    sessions wanted in  ->  changes of state out, in whatever thread runs `on_changes`

A thread, and not the process's event loop, because a neighbour gives us up after 600 ms: a large
BGP state that is read meanwhile must not look like death. What waits on the sockets is read before
a timer may fire, so that our own delay is never taken for the neighbour's silence.

Invariants  The monitor is touched by the thread alone; others hand it functions to run there.
            An address that cannot be listened on costs its own sessions and is said once.
Cost        Per packet one call into the monitor; some 10 packets a second per neighbour at 200 ms.
Standards   RFC 5881
"""

import contextlib
import logging
import os
import queue
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from cairn.bfd.monitor import Discard, Monitor
from cairn.bfd.packet import State
from cairn.bfd.session import Change, SessionConfig
from cairn.drive.bfd_socket import PORT, open_listener, open_sender, receive
from cairn.net import Address

IDLE_S = 5.0
RETRY_S = 5.0
"""How soon an address that could not be listened on is tried again."""
NICENESS = -15
JOIN_S = 2.0
MOST_PER_WAKE = 256
PAUSE_S = 0.05

log = logging.getLogger("bfd")

Snapshot = Mapping[Address, tuple[State, State, bool]]
"""Per neighbour: our state, the state that it told, whether it was ever Up."""
NOT_YET = State.DOWN, State.DOWN, False


class BfdDriver:
    """Runs one monitor; `on_changes` is called in the driver's thread."""

    def __init__(self, on_changes: Callable[[Sequence[Change]], None]) -> None:
        self._on_changes = on_changes
        self._monitor = Monitor(random.random)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._asked: frozenset[Address] = frozenset()
        self._wanted: Mapping[Address, SessionConfig] = {}
        self._listeners: dict[Address, socket.socket] = {}
        self._senders: dict[tuple[Address, Address], socket.socket] = {}
        self._said: set[str] = set()
        self._retry_at: float | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="bfd", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread.start()

    def configure(self, wanted: Mapping[Address, SessionConfig]) -> None:
        """Make `wanted` the sessions, by the neighbour's address."""
        self._asked = frozenset(wanted)
        self._call(lambda: self._configure(wanted))

    def snapshot(self) -> Snapshot:
        """Return the state of every session that is wanted, running yet or not.

        A moment's truth, safe from any thread.
        """
        sessions = dict(self._monitor.sessions)
        running = {
            remote: (session.state, session.remote_state, session.was_up)
            for remote, session in sessions.items()
        }
        return {remote: running.get(remote, NOT_YET) for remote in self._asked}

    def shut_down(self) -> None:
        """Leave every session on purpose and end the thread."""
        self._call(self._stop)
        self._thread.join(JOIN_S)

    # From here on: in the thread.

    def _call(self, function: Callable[[], None]) -> None:
        self._calls.put(function)
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # only a wish: without it delays are merely likelier
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stopped:
            try:
                self._turn()
            except Exception as error:  # a thread that ends would look like death to all others
                self._say(f"BFD: {type(error).__name__}: {error}; going on")
                time.sleep(PAUSE_S)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience_s()):
            self._read(key.data)
        while not self._calls.empty():
            self._calls.get()()
        now = time.monotonic()
        if self._retry_at is not None and now >= self._retry_at:
            self._configure(self._wanted)
        self._monitor.expire(now)
        if not self._stopped:
            self._flush()

    def _patience_s(self) -> float:
        times = [t for t in (self._monitor.deadline, self._retry_at) if t is not None]
        return max(0.0, min(times) - time.monotonic()) if times else IDLE_S

    def _read(self, sock: socket.socket | None) -> None:
        if sock is None:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
            return
        for _ in range(MOST_PER_WAKE):
            try:
                datagram = receive(sock)
            except OSError as error:
                self._say(f"BFD cannot receive: {error.strerror}")
                return
            if datagram is None:
                return
            data, source, ttl = datagram
            refused = self._monitor.receive(data, source, ttl, time.monotonic())
            if refused is not None:
                self._refused(refused, source)

    def _refused(self, why: Discard, source: Address) -> None:
        # A neighbour that has begun before we were told of it, or goes on after: no news.
        if why not in (Discard.UNKNOWN_NEIGHBOUR, Discard.UNKNOWN_DISCRIMINATOR):
            self._say(f"BFD packet from {source} discarded: {why}")

    def _configure(self, wanted: Mapping[Address, SessionConfig]) -> None:
        self._wanted = wanted
        self._retry_at = None
        locals_ = {config.local for config in wanted.values()}
        for local in self._listeners.keys() - locals_:
            self._selector.unregister(self._listeners[local])
            self._listeners.pop(local).close()
        for local in locals_ - self._listeners.keys():
            self._listen(local)
        able = {r: c for r, c in wanted.items() if c.local in self._listeners}
        self._monitor.configure(able, time.monotonic())
        self._flush()
        pairs = {(config.local, remote) for remote, config in able.items()}
        for pair in self._senders.keys() - pairs:
            self._senders.pop(pair).close()

    def _listen(self, local: Address) -> None:
        try:
            listener = open_listener(local)
        except OSError as error:
            self._say(
                f"BFD cannot listen on {local}: {error.strerror}; nodes are judged by their "
                "readiness alone until it can (does another BFD daemon run here?)"
            )
            self._retry_at = time.monotonic() + RETRY_S
            return
        self._listeners[local] = listener
        self._selector.register(listener, selectors.EVENT_READ, listener)

    def _flush(self) -> None:
        for local, remote, octets in self._monitor.output():
            try:
                sender = self._senders.get((local, remote))
                if sender is None:
                    sender = self._senders[local, remote] = open_sender(local)
                sender.sendto(octets, (str(remote), PORT))
            except OSError:
                continue  # a link that is down: both sides notice by the silence
        changes = self._monitor.events()
        if changes:
            self._on_changes(changes)

    def _stop(self) -> None:
        self._monitor.shut_down(time.monotonic())
        self._flush()
        self._stopped = True
        for sock in (*self._listeners.values(), *self._senders.values()):
            sock.close()
        self._selector.close()

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)
