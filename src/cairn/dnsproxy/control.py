"""The proxy's control socket: states come in, views go out, one JSON line each.

    line  ->  answer(line)  ->  line

Invariants  A client that does not read, or sends a line above LINE_LIMIT_BYTES, is dropped; the
            queries never wait for it.
            A socket file of a process that is gone is replaced; one that is alive is an error.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from cairn.dnsproxy.loop import READ, WRITE, Loop

LOG = logging.getLogger("dns")

LINE_LIMIT_BYTES = 64 << 20
READ_BYTES = 1 << 20
BACKLOG_LIMIT_BYTES = 1 << 20
"""What may wait for a client that is told of what happens."""
PATIENCE_S = 1.0
"""How long one that still answers may take to go."""
PAUSE_S = 0.01


class Client:
    """One client; `answer` is called with each line."""

    def __init__(
        self, loop: Loop, sock: socket.socket, answer: "Callable[[bytes, Client], bytes]"
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._answer = answer
        self._in = bytearray()
        self._out = bytearray()
        loop.add(sock.fileno(), self._ready)

    def _ready(self, mask: int) -> None:
        try:
            if mask & ~WRITE:
                self._read()
            if self._out:
                with contextlib.suppress(BlockingIOError):
                    del self._out[: self._sock.send(self._out)]
            if self._sock.fileno() >= 0:
                self._loop.change(self._sock.fileno(), WRITE if self._out else READ)
        except OSError:
            self.close()

    def _read(self) -> None:
        octets = self._sock.recv(READ_BYTES)
        self._in += octets
        if not octets or len(self._in) > LINE_LIMIT_BYTES:
            self.close()
            return
        if b"\n" in octets:
            *lines, rest = self._in.split(b"\n")
            self._in = rest
            for line in lines:
                self._out += self._answer(bytes(line), self)

    @property
    def is_open(self) -> bool:
        """Whether it is still there."""
        return self._sock.fileno() >= 0

    def offer(self, line: bytes) -> bool:
        """Queue lines if its backlog has room; return whether it had."""
        if not self.is_open or len(self._out) + len(line) > BACKLOG_LIMIT_BYTES:
            return False
        self._out += line
        self._loop.change(self._sock.fileno(), WRITE)
        return True

    def close(self) -> None:
        """Let the client go."""
        if self._sock.fileno() >= 0:
            self._loop.remove(self._sock.fileno())
            self._sock.close()
        self._out.clear()


class Control:
    """Listens on one unix socket."""

    def __init__(self, loop: Loop, path: Path, answer: Callable[[bytes, Client], bytes]) -> None:
        self._loop = loop
        self._path = path
        self._answer = answer
        self._sock: socket.socket | None = None

    def open(self) -> None:
        """Listen; raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._clear()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(self._path))
        os.chmod(self._path, 0o600)
        self._sock.listen(16)
        self._loop.add(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Listen no more; the socket file goes."""
        if self._sock is not None:
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            self._path.unlink(missing_ok=True)

    def _accept(self, _: int) -> None:
        if self._sock is None:
            return
        try:
            sock, _peer = self._sock.accept()
        except OSError:
            return  # gone before we looked
        sock.setblocking(False)
        Client(self._loop, sock, self._answer)

    def _clear(self) -> None:
        """Remove the socket file of a process that is gone, or just going."""
        end = time.monotonic() + PATIENCE_S
        while self._path.is_socket():
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self._path))
                except FileNotFoundError:
                    return
                except ConnectionRefusedError:
                    self._path.unlink(missing_ok=True)
                    return
            if time.monotonic() > end:
                raise OSError(f"{self._path}: another process answers there; stop it first")
            time.sleep(PAUSE_S)
