"""Give a BGP speaker its sockets and its clock.

    bgp.Speaker  <->  TCP connections, listeners, timers of the running event loop
    configuration, routes in  ->  events out

Everything that happens (octets, a connection, a timer) goes into the machine; then `_pump` moves
what the machine wants out: octets, connections to open or close, events, the next deadline.

Invariants  One event loop, one thread. The machine is never entered from within itself.
            A connection that the peer does not read is not written to beyond the high-water mark.
Cost        Per read: one call into the machine and one pass over the connections.
Standards   RFC 4271 s8 (the TCP side), RFC 2385 (MD5), RFC 2474 (CS6 for routing traffic)
Not here    The protocol (cairn.bgp), what to announce and to whom.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.capability.graceful_restart import GracefulRestart
from cairn.bgp.config import Connect, ConnectionId, PeerConfig, Refused
from cairn.bgp.event import Event
from cairn.bgp.speaker import Speaker
from cairn.bgp.transitions import State
from cairn.drive.bgp_socket import (
    address_of,
    listen_on,
    mark,
    open_connection,
    set_listener_key,
    why_not_connected,
)
from cairn.drive.tcp_md5 import clear_key
from cairn.net import Address, Network

LOG = logging.getLogger(__name__)

LINGER_S = 1.0
ACCEPT_PAUSE_S = 1.0
HIGH_WATER_BYTES = 1 << 20


class BgpDriver:
    """Runs one speaker on the running event loop."""

    def __init__(self, speaker: Speaker, on_events: Callable[[Sequence[Event]], None]) -> None:
        self.speaker = speaker
        self._on_events = on_events
        self._loop = asyncio.get_running_loop()
        self._connections: dict[ConnectionId, _Connection] = {}
        self._connecting: dict[ConnectionId, asyncio.Task[None]] = {}
        self._listeners: list[socket.socket] = []
        self._passwords: dict[Address | Network, str] = {}
        self._graceful: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self.refused: dict[str, int] = {}

    @property
    def now(self) -> float:
        """The time on the machine's clock."""
        return self._loop.time()

    def listen(self, addresses: Sequence[Address], port: int) -> None:
        """Accept connections on every address; raises ListenFailed."""
        for address in addresses:
            listener = listen_on(address, port)
            for peer, password in self._passwords.items():
                set_listener_key(listener, peer, password)
            self._listeners.append(listener)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def configure(self, peers: Mapping[str, PeerConfig]) -> None:
        """Make `peers` the peers; sessions whose configuration did not change stay up."""
        self._set_passwords({c.remote: c.password for c in peers.values() if c.password})
        self._graceful = frozenset(
            name for name, config in peers.items() if config.graceful_restart_s is not None
        )
        self.speaker.configure(peers, self.now)
        self._pump()

    def announce(self, routes: Mapping[Network, Attributes]) -> None:
        """Make `routes` the routes that we originate."""
        self.speaker.announce(routes, self.now)
        self._pump()

    def poke(self) -> None:
        """Move out what the machine wants after a call that was made to it directly."""
        self._pump()

    def queued_bytes(self, connection: ConnectionId) -> int:
        """Return how much waits in our own buffer for the peer to read."""
        found = self._connections.get(connection)
        return found.queued_bytes if found else 0

    async def shut_down(self, said: str, *, graceful: bool = False) -> None:
        """Stop for good: peers get an Administrative Shutdown with the words `said`.

        With `graceful`, sessions that agreed on graceful restart just lose their connection, so
        that the peer keeps our routes for the time agreed on (RFC 4724 s4).
        """
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()
        connections = list(self._connections.values())
        if graceful:
            spared = self._restartable()
            for connection, adopted in list(self._connections.items()):
                if adopted.remote in spared:
                    del self._connections[connection]
                    adopted.detach()
        self.speaker.shut_down(self.now, said=said)
        self._pump()
        if self._timer:
            self._timer.cancel()
        attempts = list(self._connecting.values())
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        await asyncio.gather(*(connection.gone.wait() for connection in connections))

    def _restartable(self) -> set[Address]:
        """Return the addresses of the peers that keep our routes while we restart."""
        return {
            peer.remote
            for peer in self.speaker.peers()
            if peer.state is State.ESTABLISHED
            and peer.template in self._graceful
            and any(isinstance(one, GracefulRestart) for one in peer.capabilities)
        }

    # What happens on sockets.

    def received(self, connection: ConnectionId, data: bytes) -> None:
        """Take octets from a peer."""
        self.speaker.receive(connection, data, self.now)
        self._pump()

    def lost(self, connection: ConnectionId) -> None:
        """Take the end of a connection that the machine did not ask for."""
        if self._connections.pop(connection, None) is not None:
            self.speaker.closed(connection, self.now)
            self._pump()

    def writable(self) -> None:
        """Take that a peer reads again."""
        self._pump()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, remote = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EINTR):
                LOG.error("BGP cannot accept a connection: %s", error.strerror)
                # What waits stays readable: asking again at once would spin.
                self._loop.remove_reader(listener.fileno())
                self._loop.call_later(ACCEPT_PAUSE_S, self._listen_again, listener)
            return
        sock.setblocking(False)
        peer, local = address_of(remote), address_of(sock.getsockname())
        answer = self.speaker.accepted(peer, local, self.now)
        if isinstance(answer, Refused):
            self.refused[str(peer)] = self.refused.get(str(peer), 0) + 1
            LOG.warning("BGP connection from %s refused: %s", peer, answer.reason)
            sock.close()
        else:
            self._adopt(answer, sock, peer)
        self._pump()

    def _listen_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _adopt(self, connection: ConnectionId, sock: socket.socket, remote: Address) -> None:
        adopted = _Connection(self, connection, remote)
        self._connections[connection] = adopted
        adopted.opening = self._loop.create_task(
            _attach(self._loop, adopted, sock), name=f"bgp-{connection}"
        )

    async def _connect(self, wanted: Connect) -> None:
        try:
            sock = await open_connection(self._loop, wanted)
        except OSError as error:  # TimeoutError is one
            self._connecting.pop(wanted.connection, None)
            self.speaker.connect_failed(
                wanted.connection, why_not_connected(error, wanted), self.now
            )
        else:
            self._connecting.pop(wanted.connection, None)
            self._adopt(wanted.connection, sock, wanted.remote)
            local = address_of(sock.getsockname())
            self.speaker.connected(wanted.peer, wanted.connection, local=local, now=self.now)
        self._pump()

    # What the machine wants.

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            again = True
            while again:
                again = self._pump_once()
        finally:
            self._pumping = False
        self._set_timer()

    def _pump_once(self) -> bool:
        """Move everything out once; return whether that may have made more to move."""
        for wanted in self.speaker.wanted_connections():
            self._connecting[wanted.connection] = self._loop.create_task(self._connect(wanted))
        for connection, adopted in self._connections.items():
            if adopted.ready:
                adopted.write(self.speaker.output(connection))
        closing = self.speaker.closing()
        for connection in closing:
            attempt = self._connecting.pop(connection, None)
            if attempt is not None:
                attempt.cancel()
            gone = self._connections.pop(connection, None)
            if gone is not None:
                gone.write(self.speaker.output(connection))
                gone.detach()
            self.speaker.closed(connection, self.now)
        events = self.speaker.events()
        if events:
            self._on_events(events)
        return bool(closing or events)

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        deadline = self.speaker.deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.speaker.expire(self.now)
        self._pump()

    # Passwords.

    def _set_passwords(self, wanted: dict[Address | Network, str]) -> None:
        for listener in self._listeners:
            for peer in self._passwords.keys() - wanted.keys():
                clear_key(listener, peer)
            for peer, password in wanted.items():
                if self._passwords.get(peer) != password:
                    set_listener_key(listener, peer, password)
        self._passwords = wanted


