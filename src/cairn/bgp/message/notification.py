"""NOTIFICATION: why the sender closes the session.

    code:u8 subcode:u8 data  <->  Notification

Invariants  Unknown codes and subcodes are kept as numbers.
Standards   RFC 4271 s4.5; RFC 9003 (shutdown communication)
"""

from dataclasses import dataclass

from cairn.bgp.error import Cease, ErrorCode, spell
from cairn.wire import Reader, Writer

MAX_COMMUNICATION_BYTES = 255
WITH_COMMUNICATION = frozenset({Cease.ADMINISTRATIVE_SHUTDOWN, Cease.ADMINISTRATIVE_RESET})


@dataclass(frozen=True, slots=True)
class Notification:
    """The last message of a session."""

    code: int
    """What was broken (ErrorCode, or a number not known here)."""
    subcode: int = 0
    """How, within the code."""
    data: bytes = b""
    """What the code's standard says; often the offending octets."""

    def __str__(self) -> str:
        words = spell(self.code, self.subcode)
        said = self.communication
        return f"{words} ({said})" if said else words

    @property
    def communication(self) -> str:
        """The shutdown communication; empty if there is none or it is not UTF-8."""
        if self.code != ErrorCode.CEASE or self.subcode not in WITH_COMMUNICATION or not self.data:
            return ""
        length = self.data[0]
        text = self.data[1 : 1 + length].decode("utf-8", "replace")
        # It ends up on a terminal: what does not print is shown escaped (RFC 9003 s5).
        return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def shutdown(subcode: Cease, said: str) -> Notification:
    """Return a Cease with the communication `said`, cut at a character to 255 octets."""
    octets = said.encode()[:MAX_COMMUNICATION_BYTES].decode("utf-8", "ignore").encode()
    data = Writer().u8(len(octets)).put(octets).done() if octets else b""
    return Notification(ErrorCode.CEASE, subcode, data)


def read_notification(body: bytes) -> Notification:
    """Return the notification; raises Malformed below two octets."""
    wire = Reader(body)
    return Notification(wire.u8(), wire.u8(), wire.rest())


def write_notification(value: Notification) -> bytes:
    """Return the body."""
    return Writer().u8(value.code).u8(value.subcode).put(value.data).done()
