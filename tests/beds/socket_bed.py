"""Namespaces with sockets that talk to backends, as if connect() had been translated.

socket_bed()  ->  SocketBed: listen, connect, end
"""

import errno
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cairn.abi.structs import SocketKey, SocketOrigin
from cairn.apply.socket_end import SocketEnder
from cairn.libbpf import Map, MapShape, MapType
from cairn.linux import namespace
from cairn.net import Address, Protocol, parse_address

SO_COOKIE = 57
FAMILIES = {
    "127.0.0.1": socket.AF_INET,
    "::1": socket.AF_INET6,
    "::ffff:127.0.0.1": socket.AF_INET6,
}
ENDED = (errno.ECONNABORTED, errno.EDESTADDRREQ)
FRONTEND = SocketOrigin(parse_address("10.96.0.7"), 80, 1).write()


@dataclass
class SocketBed:
    """Namespaces with listeners, and a `socket_reverse` that tests fill as connect() would."""

    names: list[str]
    reverse: Map
    ender: SocketEnder
    stack: ExitStack

    @property
    def paths(self) -> list[str]:
        return [str(namespace.netns_path(name)) for name in self.names]

    def _socket(self, name: str, host: str, protocol: Protocol) -> socket.socket:
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        made = namespace.call_in(name, socket.socket, FAMILIES[host], kind)
        self.stack.callback(made.close)
        made.settimeout(5)
        return made

    def listen(self, name: str, host: str, protocol: Protocol) -> int:
        """Return the port of a backend."""
        made = self._socket(name, host, protocol)
        made.bind((host, 0))
        if protocol is Protocol.TCP:
            made.listen(16)
        return int(made.getsockname()[1])

    def connect(
        self, name: str, host: str, port: int, protocol: Protocol, *, translated: bool = True
    ) -> socket.socket:
        """Return a socket that is connected to a backend, as by a Service if `translated`."""
        made = self._socket(name, host, protocol)
        made.connect((host, port))
        if translated:
            cookie = int.from_bytes(made.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")
            key = SocketKey(cookie, place(host, port)[0], port, protocol)
            self.reverse.update(key.write(), FRONTEND)
        return made

    def end(self, host: str, port: int, protocol: Protocol) -> int:
        found = self.ender.find({place(host, port)}, protocol)
        return self.ender.end(found, protocol, self.paths)


def place(host: str, port: int) -> tuple[Address, int]:
    return parse_address(host.removeprefix("::ffff:")), port


def is_ended(sock: socket.socket) -> bool:
    """Return whether a process that uses the socket is told that it has ended."""
    try:
        sock.send(b"hello")
    except OSError as error:
        return error.errno in ENDED
    return False


@contextmanager
def socket_bed() -> Iterator[SocketBed]:
    """Make two namespaces and the iterators; take them down at the end."""
    with ExitStack() as stack:
        names = [f"ct-{os.getpid()}-{secrets.token_hex(3)}" for _ in range(2)]
        for name in names:
            stack.enter_context(namespace.temporary(name))
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        shape = MapShape(MapType.LRU_HASH, 32, 24, 1024, 0)
        reverse = stack.enter_context(Map.create(shape, "socket_reverse"))
        ender = SocketEnder.load(reverse)
        stack.callback(ender.close)
        yield SocketBed(names, reverse, ender, stack)