class _Connection(asyncio.Protocol):
    """One TCP connection of the speaker."""

    def __init__(self, driver: BgpDriver, connection: ConnectionId, remote: Address) -> None:
        self.remote = remote
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._id = connection
        self._transport: asyncio.Transport | None = None
        self._early = bytearray()
        self._attached = True
        self._paused = False
        self.opening: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the peer reads what we write."""
        return not self._paused

    @property
    def queued_bytes(self) -> int:
        """Octets in our own buffer."""
        return self._transport.get_write_buffer_size() if self._transport else len(self._early)

    def write(self, data: bytes) -> None:
        """Send `data`, after what was sent before."""
        if not data:
            return
        if self._transport is None:
            self._early += data
        else:
            self._transport.write(data)

    def detach(self) -> None:
        """Close once everything is sent; the driver hears no more from this connection.

        Only our direction is shut first: closing a socket that holds unread octets would reset the
        connection and could destroy the NOTIFICATION on its way.
        """
        self._attached = False
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(OSError):  # the peer was faster
            self._transport.write_eof()
        self._loop.call_later(LINGER_S, self._transport.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if self._early:
            self._transport.write(bytes(self._early))
            self._early.clear()
        if not self._attached:
            self.detach()

    def data_received(self, data: bytes) -> None:
        if self._attached:
            self._driver.received(self._id, data)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._attached:
            self._driver.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        if self._attached:
            self._driver.lost(self._id)


async def _attach(
    loop: asyncio.AbstractEventLoop, connection: _Connection, sock: socket.socket
) -> None:
    """Hand a connected socket to the event loop."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mark(sock)
        await loop.connect_accepted_socket(lambda: connection, sock)
    except OSError as error:
        sock.close()
        connection.connection_lost(error)
