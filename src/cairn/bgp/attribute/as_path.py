"""Attribute 2, AS_PATH: the autonomous systems a route came through.

    segment type:u8 count:u8 ASN:u16 or u32 each, repeated  <->  AsPath

Invariants  Numbers that do not fit two octets are written as AS_TRANS to a peer that knows no more.
            A segment is never empty and never holds AS 0 (RFC 7606 s7.2, RFC 7607).
Standards   RFC 4271 s4.3 b, s5.1.2; RFC 6793 s4.2; RFC 7606 s7.2. Confederation segments
            (RFC 5065) are malformed here: no peer of ours is in a confederation with us.
"""

from dataclasses import dataclass
from enum import IntEnum

from cairn.bgp.attribute.kind import WELL_KNOWN, AttributeKind
from cairn.bgp.capability.four_octet_as import two_octet_asn
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Malformed, Reader, Writer

MAX_SEGMENT = 255


class SegmentType(IntEnum):
    """Ordered or not."""

    SET = 1
    SEQUENCE = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a path."""

    type: SegmentType
    """Whether the order means something."""
    asns: tuple[int, ...]
    """1 to 255 numbers."""

    @property
    def hops(self) -> int:
        """Return what the segment counts for: a set is one hop (RFC 4271 s9.1.2.2 a)."""
        return 1 if self.type is SegmentType.SET else len(self.asns)


@dataclass(frozen=True, slots=True)
class AsPath:
    """A whole path, the nearest autonomous system first."""

    segments: tuple[Segment, ...] = ()
    """In order."""

    def __str__(self) -> str:
        parts = []
        for one in self.segments:
            text = " ".join(str(asn) for asn in one.asns)
            parts.append(f"{{ {text} }}" if one.type is SegmentType.SET else text)
        return " ".join(parts)

    @property
    def hops(self) -> int:
        """Return the length that the decision process compares."""
        return sum(one.hops for one in self.segments)

    @property
    def first(self) -> int | None:
        """Return the neighbouring autonomous system; None if the path begins with none."""
        if not self.segments or self.segments[0].type is SegmentType.SET:
            return None
        return self.segments[0].asns[0]

    def holds(self, asn: int) -> bool:
        """Return whether the route came through `asn`."""
        return any(asn in one.asns for one in self.segments)

    def prepend(self, asn: int) -> "AsPath":
        """Return the path with `asn` in front (RFC 4271 s5.1.2 b)."""
        head = self.segments[:1]
        if head and head[0].type is SegmentType.SEQUENCE and len(head[0].asns) < MAX_SEGMENT:
            joined = Segment(SegmentType.SEQUENCE, (asn, *head[0].asns))
            return AsPath((joined, *self.segments[1:]))
        return AsPath((Segment(SegmentType.SEQUENCE, (asn,)), *self.segments))


EMPTY_PATH = AsPath()
"""The path of a route that has not left its autonomous system."""


def sequence(*asns: int) -> AsPath:
    """Return the path through `asns`, in as many segments as it takes."""
    cut = [asns[at : at + MAX_SEGMENT] for at in range(0, len(asns), MAX_SEGMENT)]
    return AsPath(tuple(Segment(SegmentType.SEQUENCE, part) for part in cut))


def read_segments(wire: Reader, asn_bytes: int) -> AsPath:
    """Read segments until the octets end."""
    found: list[Segment] = []
    while wire:
        start = wire.at
        kind, count = wire.u8(), wire.u8()
        if kind not in (SegmentType.SET, SegmentType.SEQUENCE):
            raise Malformed(f"segment type {kind}", at=start)
        if count == 0:
            raise Malformed("empty segment", at=start)
        data = wire.take(count * asn_bytes)
        asns = tuple(
            int.from_bytes(data[at : at + asn_bytes], "big")
            for at in range(0, len(data), asn_bytes)
        )
        if 0 in asns:
            raise Malformed("AS 0 in the path", at=start)
        found.append(Segment(SegmentType(kind), asns))
    return AsPath(tuple(found))


def write_segments(path: AsPath, asn_bytes: int) -> bytes:
    """Return the path with numbers of two or four octets."""
    out = Writer()
    for one in path.segments:
        out.u8(one.type).u8(len(one.asns))
        for asn in one.asns:
            out.put((asn if asn_bytes == 4 else two_octet_asn(asn)).to_bytes(asn_bytes, "big"))
    return out.done()


def read_as_path(wire: Reader, negotiated: Negotiated) -> AsPath:
    """Read a path, in the width that was negotiated."""
    return read_segments(wire, 4 if negotiated.four_octet_as else 2)


def write_as_path(value: AsPath, negotiated: Negotiated) -> bytes:
    """Return the path, in the width that was negotiated."""
    return write_segments(value, 4 if negotiated.four_octet_as else 2)


KIND = AttributeKind(
    code=2,
    name="AS_PATH",
    field="as_path",
    flags=WELL_KNOWN,
    read=read_as_path,
    write=write_as_path,
    on_error=Treatment.TREAT_AS_WITHDRAW,
    subcode=UpdateError.MALFORMED_AS_PATH,
    spec="RFC 4271 s5.1.2",
)
