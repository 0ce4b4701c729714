"""DNS messages: header, question, three sections of records, EDNS.

    octets  <->  Message

Invariants  The decoder is total: a Message or Malformed. The OPT record of EDNS is a field of its
            own and stands in no section.
Standards   RFC 1035 s4.1, RFC 6891 (EDNS)
"""

from dataclasses import dataclass, field, replace

from cairn.dns.name import Name, read_name, write_name
from cairn.dns.number import Class, Opcode, Rcode, Type
from cairn.dns.record import Record, read_record, write_record
from cairn.wire import Malformed, Reader, Writer

HEADER_OCTETS = 12
UDP_OCTETS = 512
"""What every receiver takes (RFC 1035 s2.3.4)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    name: Name
    """As the client spelled it."""
    type: int
    """A number of `Type`, or another."""
    klass: int = Class.IN
    """A number of `Class`, or another."""


@dataclass(frozen=True, slots=True)
class Edns:
    """What the sender can do (RFC 6891)."""

    udp_octets: int
    """Longest UDP payload that it takes."""
    version: int = 0
    """0 is the only one there is."""
    dnssec_ok: bool = False
    """DO bit."""
    options: bytes = b""
    """Options as they stand."""


@dataclass(frozen=True, slots=True)
class Message:
    """One query or response."""

    id: int
    """Chosen by who asks."""
    response: bool = False
    """QR."""
    opcode: int = Opcode.QUERY
    """Four bits."""
    authoritative: bool = False
    """AA."""
    truncated: bool = False
    """TC."""
    recursion_desired: bool = False
    """RD."""
    recursion_available: bool = False
    """RA."""
    reserved: int = 0
    """Z, AD and CD, as they stand."""
    rcode: int = Rcode.NOERROR
    """Outcome; values over 15 need EDNS."""
    questions: tuple[Question, ...] = ()
    """One, in practice."""
    answers: tuple[Record, ...] = ()
    """Answer section."""
    authorities: tuple[Record, ...] = ()
    """Authority section."""
    additionals: tuple[Record, ...] = ()
    """Additional section, without OPT."""
    edns: Edns | None = field(default=None)
    """From the OPT record."""


def read_message(octets: bytes) -> Message:
    """Read a whole message; raises Malformed, and nothing else."""
    wire = Reader(octets)
    number, flags = wire.u16(), wire.u16()
    counts = [wire.u16() for _ in range(4)]
    questions = tuple(
        Question(read_name(wire, octets), wire.u16(), wire.u16()) for _ in range(counts[0])
    )
    sections = [tuple(read_record(wire, octets) for _ in range(count)) for count in counts[1:]]
    if wire:
        raise Malformed(f"{wire.left} octets after the last record", at=wire.at)
    options = [record for record in sections[2] if record.type == Type.OPT]
    if len(options) > 1:
        raise Malformed(f"{len(options)} OPT records, at most 1 allowed", at=wire.at)
    return Message(
        id=number,
        response=bool(flags & 0x8000),
        opcode=flags >> 11 & 0xF,
        authoritative=bool(flags & 0x0400),
        truncated=bool(flags & 0x0200),
        recursion_desired=bool(flags & 0x0100),
        recursion_available=bool(flags & 0x0080),
        reserved=flags >> 4 & 0x7,
        rcode=flags & 0xF | (options[0].ttl_s >> 24 << 4 if options else 0),
        questions=questions,
        answers=sections[0],
        authorities=sections[1],
        additionals=tuple(record for record in sections[2] if record.type != Type.OPT),
        edns=_edns(options[0]) if options else None,
    )


def write_message(message: Message, *, limit: int | None = None) -> bytes:
    """Return the octets; over `limit`, only header and question with the TC flag set."""
    octets = _write(message)
    if limit is None or len(octets) <= limit:
        return octets
    bare = replace(message, truncated=True, answers=(), authorities=(), additionals=())
    return _write(bare)


def udp_limit(query: Message, ours: int) -> int:
    """Return how long a UDP answer to `query` may be, of which we would send `ours`."""
    if query.edns is None:
        return UDP_OCTETS
    return max(UDP_OCTETS, min(query.edns.udp_octets, ours))


def _edns(record: Record) -> Edns:
    ttl, options = record.ttl_s, record.data
    return Edns(
        udp_octets=record.klass,
        version=ttl >> 16 & 0xFF,
        dnssec_ok=bool(ttl & 0x8000),
        options=options if isinstance(options, bytes) else b"",
    )


def _write(message: Message) -> bytes:
    flags = (
        message.response << 15
        | (message.opcode & 0xF) << 11
        | message.authoritative << 10
        | message.truncated << 9
        | message.recursion_desired << 8
        | message.recursion_available << 7
        | (message.reserved & 0x7) << 4
        | message.rcode & 0xF
    )
    additionals = message.additionals
    if message.edns is not None:
        additionals = (*additionals, _opt(message.edns, message.rcode))
    wire = Writer().u16(message.id).u16(flags)
    for section in (message.questions, message.answers, message.authorities, additionals):
        wire.u16(len(section))
    known: dict[Name, int] = {}
    for question in message.questions:
        write_name(question.name, wire, known)
        wire.u16(question.type).u16(question.klass)
    for record in (*message.answers, *message.authorities, *additionals):
        write_record(record, wire, known)
    return wire.done()


def _opt(edns: Edns, rcode: int) -> Record:
    ttl = rcode >> 4 << 24 | edns.version << 16 | edns.dnssec_ok << 15
    return Record((), Type.OPT, edns.udp_octets, ttl, edns.options)
