"""Envoy's access log: one line of JSON for each request, or connection that is not HTTP.

    octets of the file  ->  Request, ...

Invariants  A line that is no whole record is left out, and counted.
Not here    the format of the lines (compile/proxy.py)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

DENIED_ENDS = ("rbac_access_denied", "filter_chain_not_found")


class Line(msgspec.Struct, frozen=True):
    """One record, in the file's own names."""

    time: str = ""
    direction: str = ""
    listener: int = 0
    source: str = ""
    destination: str = ""
    protocol: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    server_name: str = ""
    rule: str = ""
    status: int = 0
    details: str = ""
    ended: str = ""
    flags: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0
    duration_ms: int = 0

    @property
    def denied(self) -> bool:
        """Whether no rule allowed it."""
        return self.rule == "denied" or any(
            text.startswith(DENIED_ENDS) for text in (self.details, self.ended)
        )

    @property
    def what(self) -> str:
        """What was asked for, in words."""
        if self.method:
            return f"{self.method} {self.host}{self.path}"
        return f"TLS {self.server_name}" if self.server_name else "no TLS"


@dataclass(frozen=True, slots=True)
class Read:
    """What a piece of the file came to."""

    lines: tuple[Line, ...]
    """Records, in order."""
    bad: int
    """How many lines are none."""


def read_lines(lines: Iterable[bytes]) -> Read:
    """Return the records of whole lines."""
    decoder = msgspec.json.Decoder(Line, strict=False)
    found, bad = [], 0
    for line in lines:
        try:
            found.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            bad += 1
    return Read(tuple(found), bad)
