"""One lookup that the DNS proxy judged, as it tells the node's agent.

    Lookup  <->  line of JSON

Invariants  `message` has the question, whatever the outcome; an answer may be cut at MOST_OCTETS.
Standards   RFC 1035 s4.1 (`message`), RFC 4648 s4 (how JSON holds it)
"""

from enum import StrEnum

import msgspec

MOST_OCTETS = 1232


class Outcome(StrEnum):
    """What became of a query."""

    ANSWERED = "answered"
    """A server's answer was passed on."""
    REFUSED = "refused"
    """No rule allows the name; no server was asked."""
    FAILED = "failed"
    """A server could not be asked, or did not answer in time."""


class Lookup(msgspec.Struct, frozen=True):
    """One lookup."""

    time_ns: int
    """When it was over, since 1970."""
    client: str
    """Address of the pod."""
    client_port: int
    """Its port."""
    server: str
    """Address of the server that was meant."""
    server_port: int
    """Its port."""
    outcome: Outcome
    """What became of it."""
    message: bytes
    """What the pod got."""
    latency_us: int = 0
    """From query to answer."""
    listener: int = 0
    """The proxy's port, which says whose rules decided."""
    tcp: bool = False
    """Whether it came over TCP."""


class Lost(msgspec.Struct, frozen=True):
    """Lookups that there was no room to tell of."""

    lost: int
    """How many."""


def write_lookup(lookup: Lookup | Lost) -> bytes:
    """Return the line, with its end."""
    return _ENCODER.encode(lookup) + b"\n"


def read_lookup(line: bytes) -> Lookup | Lost:
    """Return what a line says; raises ValueError."""
    try:
        if line.startswith(b'{"lost":'):
            return _LOST.decode(line)
        return _LOOKUP.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


_ENCODER = msgspec.json.Encoder()
_LOOKUP = msgspec.json.Decoder(Lookup)
_LOST = msgspec.json.Decoder(Lost)
