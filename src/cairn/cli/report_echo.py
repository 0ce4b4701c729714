"""Echo requests of several sizes to several hosts, of one IP version, none to be fragmented.

    addresses  ->  who answered which sizes

Cost        one system call for a packet
Standards   RFC 792, RFC 4443 s4.1, RFC 4821 s7
"""

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

SMALL_BYTES = 84
BETWEEN_BYTES = (1280, 1400, 1450, 1472, 1492, 4000)
PROBE = 3
"""IP_PMTUDISC_PROBE and IPV6_PMTUDISC_PROBE: never fragment, and do not heed what was learnt."""
BUFFER_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class _Version:
    """What differs between the IP versions."""

    family: socket.AddressFamily
    protocol: int
    discover: tuple[int, int]
    """Level and name of the option MTU_DISCOVER."""
    request: int
    reply: int
    headers_bytes: int
    """Of IP and ICMP."""


VERSIONS = {
    4: _Version(socket.AF_INET, socket.IPPROTO_ICMP, (socket.IPPROTO_IP, 10), 8, 0, 28),
    6: _Version(socket.AF_INET6, socket.IPPROTO_ICMPV6, (socket.IPPROTO_IPV6, 23), 128, 129, 48),
}


class Echoes:
    """Requests to all hosts of one IP version, and their answers."""

    def __init__(self, version: int, addresses: Iterable[str], mtu_bytes: int) -> None:
        """Send everything; raises OSError where there is no such IP version."""
        self._of = of = VERSIONS[version]
        self._id = os.getpid() & 0xFFFF
        self.sizes = sorted({SMALL_BYTES, mtu_bytes, *(b for b in BETWEEN_BYTES if b < mtu_bytes)})
        """Of the whole IP packets."""
        self.answered: dict[str, set[int]] = {address: set() for address in addresses}
        """The sizes that each host answered."""
        self.errors: dict[str, str] = {}
        """Why nothing could be sent."""
        self.socket = socket.socket(of.family, socket.SOCK_RAW, of.protocol)
        """To wait for."""
        self.socket.setsockopt(*of.discover, PROBE)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        for address in self.answered:
            for size in self.sizes:
                self._send(address, size)

    @property
    def complete(self) -> bool:
        """Whether everything was answered."""
        return all(len(sizes) == len(self.sizes) for sizes in self.answered.values())

    def _send(self, address: str, size: int) -> None:
        # The size stands in the sequence number; the data is zeros and adds nothing to the sum,
        # which for IPv6 the kernel makes, over its own header too.
        head = struct.pack("!BBHHH", self._of.request, 0, 0, self._id, size)
        packet = struct.pack("!BBHHH", self._of.request, 0, _sum(head), self._id, size)
        try:
            self.socket.sendto(packet + bytes(size - self._of.headers_bytes), (address, 0))
        except OSError as error:
            self.errors.setdefault(address, error.strerror or str(error))

    def hear(self) -> None:
        """Take one packet that has arrived."""
        data, peer = self.socket.recvfrom(65536)
        address = str(peer[0])
        start = (data[0] & 15) * 4 if self._of.family is socket.AF_INET else 0
        if len(data) < start + 8:
            return
        kind, _, _, number, size = struct.unpack_from("!BBHHH", data, start)
        if kind == self._of.reply and number == self._id and address in self.answered:
            self.answered[address].add(size)

    def close(self) -> None:
        """Listen no more."""
        self.socket.close()


def _sum(head: bytes) -> int:
    total = sum(struct.unpack(f"!{len(head) // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)
