"""The common form of netlink messages: headers and type-length-value attributes.

    (kind, flags, payload)  <->  octets in the host's byte order

Units       lengths in octets; everything is padded to four
Standards   RFC 3549 s2, linux/include/uapi/linux/netlink.h
Not here    What the payloads of routes, links and neighbours hold.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
ERROR = struct.Struct("=i")

NESTED = 1 << 15
NETWORK_ORDER = 1 << 14


class Kind(IntEnum):
    """Message types of netlink itself and of rtnetlink."""

    ERROR = 2
    DONE = 3
    OVERRUN = 4
    NEW_LINK = 16
    GET_LINK = 18
    NEW_ADDRESS = 20
    GET_ADDRESS = 22
    NEW_ROUTE = 24
    DELETE_ROUTE = 25
    GET_ROUTE = 26
    NEW_NEIGHBOUR = 28
    DELETE_NEIGHBOUR = 29
    GET_NEIGHBOUR = 30


class Flag(IntFlag):
    """Flags of a request; the values of REPLACE and DUMP overlap by the standard's design."""

    REQUEST = 0x001
    MULTI = 0x002
    ACK = 0x004
    DUMP_INTERRUPTED = 0x010
    CAPPED = 0x100
    ACK_TLVS = 0x200
    REPLACE = 0x100
    EXCLUSIVE = 0x200
    CREATE = 0x400
    APPEND = 0x800
    DUMP = 0x300


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived."""

    kind: int
    """Message type."""
    flags: int
    """Header flags."""
    sequence: int
    """Number of the request that this answers."""
    payload: bytes
    """What follows the header."""


def write_message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Return one message with its header and padding."""
    length = HEADER.size + len(payload)
    header = HEADER.pack(length, kind, flags, sequence, 0)
    return header + payload + b"\0" * (-length % 4)


def read_messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            return
        yield Message(kind, flags, sequence, data[at + HEADER.size : at + length])
        at += length + (-length % 4)


def write_attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute with its header and padding."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def read_attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes by type; of a type that stands twice, the last."""
    found = {}
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & ~(NESTED | NETWORK_ORDER)] = data[at + ATTRIBUTE.size : at + length]
        at += length + (-length % 4)
    return found
