"""A rtnetlink socket: dumps, and requests in bulk with one acknowledgement per chunk.

    requests  ->  failures, each with its request's index and the kernel's own words

Cost        One system call each way per chunk of requests.
Standards   RFC 3549, linux/Documentation/userspace-api/netlink/intro.rst
"""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from cairn.netlink.message import (
    ERROR,
    HEADER,
    Flag,
    Kind,
    Message,
    read_attributes,
    read_messages,
    write_message,
)

SOL_NETLINK = 270
CAP_ACK = 10
EXT_ACK = 11
GET_STRICT_CHK = 12

CHUNK_MESSAGES = 256
CHUNK_BYTES = 60_000
RECEIVE_BYTES = 1 << 18
ANSWER_TIMEOUT_S = 10.0
DUMP_ATTEMPTS = 8


class NetlinkError(OSError):
    """A request that the kernel refused; the text holds the kernel's own explanation."""


@dataclass(frozen=True, slots=True)
class Request:
    """One change to ask for."""

    kind: Kind
    """What to do."""
    flags: Flag
    """Besides REQUEST."""
    payload: bytes
    """What to do it to."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that the kernel refused."""

    index: int
    """Its place among the requests."""
    errno: int
    """Why, as a number."""
    reason: str
    """Why, in words."""


class RouteSocket:
    """Talks to the routing subsystem of the namespace in which it was opened."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, GET_STRICT_CHK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> "RouteSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump(self, kind: Kind, payload: bytes) -> list[bytes]:
        """Return the payload of every object that a dump request yields.

        A dump during which the table changed may be torn, so it is made again.
        Raises  NetlinkError if the kernel refuses, or if the table never holds still.
        """
        for _ in range(DUMP_ATTEMPTS):
            found = self._dump_once(kind, payload)
            if found is not None:
                return found
        raise NetlinkError(errno.EAGAIN, "the table changed during every attempt to read it")

    def _dump_once(self, kind: Kind, payload: bytes) -> list[bytes] | None:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(write_message(kind, Flag.REQUEST | Flag.DUMP, sequence, payload))
        found: list[bytes] = []
        torn = False
        while True:
            for message in read_messages(self._receive()):
                if message.sequence != sequence:
                    continue
                torn = torn or bool(message.flags & Flag.DUMP_INTERRUPTED)
                if message.kind == Kind.DONE:
                    return None if torn else found
                if message.kind == Kind.ERROR:
                    failure = _failure(message, 0)
                    if failure:
                        raise NetlinkError(failure.errno, failure.reason)
                    continue
                found.append(message.payload)

    def execute(self, requests: Sequence[Request]) -> list[Failure]:
        """Make all changes, in order; return those that the kernel refused."""
        failures: list[Failure] = []
        start = 0
        while start < len(requests):
            end = _chunk_end(requests, start)
            failures += self._execute_chunk(requests, start, end)
            start = end
        return failures

    def require(self, requests: Sequence[Request], what: str) -> None:
        """Make all changes; raises NetlinkError, beginning with `what`, if one is refused."""
        for failure in self.execute(requests):
            raise NetlinkError(failure.errno, f"{what}: {failure.reason}")

    def _execute_chunk(self, requests: Sequence[Request], start: int, end: int) -> list[Failure]:
        first = self._sequence + 1
        self._sequence += end - start
        last = self._sequence
        octets = b"".join(
            write_message(
                request.kind,
                Flag.REQUEST | request.flags | (Flag.ACK if number == last else 0),
                number,
                request.payload,
            )
            for number, request in enumerate(requests[start:end], first)
        )
        self._socket.send(octets)
        failures = []
        while True:
            for message in read_messages(self._receive()):
                if not first <= message.sequence <= last or message.kind != Kind.ERROR:
                    continue
                failure = _failure(message, start + message.sequence - first)
                if failure:
                    failures.append(failure)
                if message.sequence == last:
                    return failures

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise NetlinkError(f"no answer from the kernel within {ANSWER_TIMEOUT_S} s") from error


def _chunk_end(requests: Sequence[Request], start: int) -> int:
    size = 0
    for index in range(start, min(len(requests), start + CHUNK_MESSAGES)):
        size += HEADER.size + len(requests[index].payload) + 3
        if size > CHUNK_BYTES and index > start:
            return index
    return min(len(requests), start + CHUNK_MESSAGES)


def _failure(message: Message, index: int) -> Failure | None:
    """Return what an error message says; None if it is an acknowledgement."""
    number = -ERROR.unpack_from(message.payload)[0]
    if number == 0:
        return None
    reason = os.strerror(number)
    if message.flags & Flag.ACK_TLVS:
        at = ERROR.size + HEADER.size
        if not message.flags & Flag.CAPPED:
            at += _request_payload_bytes(message.payload)
        words = read_attributes(message.payload[at:]).get(1, b"").rstrip(b"\0").decode()
        reason = f"{reason} ({words})" if words else reason
    return Failure(index, number, reason)


def _request_payload_bytes(payload: bytes) -> int:
    length = HEADER.unpack_from(payload, ERROR.size)[0]
    return int(length) - HEADER.size
