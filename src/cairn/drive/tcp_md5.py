"""TCP MD5 signatures on sockets: keys for one peer, or for a network of peers on a listener.

    (socket, peer or network, key)  ->  the kernel signs and checks every segment

Invariants  A key is set before connect; on a listener it may come and go at any time, and the
            longest prefix wins. Accepted sockets inherit it.
            A wrong or missing key never resets a connection: it times out (RFC 2385 s2.0).
Standards   RFC 2385, linux/include/uapi/linux/tcp.h (struct tcp_md5sig)
"""

import errno
import socket
import sys
from ipaddress import IPv6Address

from cairn.net import Address, Network, parse_network

TCP_MD5SIG = 14
TCP_MD5SIG_EXT = 32
FLAG_PREFIX = 1
KEY_BYTES = 80
SOCKADDR_STORAGE_BYTES = 128


def set_key(sock: socket.socket, peer: Address | Network, password: str) -> None:
    """Sign and demand signatures with `password` towards `peer`.

    Raises  OSError: the kernel was built without TCP_MD5SIG, or the key is too long.
    """
    _write(sock, parse_network(str(peer)), password.encode())


def clear_key(sock: socket.socket, peer: Address | Network) -> None:
    """Forget the key of `peer`; one that was never set is no error."""
    try:
        _write(sock, parse_network(str(peer)), b"")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _write(sock: socket.socket, network: Network, key: bytes) -> None:
    length = network.prefixlen
    if sock.family == socket.AF_INET6 and network.version == 4:
        length += 96
    exact = network.prefixlen == network.max_prefixlen
    flags = 0 if exact else FLAG_PREFIX
    option = TCP_MD5SIG if exact else TCP_MD5SIG_EXT
    octets = (
        _socket_address(sock, network).ljust(SOCKADDR_STORAGE_BYTES, b"\0")
        + bytes([flags, 0 if exact else length])
        + len(key).to_bytes(2, sys.byteorder)
        + bytes(4)  # interface: any
        + key.ljust(KEY_BYTES, b"\0")
    )
    sock.setsockopt(socket.IPPROTO_TCP, option, octets)


def _socket_address(sock: socket.socket, network: Network) -> bytes:
    """Return a sockaddr of the socket's own family, with port 0."""
    address: Address = network.network_address
    if sock.family == socket.AF_INET6 and address.version == 4:
        address = IPv6Address(f"::ffff:{address}")
    head = int(sock.family).to_bytes(2, sys.byteorder) + bytes(2)
    return head + address.packed if address.version == 4 else head + bytes(4) + address.packed
