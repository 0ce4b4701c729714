"""The UDP sockets of BFD: one to hear on per local address, one to speak with per session.

    address  ->  non-blocking sockets;  socket  ->  (octets, source, TTL)

Standards   RFC 5881 s4 (ports 3784 and 49152 up, one source port per session), s5 (TTL 255),
            RFC 2474 (CS6)
Not here    What the packets say (cairn.bfd).
"""

import errno
import random
import socket
import sys

from cairn.net import Address, parse_address

PORT = 3784
SOURCE_PORTS = 49152, 65535
TTL = 255
DSCP_CS6 = 0xC0
ATTEMPTS = 64
LONGEST_BYTES = 512
IP_RECVTTL = 12
INT_BYTES = 4

Datagram = tuple[bytes, Address, int]


def open_listener(local: Address) -> socket.socket:
    """Return a socket that hears BFD on one address; raises OSError."""
    sock = _socket(local)
    try:
        if local.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.bind((str(local), PORT))
    except OSError:
        sock.close()
        raise
    return sock


def open_sender(local: Address) -> socket.socket:
    """Return a socket that sends one session's packets; raises OSError.

    It is not connected: an ICMP error about one packet would cost the next.
    """
    sock = _socket(local)
    try:
        if local.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, DSCP_CS6)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, DSCP_CS6)
        _bind_source(sock, local)
    except OSError:
        sock.close()
        raise
    return sock


def receive(sock: socket.socket) -> Datagram | None:
    """Return the next datagram that waits; None if there is none."""
    try:
        data, ancillary, _, source = sock.recvmsg(LONGEST_BYTES, socket.CMSG_SPACE(INT_BYTES))
    except (BlockingIOError, InterruptedError):
        return None
    octets = next((value for _, _, value in ancillary if len(value) == INT_BYTES), b"")
    ttl = int.from_bytes(octets, sys.byteorder)
    return data, parse_address(source[0].partition("%")[0]), ttl


def _socket(local: Address) -> socket.socket:
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _bind_source(sock: socket.socket, local: Address) -> None:
    for attempt in range(ATTEMPTS):
        try:
            sock.bind((str(local), random.randint(*SOURCE_PORTS)))  # noqa: S311
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == ATTEMPTS - 1:
                raise
        else:
            return
