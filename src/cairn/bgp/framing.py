"""The stream of one connection, cut into messages.

    octets in pieces  ->  Framer  ->  Frame(type, body)
    type, body  ->  write_frame  ->  octets

Layout      marker:16 octets of ones, length:u16 (header included), type:u8, body
Invariants  A message that is whole is returned before an error behind it is raised.
Standards   RFC 4271 s4.1, s6.1; RFC 8654 (extended messages)
"""

from dataclasses import dataclass
from enum import IntEnum

from cairn.bgp.error import ErrorCode, HeaderError, RefreshError, Violation
from cairn.wire import Writer

MARKER = b"\xff" * 16
HEADER_BYTES = 19
MAX_MESSAGE_BYTES = 4096
MAX_EXTENDED_MESSAGE_BYTES = 65535


class MessageType(IntEnum):
    """The kinds of message."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


MIN_BYTES = {
    MessageType.OPEN: 29,
    MessageType.UPDATE: 23,
    MessageType.NOTIFICATION: 21,
    MessageType.KEEPALIVE: 19,
    MessageType.ROUTE_REFRESH: 23,
}
TYPES = frozenset(int(kind) for kind in MessageType)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, not yet decoded."""

    type: MessageType
    """Which message it is."""
    body: bytes
    """What follows the header."""


class Framer:
    """Collects octets and returns whole messages; raises Violation where there is none."""

    __slots__ = ("_at", "_buffer", "max_bytes")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self.max_bytes = MAX_MESSAGE_BYTES
        """Longest message accepted; raised once both sides announced extended messages."""

    def feed(self, data: bytes) -> None:
        """Take octets that arrived."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next(self) -> Frame | None:
        """Return the next whole message; None while it is incomplete."""
        at, buffer = self._at, self._buffer
        if len(buffer) - at < HEADER_BYTES:
            return None
        if buffer[at : at + 16] != MARKER:
            raise _violation(HeaderError.CONNECTION_NOT_SYNCHRONIZED, "marker is not all ones")
        length = int.from_bytes(buffer[at + 16 : at + 18], "big")
        kind = check_header(length, buffer[at + 18], self.max_bytes)
        if len(buffer) - at < length:
            return None
        self._at = at + length
        return Frame(kind, bytes(buffer[at + HEADER_BYTES : at + length]))


def check_header(length: int, number: int, max_bytes: int) -> MessageType:
    """Return the type of a message with this header; raises Violation (RFC 4271 s6.1)."""
    octets = Writer().u16(length).done()
    if not HEADER_BYTES <= length <= max_bytes:
        raise _violation(HeaderError.BAD_MESSAGE_LENGTH, f"message length {length}", octets)
    if number not in TYPES:
        data = Writer().u8(number).done()
        raise _violation(HeaderError.BAD_MESSAGE_TYPE, f"message type {number}", data)
    kind = MessageType(number)
    limit = MAX_MESSAGE_BYTES if kind in (MessageType.OPEN, MessageType.KEEPALIVE) else max_bytes
    exact = kind is MessageType.KEEPALIVE and length != HEADER_BYTES
    if length < MIN_BYTES[kind] or length > limit or exact:
        found = f"{kind.name} of {length} octets"
        if kind is MessageType.ROUTE_REFRESH:
            raise Violation(
                ErrorCode.ROUTE_REFRESH, RefreshError.INVALID_MESSAGE_LENGTH, found, at=16
            )
        raise _violation(HeaderError.BAD_MESSAGE_LENGTH, found, octets)
    return kind


def write_frame(kind: MessageType, body: bytes = b"") -> bytes:
    """Return the whole message."""
    return Writer().put(MARKER).u16(HEADER_BYTES + len(body)).u8(kind).put(body).done()


def _violation(subcode: HeaderError, found: str, data: bytes = b"") -> Violation:
    return Violation(ErrorCode.MESSAGE_HEADER, subcode, found, at=0, data=data)
