"""The list of path attributes of one UPDATE, read with revised error handling and written.

    flags:u8 code:u8 length:u8 or u16 contents, repeated  ->  Collected(values, findings)
    Attributes  ->  octets

Invariants  An error that does not end the session is a Finding; one that does raises Violation.
Standards   RFC 4271 s4.3, s6.3; RFC 7606 s3, s4; RFC 6793 s4.2.2
"""

from dataclasses import dataclass, field
from typing import Any

from cairn.bgp.attribute.aggregator import Aggregator
from cairn.bgp.attribute.as4 import AS4_AGGREGATOR, AS4_PATH
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.kind import AttributeKind, Flag, UnknownAttribute
from cairn.bgp.attribute.mp_reach import KIND as MP_REACH
from cairn.bgp.attribute.mp_unreach import KIND as MP_UNREACH
from cairn.bgp.attribute.next_hop import KIND as NEXT_HOP
from cairn.bgp.attribute.table import ALL, BY_CODE
from cairn.bgp.capability.four_octet_as import MAX_TWO_OCTET_ASN
from cairn.bgp.error import ErrorCode, UpdateError, Violation
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.treatment import Finding, Treatment
from cairn.wire import Malformed, Reader, Writer

ONLY_ONCE = frozenset({MP_REACH.code, MP_UNREACH.code})
KIND_BITS = Flag.OPTIONAL | Flag.TRANSITIVE
WRITTEN = tuple(kind for kind in ALL if kind.field)


@dataclass(slots=True)
class Collected:
    """The attributes of one UPDATE as they came."""

    values: dict[int, Any] = field(default_factory=dict)
    """Code to value."""
    unknown: list[UnknownAttribute] = field(default_factory=list)
    """Optional transitive attributes to pass on."""
    seen: set[int] = field(default_factory=set)
    """Codes that were there, right or wrong."""
    findings: list[Finding] = field(default_factory=list)
    """What was wrong."""

    def add(self, treatment: Treatment, name: str, reason: str, subcode: UpdateError) -> None:
        """Note something wrong."""
        self.findings.append(Finding(treatment, name, reason, subcode))


def read_collection(wire: Reader, negotiated: Negotiated) -> Collected:
    """Read all attributes; raises Violation where RFC 7606 keeps the session reset."""
    into = Collected()
    while wire:
        try:
            flags = Flag(wire.u8())
            code = wire.u8()
            size = wire.u16() if flags & Flag.EXTENDED_LENGTH else wire.u8()
            contents = wire.sub(size)
        except Malformed as wrong:
            # RFC 7606 s4: the list overruns, but where the NLRI begins is still certain.
            into.add(
                Treatment.TREAT_AS_WITHDRAW,
                "attribute list",
                str(wrong),
                UpdateError.MALFORMED_ATTRIBUTE_LIST,
            )
            break
        _read_one(into, flags, code, contents, negotiated)
    return into


def _read_one(
    into: Collected, flags: Flag, code: int, contents: Reader, negotiated: Negotiated
) -> None:
    kind = BY_CODE.get(code)
    name = kind.name if kind else f"attribute {code}"
    if code in into.seen:
        if code in ONLY_ONCE:
            raise _violation(UpdateError.MALFORMED_ATTRIBUTE_LIST, f"{name} twice", contents.at)
        subcode = UpdateError.MALFORMED_ATTRIBUTE_LIST
        into.add(Treatment.DISCARD_ATTRIBUTE, name, "there twice; the first counts", subcode)
        return
    into.seen.add(code)
    if kind is None:
        _keep_unknown(into, flags, code, contents)
    elif kind.ibgp_only and not negotiated.is_ibgp:
        into.add(Treatment.DISCARD_ATTRIBUTE, name, "from an external peer", kind.subcode)
    elif flags & KIND_BITS != kind.flags:
        reason = f"flags 0x{int(flags):02x}, not 0x{int(kind.flags):02x}"
        _fail(into, kind, reason, contents.at, UpdateError.ATTRIBUTE_FLAGS_ERROR)
    else:
        _read_known(into, kind, contents, negotiated)


