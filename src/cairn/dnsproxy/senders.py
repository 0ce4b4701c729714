"""Sockets by which answers leave over UDP, each with its server's own address and port.

    octets, client, server  ->  a datagram from the server's address to the client

Where another process of this node is bound to the server's address and does not share it, as a
name server on the node may be, the datagram is made by hand and sent raw; what does not fit into
one packet then is cut.

Invariants  At most MOST_SENDERS sockets; who was not used for longest is closed first.
Standards   RFC 768, RFC 8200 s8.1 (checksums), raw(7)
"""

import errno
import socket
from collections import OrderedDict

from cairn.dns.answer import HEADER_OCTETS, TRUNCATED
from cairn.dns.pending import Place
from cairn.dnsproxy.transparent import answer_as, family_of

MOST_SENDERS = 256
UDP_OCTETS = 8
HOPS = 64
DO_NOT_FRAGMENT = 0x4000


class Senders:
    """One socket for each server."""

    def __init__(self) -> None:
        self._by_server: OrderedDict[Place, socket.socket] = OrderedDict()
        self._taken: set[Place] = set()
        self._raw: dict[int, socket.socket] = {}

    def send(self, octets: bytes, client: Place, server: Place) -> None:
        """Send one datagram; raises OSError."""
        sender = self._by_server.get(server)
        if sender is None:
            if server in self._taken:
                self._send_raw(octets, client, server)
                return
            try:
                sender = self._by_server[server] = answer_as(server)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                if len(self._taken) < MOST_SENDERS:
                    self._taken.add(server)
                self._send_raw(octets, client, server)
                return
            if len(self._by_server) > MOST_SENDERS:
                self._by_server.popitem(last=False)[1].close()
        else:
            self._by_server.move_to_end(server)
        sender.sendto(octets, client)

    def _send_raw(self, octets: bytes, client: Place, server: Place) -> None:
        family = family_of(server[0])
        raw = self._raw.get(family)
        if raw is None:
            raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            raw.setblocking(False)
            self._raw[family] = raw
        try:
            raw.sendto(packet(octets, server, client), (client[0], 0))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            raw.sendto(packet(cut(octets), server, client), (client[0], 0))


def cut(octets: bytes) -> bytes:
    """Return an answer's header and question alone, so that the client asks over TCP."""
    end = HEADER_OCTETS
    while octets[end]:
        end += octets[end] + 1
    flags = bytes((octets[2] | TRUNCATED, octets[3]))
    return octets[:2] + flags + b"\0\1" + bytes(6) + octets[HEADER_OCTETS : end + 5]


def packet(octets: bytes, source: Place, destination: Place) -> bytes:
    """Return a whole IP packet that carries `octets` over UDP."""
    family = family_of(source[0])
    ends = socket.inet_pton(family, source[0]) + socket.inet_pton(family, destination[0])
    size = UDP_OCTETS + len(octets)
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    head = ports + size.to_bytes(2, "big")
    pseudo = ends + size.to_bytes(4, "big") + socket.IPPROTO_UDP.to_bytes(4, "big")
    udp = head + checksum(pseudo + head + bytes(2) + octets).to_bytes(2, "big") + octets
    if family == socket.AF_INET6:
        first = b"\x60\0\0\0" + size.to_bytes(2, "big") + bytes((socket.IPPROTO_UDP, HOPS))
        return first + ends + udp
    # The kernel fills in length, identification and checksum (raw(7)).
    first = b"\x45\0\0\0\0\0" + DO_NOT_FRAGMENT.to_bytes(2, "big")
    return first + bytes((HOPS, socket.IPPROTO_UDP, 0, 0)) + ends + udp


def checksum(octets: bytes) -> int:
    """Return the Internet checksum, never 0, which over UDP would mean none (RFC 768)."""
    # A number is congruent to the sum of its 16-bit digits, modulo one less than their base.
    total = int.from_bytes(octets + b"\0" * (len(octets) % 2), "big") % 0xFFFF
    return 0xFFFF - total or 0xFFFF
