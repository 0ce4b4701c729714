"""Queries as a proxy needs them: who is asked for, and the refusals that need no server.

    octets  ->  Query, or Refusal(octets to send back, reason)

Only header and question are read; what follows is passed on as it stands.

Invariants  Total: any octets give a Query or a Refusal.
Cost        about 2 µs a query
Standards   RFC 1035 s4.1, RFC 6891 (EDNS), RFC 8914 (extended errors)
"""

from dataclasses import dataclass

from cairn.dns.name import MOST_LABEL_OCTETS, MOST_OCTETS
from cairn.dns.number import Class, Rcode, Type

HEADER_OCTETS = 12
RESPONSE = 0x80
OPCODE = 0x78
RECURSION_DESIRED = 0x01
OUR_UDP_OCTETS = 1232
"""What passes every path unfragmented (DNS flag day 2020)."""
TRANSFERS = frozenset({251, 252})
"""IXFR and AXFR: a zone's other names with it."""
BLOCKED = 15
"""Extended error: refused by a policy of whoever runs the server (RFC 8914 s4.16)."""
_IN = Class.IN.to_bytes(2, "big")
_DOT = ord(".")
_PLAIN = bytes(octet for octet in range(0x21, 0x7F) if octet not in b'"\\')
"""Octets of names that stand for themselves in text."""
_OPT = b"\0" + Type.OPT.to_bytes(2, "big")


@dataclass(slots=True)
class Query:
    """One question, as it came."""

    octets: bytes
    """The whole message."""
    end: int
    """Where the question ends."""
    folded: bytes
    """The name on the wire in lower case: labels, each after its length, and a final zero."""
    type: int
    """Of records."""

    @property
    def name(self) -> str:
        """The name as text, folded, without the final dot; "" is the root."""
        return wire_text(self.folded)

    @property
    def question(self) -> bytes:
        """Name, type and class in lower case: what an answer must repeat."""
        return self.octets[HEADER_OCTETS : self.end].lower()


@dataclass(slots=True)
class Refusal:
    """A message that no server is asked."""

    reply: bytes
    """What to send back; empty: nothing."""
    reason: str
    """Why, a word or two: also the name of a counter."""
    name: str = ""
    """Which name the rules do not allow."""


def read_query(octets: bytes) -> Query | Refusal:
    """Return the query in `octets`, or why it is none that could be passed on."""
    size = len(octets)
    if size <= HEADER_OCTETS:
        return Refusal(b"", "malformed")
    if octets[2] & RESPONSE:
        return Refusal(b"", "not a query")
    if octets[2] & OPCODE:
        return Refusal(header(octets, Rcode.NOTIMP), "opcode")
    if octets[4:6] != b"\0\1":
        return Refusal(header(octets, Rcode.FORMERR), "not one question")
    at = HEADER_OCTETS
    last = min(size, HEADER_OCTETS + MOST_OCTETS)
    while length := octets[at]:
        at += length + 1
        if length > MOST_LABEL_OCTETS or at >= last:
            return Refusal(header(octets, Rcode.FORMERR), "malformed")
    end = at + 5
    if end > size:
        return Refusal(header(octets, Rcode.FORMERR), "malformed")
    kind = octets[at + 1] << 8 | octets[at + 2]
    # A length octet is below any letter, so lower() leaves it as it is.
    query = Query(octets, end, octets[HEADER_OCTETS : at + 1].lower(), kind)
    if octets[at + 3 : end] != _IN:
        return Refusal(refuse(query, Rcode.REFUSED), "class")
    if kind in TRANSFERS:
        return Refusal(refuse(query, Rcode.REFUSED), "zone transfer")
    return query


def header(octets: bytes, rcode: Rcode) -> bytes:
    """Return an answer without a question, for a message that may have none that can be read."""
    flags = bytes((RESPONSE | octets[2] & (OPCODE | RECURSION_DESIRED), rcode))
    return octets[:2] + flags + bytes(8)


def refuse(query: Query, rcode: Rcode, text: str = "") -> bytes:
    """Return the answer that refuses `query`; `text` says why to who speaks EDNS."""
    octets, end = query.octets, query.end
    flags = bytes((RESPONSE | octets[2] & RECURSION_DESIRED, 0x80 | rcode))
    extra = b""
    if octets[end : end + 3] == _OPT:
        said = text.encode()
        error = BLOCKED.to_bytes(2, "big") + said
        option = b"\0\x0f" + len(error).to_bytes(2, "big") + error if said else b""
        size = OUR_UDP_OCTETS.to_bytes(2, "big")
        extra = _OPT + size + bytes(4) + len(option).to_bytes(2, "big") + option
    counts = b"\0\1\0\0\0\0\0" + (b"\1" if extra else b"\0")
    return octets[:2] + flags + counts + octets[HEADER_OCTETS:end] + extra


def wire_text(folded: bytes) -> str:
    """Return a name on the wire as text, without the final dot; odd octets become \\DDD.

    A dot within a label is odd, too: in this text a dot is always the end of a label.
    """
    labels, at = [], 0
    while length := folded[at]:
        labels.append(folded[at + 1 : at + 1 + length])
        at += length + 1
    plain = b".".join(labels)
    if plain.count(b".") == len(labels) - 1 and not plain.translate(None, _PLAIN):
        return plain.decode()
    return ".".join("".join(map(_spell, label)) for label in labels)


def _spell(octet: int) -> str:
    return chr(octet) if octet in _PLAIN and octet != _DOT else f"\\{octet:03}"
