"""Domain names: labels on the wire, compressed or not, and as text.

    octets  <->  (b"my-web-app", b"default", …)  <->  "my-web-app.default."

Invariants  A compression pointer must point before the name it stands in, each further back than
            the last: so every name ends, however hostile the message.
Standards   RFC 1035 s3.1, s4.1.4, s5.1
"""

from collections.abc import MutableMapping

from cairn.wire import Malformed, Reader, Writer

Name = tuple[bytes, ...]
"""Labels from the left; () is the root."""

MOST_OCTETS = 255
MOST_LABEL_OCTETS = 63
POINTER = 0xC0
MOST_POINTED = 0x3FFF


def read_name(wire: Reader, message: bytes) -> Name:
    """Read one name at the reader; `message` is the whole, for pointers into it."""
    labels: list[bytes] = []
    octets = 1
    lowest = wire.at
    here = wire
    while True:
        at = here.at
        length = here.u8()
        if length >= POINTER:
            target = (length & 0x3F) << 8 | here.u8()
            if target >= lowest:
                raise Malformed(f"compression pointer to {target}, not before {lowest}", at=at)
            lowest = target
            here = Reader(memoryview(message)[target:], base=target)
            continue
        if length > MOST_LABEL_OCTETS:
            raise Malformed(f"label type {length >> 6}, known are 0 and 3", at=at)
        if length == 0:
            return tuple(labels)
        octets += length + 1
        if octets > MOST_OCTETS:
            raise Malformed(f"name of more than {MOST_OCTETS} octets", at=at)
        labels.append(here.take(length))


def write_name(name: Name, wire: Writer, known: MutableMapping[Name, int] | None) -> None:
    """Append a name; with `known` (suffix to offset), point to what was written before."""
    for place in range(len(name)):
        suffix = name[place:]
        if known is not None:
            if suffix in known:
                wire.u16(POINTER << 8 | known[suffix])
                return
            if len(wire) <= MOST_POINTED:
                known[suffix] = len(wire)
        wire.u8(len(name[place])).put(name[place])
    wire.u8(0)


def parse_name(text: str) -> Name:
    """Return the name that `text` spells; a final dot is optional. Raises ValueError."""
    if text in ("", "."):
        return ()
    labels = tuple(label.encode("latin-1") for label in _split(text))
    if labels and labels[-1] == b"":
        labels = labels[:-1]
    if not all(0 < len(label) <= MOST_LABEL_OCTETS for label in labels):
        raise ValueError(f"name {text!r}: a label has 1 to {MOST_LABEL_OCTETS} octets")
    if sum(len(label) + 1 for label in labels) + 1 > MOST_OCTETS:
        raise ValueError(f"name {text!r}: more than {MOST_OCTETS} octets")
    return labels


def spell_name(name: Name) -> str:
    """Return a name as text with a final dot; odd octets become \\DDD."""
    return "".join("".join(map(_character, label)) + "." for label in name) or "."


def fold(name: Name) -> Name:
    """Return the name in lower case, as names are compared (RFC 4343)."""
    return tuple(label.lower() for label in name)


def _split(text: str) -> list[str]:
    labels, label, place = [], "", 0
    while place < len(text):
        character = text[place]
        if character == "\\":
            digits = text[place + 1 : place + 4]
            if len(digits) == 3 and digits.isdecimal() and int(digits) < 256:
                label += chr(int(digits))
                place += 4
                continue
            if place + 1 >= len(text):
                raise ValueError(f"name {text!r} ends in a backslash")
            label += text[place + 1]
            place += 2
            continue
        if character == ".":
            labels.append(label)
            label = ""
        else:
            label += character
        place += 1
    return [*labels, label]


def _character(octet: int) -> str:
    if octet in b'.\\"':
        return "\\" + chr(octet)
    return chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03}"
