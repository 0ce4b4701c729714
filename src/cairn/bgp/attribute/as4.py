"""Attributes 17 and 18: the true numbers, carried through speakers that know two octets only.

    AS4_PATH  <->  AsPath          AS4_AGGREGATOR  <->  Aggregator
    merge_as4(AS_PATH, AS4_PATH)  ->  the true path

Standards   RFC 6793 s4.2.3, s6
"""

from ipaddress import IPv4Address

from cairn.bgp.attribute.aggregator import Aggregator
from cairn.bgp.attribute.as_path import (
    MAX_SEGMENT,
    AsPath,
    Segment,
    SegmentType,
    read_segments,
    write_segments,
)
from cairn.bgp.attribute.kind import OPTIONAL_TRANSITIVE, AttributeKind
from cairn.bgp.error import UpdateError
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Treatment
from cairn.wire import Reader, Writer


def merge_as4(path: AsPath, path4: AsPath) -> AsPath:
    """Return `path4` behind the part of `path` that old speakers put in front.

    If `path4` counts more hops than `path` it is not to be trusted, and `path` stands.
    """
    missing = path.hops - path4.hops
    if missing < 0:
        return path
    head: list[Segment] = []
    for one in path.segments:
        if missing <= 0:
            break
        asns = one.asns if one.type is SegmentType.SET else one.asns[:missing]
        head.append(Segment(one.type, asns))
        missing -= one.hops
    return AsPath(_join(head, list(path4.segments)))


def _join(head: list[Segment], tail: list[Segment]) -> tuple[Segment, ...]:
    if head and tail and head[-1].type is tail[0].type is SegmentType.SEQUENCE:
        asns = head[-1].asns + tail[0].asns
        if len(asns) <= MAX_SEGMENT:
            return (*head[:-1], Segment(SegmentType.SEQUENCE, asns), *tail[1:])
    return (*head, *tail)


def read_as4_path(wire: Reader, negotiated: Negotiated) -> AsPath:
    """Read a path of four-octet numbers."""
    return read_segments(wire, 4)


def write_as4_path(value: AsPath, negotiated: Negotiated) -> bytes:
    """Return a path of four-octet numbers."""
    return write_segments(value, 4)


def read_as4_aggregator(wire: Reader, negotiated: Negotiated) -> Aggregator:
    """Read a number of four octets and an identifier."""
    return Aggregator(wire.u32(), IPv4Address(wire.take(4)))


def write_as4_aggregator(value: Aggregator, negotiated: Negotiated) -> bytes:
    """Return a number of four octets and an identifier."""
    return Writer().u32(value.asn).put(value.router_id.packed).done()


AS4_PATH = AttributeKind(
    code=17,
    name="AS4_PATH",
    field="",
    flags=OPTIONAL_TRANSITIVE,
    read=read_as4_path,
    write=write_as4_path,
    on_error=Treatment.DISCARD_ATTRIBUTE,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 6793 s6",
)
AS4_AGGREGATOR = AttributeKind(
    code=18,
    name="AS4_AGGREGATOR",
    field="",
    flags=OPTIONAL_TRANSITIVE,
    read=read_as4_aggregator,
    write=write_as4_aggregator,
    on_error=Treatment.DISCARD_ATTRIBUTE,
    subcode=UpdateError.OPTIONAL_ATTRIBUTE_ERROR,
    spec="RFC 6793 s6",
)
