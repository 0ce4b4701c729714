"""Sockets in namespaces, ended when the data plane says that their backend has gone."""

import errno
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from cairn.abi.structs import SocketKey, SocketOrigin
from cairn.apply.socket_end import SocketEnder
from cairn.libbpf import Map, MapShape, MapType
from cairn.linux import namespace
from cairn.net import Address, Protocol, parse_address

pytestmark = [pytest.mark.root, pytest.mark.bpf]

SO_COOKIE = 57
FAMILIES = {
    "127.0.0.1": socket.AF_INET,
    "::1": socket.AF_INET6,
    "::ffff:127.0.0.1": socket.AF_INET6,
}
ADDRESSES = pytest.mark.parametrize("host", FAMILIES)
PROTOCOLS = pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
ENDED = (errno.ECONNABORTED, errno.EDESTADDRREQ)
FRONTEND = SocketOrigin(parse_address("10.96.0.7"), 80, 1).write()


@dataclass
class Bed:
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


@pytest.fixture
def bed() -> Iterator[Bed]:
    with ExitStack() as stack:
        names = [f"ct-{os.getpid()}-{secrets.token_hex(3)}" for _ in range(2)]
        for name in names:
            stack.enter_context(namespace.temporary(name))
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        shape = MapShape(MapType.LRU_HASH, 32, 24, 1024, 0)
        reverse = stack.enter_context(Map.create(shape, "socket_reverse"))
        ender = SocketEnder.load(reverse)
        stack.callback(ender.close)
        yield Bed(names, reverse, ender, stack)


@PROTOCOLS
@ADDRESSES
def test_sockets_to_the_backend_end_in_every_namespace(
    bed: Bed, host: str, protocol: Protocol
) -> None:
    ports = {name: bed.listen(name, host, protocol) for name in bed.names}
    for name, port in ports.items():
        dead = [bed.connect(name, host, port, protocol) for _ in range(3)]
        assert bed.end(host, port, protocol) == 3
        assert all(is_ended(sock) for sock in dead)


@PROTOCOLS
def test_other_sockets_stay(bed: Bed, protocol: Protocol) -> None:
    name, host = bed.names[0], "127.0.0.1"
    gone, stays = bed.listen(name, host, protocol), bed.listen(name, host, protocol)
    dead = bed.connect(name, host, gone, protocol)
    direct = bed.connect(name, host, gone, protocol, translated=False)
    elsewhere = bed.connect(name, host, stays, protocol)
    assert bed.end(host, gone, protocol) == 1
    assert is_ended(dead)
    assert not is_ended(direct)
    assert not is_ended(elsewhere)


def test_one_protocol_at_a_time(bed: Bed) -> None:
    name, host = bed.names[0], "127.0.0.1"
    port = bed.listen(name, host, Protocol.UDP)
    datagrams = bed.connect(name, host, port, Protocol.UDP)
    assert bed.end(host, port, Protocol.TCP) == 0
    assert not is_ended(datagrams)
    assert bed.end(host, port, Protocol.UDP) == 1


def test_a_socket_that_has_moved_on_stays(bed: Bed) -> None:
    """An unconnected socket, or one that connected to another backend since, has another peer."""
    name, host = bed.names[0], "127.0.0.1"
    first, second = (bed.listen(name, host, Protocol.UDP) for _ in range(2))
    sock = bed.connect(name, host, first, Protocol.UDP)
    sock.connect((host, second))
    assert bed.end(host, first, Protocol.UDP) == 0
    assert not is_ended(sock)


def test_what_was_ended_is_forgotten(bed: Bed) -> None:
    name, host = bed.names[0], "127.0.0.1"
    port = bed.listen(name, host, Protocol.UDP)
    bed.connect(name, host, port, Protocol.UDP)
    bed.end(host, port, Protocol.UDP)
    assert bed.ender.find({place(host, port)}, Protocol.UDP) == {}


def test_a_namespace_that_has_gone_holds_up_nothing(bed: Bed) -> None:
    name, host = bed.names[1], "127.0.0.1"
    port = bed.listen(name, host, Protocol.UDP)
    dead = bed.connect(name, host, port, Protocol.UDP)
    found = bed.ender.find({place(host, port)}, Protocol.UDP)
    paths = ["/run/netns/ct-there-is-none", *bed.paths]
    assert bed.ender.end(found, Protocol.UDP, paths) == 1
    assert is_ended(dead)
