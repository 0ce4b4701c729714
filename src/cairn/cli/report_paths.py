"""Probes from this node: who answers, whether large packets reach them, whether DNS works.

    addresses  ->  PathFact, DnsFact

All probes are sent at once, none may be fragmented; so a path that passes only small packets tells
in one round trip how large they may be.

Cost        a round trip; PATIENCE_S where somebody does not answer
Standards   RFC 792, RFC 4821 s7, RFC 1035 s4.1
"""

import os
import select
import socket
import struct
import time
from collections.abc import Mapping

from cairn.diagnose.facts import DnsFact, PathFact

PATIENCE_S = 0.6
SMALL_BYTES = 84
BETWEEN_BYTES = (1280, 1400, 1450, 1472, 1492, 4000)
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
ECHO_REQUEST, ECHO_REPLY = 8, 0
HEADERS_BYTES = 28
DNS_NAME = "kubernetes.default.svc.cluster.local"
DNS_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


class Probes:
    """Echo requests of several sizes to several addresses, and one DNS question to each server."""

    def __init__(self, peers: Mapping[str, str], servers: tuple[str, ...], mtu_bytes: int) -> None:
        """Send everything; `peers`: addresses by name."""
        self._peers = {name: a for name, a in peers.items() if ":" not in a}
        self._mtu_bytes = mtu_bytes
        self._answered: dict[str, set[int]] = {a: set() for a in self._peers.values()}
        self._errors: dict[str, str] = {}
        self._id = os.getpid() & 0xFFFF
        self._echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._echo.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        self._echo.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sizes = sorted({SMALL_BYTES, mtu_bytes, *(b for b in BETWEEN_BYTES if b < mtu_bytes)})
        for address in self._answered:
            for size in self._sizes:
                self._send(address, size)
        self._dns = {server: self._ask(server) for server in servers}
        self._asked_s = time.monotonic()
        self._facts: dict[str, DnsFact] = {}

    def collect(self) -> tuple[tuple[PathFact, ...], tuple[DnsFact, ...]]:
        """Return what came back, waiting no longer than PATIENCE_S."""
        until = time.monotonic() + PATIENCE_S
        while (left := until - time.monotonic()) > 0 and not self._complete():
            waiting = [self._echo, *(s for a, s in self._dns.items() if a not in self._facts)]
            ready, _, _ = select.select(waiting, [], [], left)
            for one in ready:
                if one is self._echo:
                    self._hear()
                else:
                    self._hear_dns(one)
        for one in (self._echo, *self._dns.values()):
            one.close()
        paths = tuple(self._path(name, address) for name, address in self._peers.items())
        silent = DnsFact("", error=f"no answer within {PATIENCE_S} s")
        dns = tuple(
            self._facts.get(server) or DnsFact(server, error=silent.error) for server in self._dns
        )
        return paths, dns

    def _complete(self) -> bool:
        whole = all(len(sizes) == len(self._sizes) for sizes in self._answered.values())
        return whole and len(self._facts) == len(self._dns)

    def _path(self, name: str, address: str) -> PathFact:
        seen = self._answered[address]
        return PathFact(
            name,
            address,
            bool(seen),
            self._mtu_bytes,
            self._mtu_bytes in seen,
            max(seen, default=0),
            self._errors.get(address, ""),
        )

    def _send(self, address: str, size: int) -> None:
        head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self._id, size & 0xFFFF)
        data = bytes(size - HEADERS_BYTES)
        packet = struct.pack("!BBHHH", ECHO_REQUEST, 0, _sum(head), self._id, size & 0xFFFF) + data
        try:
            self._echo.sendto(packet, (address, 0))
        except OSError as error:
            self._errors.setdefault(address, error.strerror or str(error))

    def _hear(self) -> None:
        data, (address, _) = self._echo.recvfrom(65536)
        start = (data[0] & 15) * 4
        kind, _, _, number, size = struct.unpack_from("!BBHHH", data, start)
        if kind == ECHO_REPLY and number == self._id and address in self._answered:
            self._answered[address].add(size)

    def _ask(self, server: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        asking = socket.socket(family, socket.SOCK_DGRAM)
        name = b"".join(bytes([len(w)]) + w.encode() for w in DNS_NAME.split(".")) + b"\0"
        question = struct.pack("!HHHHHH", self._id, 0x0100, 1, 0, 0, 0) + name
        try:
            asking.connect((server, 53))
            asking.send(question + struct.pack("!HH", 1, 1))
        except OSError as error:
            self._errors[server] = error.strerror or str(error)
        return asking

    def _hear_dns(self, asking: socket.socket) -> None:
        server = next(a for a, s in self._dns.items() if s is asking)
        took_ms = (time.monotonic() - self._asked_s) * 1000
        try:
            answer = asking.recv(4096)
        except OSError as error:
            self._facts[server] = DnsFact(server, error=error.strerror or str(error))
            return
        code = DNS_CODES.get(answer[3] & 15, str(answer[3] & 15)) if len(answer) > 3 else "garbled"
        self._facts[server] = DnsFact(server, True, code, "", round(took_ms, 1))


def _sum(head: bytes) -> int:
    total = sum(struct.unpack(f"!{len(head) // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)
