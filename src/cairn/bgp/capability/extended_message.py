"""Capability 6: messages of up to 65,535 octets are understood.

    no octets  <->  ExtendedMessage

Standards   RFC 8654 s3
"""

from dataclasses import dataclass

from cairn.bgp.capability.kind import CapabilityKind
from cairn.wire import Reader


@dataclass(frozen=True, slots=True)
class ExtendedMessage:
    """Messages longer than 4,096 octets are understood."""

    def __str__(self) -> str:
        return "extended message"


def read_extended_message(wire: Reader) -> ExtendedMessage:
    """Return the value; the capability has no contents."""
    return ExtendedMessage()


def write_extended_message(value: ExtendedMessage) -> bytes:
    """Return no octets."""
    return b""


KIND = CapabilityKind(
    code=6,
    name="extended message",
    type=ExtendedMessage,
    read=read_extended_message,
    write=write_extended_message,
    spec="RFC 8654 s3",
)
