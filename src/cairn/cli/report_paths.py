"""Probes from this node: who answers, whether large packets reach them, whether DNS works.

    addresses  ->  PathFact, DnsFact

All probes are sent at once, none may be fragmented; so a path that passes only small packets tells
in one round trip how large they may be.

Cost        a round trip; PATIENCE_S where somebody does not answer
Standards   RFC 1035 s4.1
"""

import os
import select
import socket
import struct
import time
from collections.abc import Sequence

from cairn.cli.report_echo import Echoes
from cairn.diagnose.facts import DnsFact, PathFact

PATIENCE_S = 0.6
DNS_NAME = "kubernetes.default.svc.cluster.local"
DNS_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


class Probes:
    """Echo requests of several sizes to several addresses, and one DNS question to each server."""

    def __init__(
        self, peers: Sequence[tuple[str, str]], servers: tuple[str, ...], mtu_bytes: int
    ) -> None:
        """Send everything; `peers`: names and addresses; raises OSError."""
        self._peers = peers
        self._mtu_bytes = mtu_bytes
        by: dict[int, list[str]] = {}
        for _, address in peers:
            by.setdefault(6 if ":" in address else 4, []).append(address)
        self._echoes = {v: Echoes(v, listed, mtu_bytes) for v, listed in by.items()}
        self._id = os.getpid() & 0xFFFF
        self._errors: dict[str, str] = {}
        self._dns = {server: self._ask(server) for server in servers}
        self._asked_s = time.monotonic()
        self._facts: dict[str, DnsFact] = {}

    def collect(self) -> tuple[tuple[PathFact, ...], tuple[DnsFact, ...]]:
        """Return what came back, waiting no longer than PATIENCE_S."""
        until = time.monotonic() + PATIENCE_S
        echoes = {one.socket: one for one in self._echoes.values()}
        while (left := until - time.monotonic()) > 0 and not self._complete():
            waiting = [*echoes, *(s for a, s in self._dns.items() if a not in self._facts)]
            ready, _, _ = select.select(waiting, [], [], left)
            for one in ready:
                if one in echoes:
                    echoes[one].hear()
                else:
                    self._hear_dns(one)
        for one in (*echoes, *self._dns.values()):
            one.close()
        paths = tuple(self._path(name, address) for name, address in self._peers)
        silent = DnsFact("", error=f"no answer within {PATIENCE_S} s")
        dns = tuple(
            self._facts.get(server) or DnsFact(server, error=silent.error) for server in self._dns
        )
        return paths, dns

    def _complete(self) -> bool:
        whole = all(one.complete for one in self._echoes.values())
        return whole and len(self._facts) == len(self._dns)

    def _path(self, name: str, address: str) -> PathFact:
        echoes = self._echoes[6 if ":" in address else 4]
        seen = echoes.answered[address]
        return PathFact(
            name,
            address,
            bool(seen),
            self._mtu_bytes,
            self._mtu_bytes in seen,
            max(seen, default=0),
            echoes.errors.get(address, ""),
        )

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
