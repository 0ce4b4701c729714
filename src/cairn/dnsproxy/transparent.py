"""Sockets that stand for others: listeners for steered traffic, senders with a pod's address.

    (address, port), mark  ->  socket

Invariants  Where the kernel refuses to let us use another's address we send with our own, and say
            so once.
Standards   linux/Documentation/networking/tproxy.rst, ip(7), ipv6(7)
"""

import errno
import logging
import socket
from collections.abc import Callable

from cairn.abi.policy import MARK_EGRESS_PROXY

LOG = logging.getLogger(__name__)

IP_TRANSPARENT, IP_RECVORIGDSTADDR, IP_BIND_ADDRESS_NO_PORT = 19, 20, 24
IPV6_RECVORIGDSTADDR, IPV6_TRANSPARENT = 74, 75
BUFFER_BYTES = 4 << 20
SO_RCVBUFFORCE = 33
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
DISCARD = 9
ANCILLARY_BYTES = socket.CMSG_SPACE(28)
CANNOT = frozenset({errno.EPERM, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT, errno.EINVAL})
"""What the kernel says where transparency is not to be had."""
NO_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""Likewise where there is no IPv6."""

_said: set[str] = set()


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address as text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen_both(
    listen: Callable[[socket.AddressFamily, int], socket.socket], port: int
) -> list[socket.socket]:
    """Return what `listen` opens for IPv4 and, where the node has it, IPv6; raises OSError."""
    opened: list[socket.socket] = []
    try:
        for family in LOOPBACK:
            try:
                opened.append(listen(family, port))
            except OSError as error:
                if family != socket.AF_INET6 or error.errno not in NO_FAMILY:
                    raise
                say_once(f"no DNS over IPv6: {error.strerror} for ::1")
    except OSError:
        for sock in opened:
            sock.close()
        raise
    return opened


def listen_datagrams(family: socket.AddressFamily, port: int) -> socket.socket:
    """Return a socket that receives datagrams steered to it, each with where it was meant for."""
    found = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        _make_transparent(found)
        _enlarge(found)
        if family == socket.AF_INET:
            found.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
        else:
            found.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
        found.bind((LOOPBACK[family], port))
    except OSError:
        found.close()
        raise
    return found


def listen_stream(family: socket.AddressFamily, port: int) -> socket.socket:
    """Return a listener that accepts connections steered to it."""
    found = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _make_transparent(found)
        found.bind((LOOPBACK[family], port))
        found.listen(1024)
    except OSError:
        found.close()
        raise
    return found


def meant_for(ancillary: list[tuple[int, int, bytes]]) -> tuple[str, int] | None:
    """Return where a steered datagram was meant for."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_RECVORIGDSTADDR:
            return socket.inet_ntop(socket.AF_INET, data[4:8]), data[2] << 8 | data[3]
        if level == socket.IPPROTO_IPV6 and kind == IPV6_RECVORIGDSTADDR:
            return socket.inet_ntop(socket.AF_INET6, data[8:24]), data[2] << 8 | data[3]
    return None


def ask_as(address: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that sends to servers with a pod's address, from a port of its own."""
    found = socket.socket(family_of(address), kind | socket.SOCK_NONBLOCK)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK_EGRESS_PROXY)
        _make_transparent(found)
        if kind == socket.SOCK_STREAM:
            found.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            _enlarge(found)
        found.bind((address, 0))
    except OSError as error:
        if error.errno not in CANNOT:
            found.close()
            raise
        say_once(
            f"servers see this node's address and not the pod's: {error.strerror} for {address}"
        )
        found.close()
        found = socket.socket(family_of(address), kind | socket.SOCK_NONBLOCK)
        if kind == socket.SOCK_DGRAM:
            found.bind(("::" if family_of(address) == socket.AF_INET6 else "0.0.0.0", 0))  # noqa: S104
    return found


def answer_as(server: tuple[str, int]) -> socket.socket:
    """Return a socket that sends datagrams from a server's address and port.

    It is connected to a place from which nothing comes, and so takes neither what is meant for a
    server that may run on this node nor the next query of whom it answers; sendto() reaches anyone
    all the same.
    """
    family = family_of(server[0])
    found = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        _make_transparent(found)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(server)
        found.connect((LOOPBACK[family], DISCARD))
    except OSError:
        found.close()
        raise
    return found


def say_once(text: str) -> None:
    """Log a warning unless it was logged before."""
    if text not in _said and len(_said) < 100:
        _said.add(text)
        LOG.warning("%s", text)


def _make_transparent(found: socket.socket) -> None:
    if found.family == socket.AF_INET:
        found.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    else:
        found.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)


def _enlarge(found: socket.socket) -> None:
    try:
        found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    except OSError:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