def _read_known(
    into: Collected, kind: AttributeKind, contents: Reader, negotiated: Negotiated
) -> None:
    size = contents.left
    try:
        value = kind.read(contents, negotiated)
        if contents:
            raise Malformed(f"length {size}, {contents.left} octets too many", at=contents.at)
    except Malformed as wrong:
        _fail(into, kind, wrong.found, wrong.at, kind.subcode)
        return
    into.values[kind.code] = value


def _fail(into: Collected, kind: AttributeKind, reason: str, at: int, subcode: UpdateError) -> None:
    if kind.on_error is Treatment.SESSION_RESET:
        raise _violation(subcode, f"{kind.name}: {reason}", at)
    treatment = max(kind.on_error, Treatment.TREAT_AS_WITHDRAW)
    wrong_flags = subcode is UpdateError.ATTRIBUTE_FLAGS_ERROR
    # RFC 7606 s3 c: wrong flags are treat-as-withdraw, whatever the contents' errors lead to.
    into.add(treatment if wrong_flags else kind.on_error, kind.name, reason, subcode)


def _keep_unknown(into: Collected, flags: Flag, code: int, contents: Reader) -> None:
    if not flags & Flag.OPTIONAL:
        subcode = UpdateError.UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE
        raise _violation(subcode, f"attribute {code} is called well-known", contents.at)
    if flags & Flag.TRANSITIVE:
        into.unknown.append(UnknownAttribute(code, contents.rest()))


def _violation(subcode: UpdateError, found: str, at: int) -> Violation:
    return Violation(ErrorCode.UPDATE_MESSAGE, subcode, found, at=at)


def write_attributes(
    attributes: Attributes, negotiated: Negotiated, *, with_next_hop: bool
) -> bytes:
    """Return the attributes in order of their codes; the next hop only for IPv4 in the body."""
    parts: dict[int, bytes] = {}
    for kind in WRITTEN:
        value = getattr(attributes, kind.field)
        if kind.code == NEXT_HOP.code and not with_next_hop:
            continue
        if value is None or value is False or (value == () and kind.field != "as_path"):
            continue
        parts[kind.code] = write_attribute(kind, value, negotiated)
    if not negotiated.four_octet_as:
        parts |= _write_as4(attributes, negotiated)
    for one in attributes.unknown:
        flags = Flag.OPTIONAL | Flag.TRANSITIVE | (Flag.PARTIAL if one.partial else Flag(0))
        parts[one.code] = _wrap(flags, one.code, one.octets)
    return b"".join(parts[code] for code in sorted(parts))


def write_attribute(kind: AttributeKind, value: object, negotiated: Negotiated) -> bytes:
    """Return one attribute with its flags, code and length."""
    return _wrap(kind.flags, kind.code, kind.write(value, negotiated))


def _write_as4(attributes: Attributes, negotiated: Negotiated) -> dict[int, bytes]:
    parts: dict[int, bytes] = {}
    path = attributes.as_path
    if any(asn > MAX_TWO_OCTET_ASN for one in path.segments for asn in one.asns):
        parts[AS4_PATH.code] = write_attribute(AS4_PATH, path, negotiated)
    who: Aggregator | None = attributes.aggregator
    if who is not None and who.asn > MAX_TWO_OCTET_ASN:
        parts[AS4_AGGREGATOR.code] = write_attribute(AS4_AGGREGATOR, who, negotiated)
    return parts


def _wrap(flags: Flag, code: int, contents: bytes) -> bytes:
    if len(contents) > 0xFF:
        flags |= Flag.EXTENDED_LENGTH
        return Writer().u8(flags).u8(code).u16(len(contents)).put(contents).done()
    return Writer().u8(flags).u8(code).u8(len(contents)).put(contents).done()
