"""Answers as a proxy needs them: whether they belong to the question, which addresses they give.

    (octets, question)  ->  Answer(addresses, ttl_s), NotOurs, or Malformed

The answer section is followed from the name that was asked along its aliases (CNAME); only what is
reached so counts, whatever else the message carries.

Invariants  Total: any octets give an Answer or raise Malformed. A name ends, however hostile the
            message: each compression pointer points before the last.
Cost        about 1 µs a record
Standards   RFC 1035 s3.2, s4.1; RFC 2181 s8 (TTL); RFC 3596 (AAAA); RFC 4343 (case)
Units       addresses in 16 octets, IPv4 mapped; ttl in seconds
"""

from dataclasses import dataclass

from cairn.dns.name import MOST_LABEL_OCTETS, MOST_OCTETS, MOST_POINTED, POINTER
from cairn.dns.number import Class, Rcode, Type
from cairn.wire import Malformed

HEADER_OCTETS = 12
RESPONSE = 0x80
TRUNCATED = 0x02
RCODE = 0x0F
MOST_ALIASES = 32
MOST_TTL_S = 0x7FFFFFFF
"""A TTL above counts as 0."""
_MAPPED = b"\0" * 10 + b"\xff\xff"
_A, _AAAA, _CNAME, _IN = int(Type.A), int(Type.AAAA), int(Type.CNAME), int(Class.IN)
_LENGTH = {_A: 4, _AAAA: 16}


@dataclass(slots=True)
class Answer:
    """What a message says to the question."""

    addresses: tuple[bytes, ...] = ()
    """Of the name that was asked, through its aliases."""
    ttl_s: int = 0
    """The shortest on the way."""
    strays: int = 0
    """Address records of names that nobody asked for."""


def belongs(octets: bytes, question: bytes) -> bool:
    """Return whether a message answers `question` (its octets in lower case).

    A refusal may come without a question (RFC 1035 leaves that to servers).
    """
    if len(octets) < HEADER_OCTETS or not octets[2] & RESPONSE:
        return False
    if octets[4:6] == b"\0\0":
        return octets[3] & RCODE != Rcode.NOERROR
    if octets[4:6] != b"\0\1":
        return False
    return octets[HEADER_OCTETS : HEADER_OCTETS + len(question)].lower() == question


def read_answer(octets: bytes, question: bytes) -> Answer:
    """Return what an answer that `belongs` to the question says; raises Malformed."""
    if octets[6:8] == b"\0\0" or octets[3] & RCODE:
        return Answer()
    return _follow(question[:-4], *_records(octets, question))


def aliases_of(octets: bytes, question: bytes) -> tuple[bytes, ...]:
    """Return the names that the asked one is an alias of, nearest first; raises Malformed."""
    aliases, _ = _records(octets, question)
    name = question[:-4]
    names: list[bytes] = []
    while name in aliases and len(names) < MOST_ALIASES:
        name, _ = aliases[name]
        names.append(name)
    return tuple(names)


Aliases = dict[bytes, tuple[bytes, int]]
"""Target and TTL, by name."""
Found = list[tuple[bytes, bytes, int]]
"""Owner, address and TTL."""


def _records(octets: bytes, question: bytes) -> tuple[Aliases, Found]:
    """Return the aliases and addresses in the answer section; raises Malformed."""
    count = octets[6] << 8 | octets[7]
    asked = question[:-4]
    names = {HEADER_OCTETS: asked}
    aliases: Aliases = {}
    found: Found = []
    at, size = HEADER_OCTETS + len(question), len(octets)
    try:
        for _ in range(count):
            owner, at = _name(octets, at, names)
            kind = octets[at] << 8 | octets[at + 1]
            klass = octets[at + 2] << 8 | octets[at + 3]
            ttl_s = int.from_bytes(octets[at + 4 : at + 8], "big")
            length = octets[at + 8] << 8 | octets[at + 9]
            at += 10
            if at + length > size:
                raise Malformed(f"{length} octets wanted, {size - at} left", at=at)
            if klass == _IN:
                wanted = _LENGTH.get(kind)
                if wanted == length:
                    data = octets[at : at + length]
                    address = _MAPPED + data if kind == _A else data
                    found.append((owner, address, ttl_s if ttl_s <= MOST_TTL_S else 0))
                elif wanted:
                    raise Malformed(f"address of {length} octets", at=at)
                elif kind == _CNAME:
                    target, end = _name(octets, at, names)
                    if end != at + length:
                        raise Malformed(f"alias of {end - at} octets, not {length}", at=at)
                    aliases[owner] = (target, ttl_s if ttl_s <= MOST_TTL_S else 0)
            at += length
    except IndexError as error:
        raise Malformed("the message ends within a record", at=size) from error
    return aliases, found


def _follow(asked: bytes, aliases: Aliases, found: Found) -> Answer:
    name, ttl_s = asked, MOST_TTL_S
    for _ in range(MOST_ALIASES):
        if name not in aliases:
            break
        name, alias_ttl_s = aliases[name]
        ttl_s = min(ttl_s, alias_ttl_s)
    ours = [(address, ttl) for owner, address, ttl in found if owner == name]
    if not ours:
        return Answer(strays=len(found))
    ttl_s = min(ttl_s, *(ttl for _, ttl in ours))
    addresses = tuple(dict.fromkeys(address for address, _ in ours))
    return Answer(addresses, ttl_s, len(found) - len(ours))


def _name(octets: bytes, at: int, names: dict[int, bytes]) -> tuple[bytes, int]:
    """Return the folded name at `at`, and where it ends; `names` keeps what pointers led to."""
    length = octets[at]
    if length >= POINTER:
        target = (length << 8 | octets[at + 1]) & MOST_POINTED
        name = names.get(target)
        if name is None:
            if target >= at:
                raise Malformed(f"compression pointer to {target}, not before {at}", at=at)
            name = names[target] = _spelled(octets, target)[0]
        return name, at + 2
    return _spelled(octets, at)


def _spelled(octets: bytes, at: int) -> tuple[bytes, int]:
    parts: list[bytes] = []
    total, lowest, end = 1, at, 0
    while True:
        length = octets[at]
        if length >= POINTER:
            target = (length << 8 | octets[at + 1]) & MOST_POINTED
            if target >= lowest:
                raise Malformed(f"compression pointer to {target}, not before {lowest}", at=at)
            end = end or at + 2
            at = lowest = target
            continue
        if length > MOST_LABEL_OCTETS:
            raise Malformed(f"label type {length >> 6}, known are 0 and 3", at=at)
        total += length + 1
        if total > MOST_OCTETS + 1 or at + length >= len(octets):
            raise Malformed("a name that does not end", at=at)
        parts.append(octets[at : at + length + 1])
        at += length + 1
        if not length:
            return b"".join(parts).lower(), end or at
