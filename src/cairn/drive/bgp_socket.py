"""The TCP sockets of BGP: listening and connecting, marked, with the options a session needs.

    address, Connect  ->  non-blocking sockets, or OSError with what to do

Standards   RFC 2385 (MD5), RFC 2474 (CS6 for routing traffic)
Not here    What is said on them (drive.bgp).
"""

import asyncio
import errno
import os
import socket

from cairn.bgp.config import Connect
from cairn.drive.tcp_md5 import set_key
from cairn.net import Address, Network, parse_address

CONNECT_TIMEOUT_S = 10.0
LISTEN_BACKLOG = 128
DSCP_CS6 = 0xC0
IPV6_TCLASS = 67


class ListenFailed(OSError):
    """A port could not be listened on; the text says which, why and what to do."""


def listen_on(address: Address, port: int) -> socket.socket:
    """Return a socket that listens on one address; raises ListenFailed."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        mark(sock)
        sock.bind((str(address), port))
        sock.listen(LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        hint = LISTEN_HINTS.get(error.errno or 0, "check the listen addresses")
        raise ListenFailed(
            f"cannot listen on {address} port {port}: {error.strerror}: {hint}"
        ) from error
    return sock


LISTEN_HINTS = {
    errno.EADDRINUSE: "another BGP daemon runs here; stop it or choose another port",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "no interface has this address",
}


async def open_connection(loop: asyncio.AbstractEventLoop, wanted: Connect) -> socket.socket:
    """Return a socket that is connected as `wanted` says; raises OSError."""
    sock = _client(wanted)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.sock_connect(sock, (str(wanted.remote), wanted.port))
    except BaseException:
        sock.close()
        raise
    return sock


def why_not_connected(error: OSError, wanted: Connect) -> str:
    """Return in a line why a connection failed; asyncio's own text hides the system's."""
    if error.errno is not None:
        return os.strerror(error.errno)
    hint = "is the password the same on both ends?"
    if not wanted.password:
        hint = "a firewall, or a password on the other end only?"
    return f"no answer within {CONNECT_TIMEOUT_S:.0f} s: {hint}"


def _client(wanted: Connect) -> socket.socket:
    remote = wanted.remote
    family = socket.AF_INET if remote.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        mark(sock)
        if wanted.ttl is not None:
            sock.setsockopt(*TTL_OPTION[remote.version], wanted.ttl)
        if wanted.password:
            set_key(sock, remote, wanted.password)
        if wanted.local is not None:
            sock.bind((str(wanted.local), 0))
    except OSError:
        sock.close()
        raise
    return sock


TTL_OPTION = {
    4: (socket.IPPROTO_IP, socket.IP_TTL),
    6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}


def mark(sock: socket.socket) -> None:
    """Mark packets as network control, so that a full line does not starve the sessions."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, DSCP_CS6)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, DSCP_CS6)


def set_listener_key(listener: socket.socket, peer: Address | Network, password: str) -> None:
    """Set a key on a listener of the peer's own family."""
    if (listener.family == socket.AF_INET6) == (peer.version == 6):
        set_key(listener, peer, password)


def address_of(name: tuple[str, int]) -> Address:
    """Return the address in a socket's name, without an IPv6 zone."""
    return parse_address(name[0].partition("%")[0])
