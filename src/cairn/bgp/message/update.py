"""UPDATE: routes that are withdrawn and routes that are announced.

    body, Negotiated  ->  Update          prefixes, Attributes, Negotiated  ->  bodies, packed

Layout      length:u16 withdrawn prefixes, length:u16 attributes, prefixes
Invariants  What RFC 7606 treats as withdrawn stands in `withdrawn`, with a Finding that says why.
            A prefix that is both withdrawn and announced is announced (RFC 4271 s4.3).
Standards   RFC 4271 s4.3, s6.3; RFC 4724 s2 (End-of-RIB); RFC 4760; RFC 6793 s4.2.3; RFC 7606
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cairn.bgp.attribute.as4 import AS4_AGGREGATOR, AS4_PATH, merge_as4
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.collection import (
    Collected,
    read_collection,
    write_attribute,
    write_attributes,
)
from cairn.bgp.attribute.mp_reach import KIND as MP_REACH
from cairn.bgp.attribute.mp_reach import MpReach
from cairn.bgp.attribute.mp_unreach import KIND as MP_UNREACH
from cairn.bgp.attribute.mp_unreach import MpUnreach
from cairn.bgp.attribute.next_hop import KIND as NEXT_HOP
from cairn.bgp.attribute.table import ALL, BY_CODE
from cairn.bgp.capability.four_octet_as import AS_TRANS
from cairn.bgp.error import ErrorCode, UpdateError, Violation
from cairn.bgp.family import IPV4_UNICAST, Family, family_of
from cairn.bgp.framing import HEADER_BYTES
from cairn.bgp.negotiate import Negotiated
from cairn.bgp.nlri.table import BY_FAMILY
from cairn.bgp.treatment import Finding, Treatment
from cairn.net import Network
from cairn.wire import Malformed, Reader, Writer

ORIGIN_CODE, AS_PATH_CODE, LOCAL_PREF_CODE, AGGREGATOR_CODE = 1, 2, 5, 7
MP_OVERHEAD_BYTES = 4 + 3 + 1 + 32 + 1
"""Attribute header, family, and the longest next hop."""


@dataclass(frozen=True, slots=True)
class Reachable:
    """Prefixes that share their attributes."""

    attributes: Attributes
    """With the next hop that belongs to these prefixes."""
    prefixes: tuple[Network, ...]
    """What is reachable."""


@dataclass(frozen=True, slots=True)
class Update:
    """What one UPDATE says."""

    withdrawn: tuple[Network, ...] = ()
    """Prefixes of any family that are no longer reachable."""
    reachable: tuple[Reachable, ...] = ()
    """Prefixes of any family that are."""
    end_of_rib: Family | None = None
    """The family whose initial routes are now complete."""
    findings: tuple[Finding, ...] = ()
    """What was wrong, and how it was treated."""


def read_update(body: bytes, negotiated: Negotiated) -> Update:
    """Return what `body` says; raises Violation where the session must end."""
    wire = Reader(body)
    try:
        withdrawn = _prefixes(wire.sub(wire.u16()), "withdrawn routes")
        attributes = wire.sub(wire.u16())
    except Violation:
        raise
    except Malformed as wrong:
        raise _violation(UpdateError.MALFORMED_ATTRIBUTE_LIST, wrong.found, wrong.at) from wrong
    if len(body) == 4:
        return Update(end_of_rib=IPV4_UNICAST)
    found = read_collection(attributes, negotiated)
    nlri = _prefixes(wire, "NLRI")
    return _assemble(withdrawn, nlri, found, negotiated)


def _prefixes(wire: Reader, where: str) -> tuple[Network, ...]:
    try:
        return BY_FAMILY[IPV4_UNICAST].read(wire)
    except Malformed as wrong:
        found = f"{where}: {wrong.found}"
        raise _violation(UpdateError.INVALID_NETWORK_FIELD, found, wrong.at) from wrong


def _assemble(
    withdrawn: tuple[Network, ...],
    nlri: tuple[Network, ...],
    found: Collected,
    negotiated: Negotiated,
) -> Update:
    reach: MpReach | None = found.values.pop(MP_REACH.code, None)
    unreach: MpUnreach | None = found.values.pop(MP_UNREACH.code, None)
    if IPV4_UNICAST not in negotiated.families and (withdrawn or nlri):
        _ignore_family(found, "NLRI", IPV4_UNICAST)
        withdrawn, nlri = (), ()
    for name, part in (("MP_REACH_NLRI", reach), ("MP_UNREACH_NLRI", unreach)):
        if part is not None and part.family not in negotiated.families:
            _ignore_family(found, name, part.family)
    withdrawn += unreach.prefixes if unreach else ()
    announces = bool(nlri) or (reach is not None and reach.next_hop is not None)
    if announces:
        _check_mandatory(found, negotiated, needs_next_hop=bool(nlri))
    worst = max((one.treatment for one in found.findings), default=Treatment.DISCARD_ATTRIBUTE)
    findings = tuple(found.findings)
    if worst >= Treatment.TREAT_AS_WITHDRAW:
        if not announces:
            # RFC 7606 s5.2: what the wrong attribute belonged to cannot be told.
            first = next(one for one in findings if one.treatment is worst)
            raise _violation(first.subcode, str(first), 0)
        gone = (*withdrawn, *nlri, *(reach.prefixes if reach else ()))
        return Update(withdrawn=gone, findings=findings)
    only_unreach = unreach is not None and not withdrawn and found.seen == {MP_UNREACH.code}
    eor = unreach.family if unreach and only_unreach and not nlri and not findings else None
    return Update(withdrawn, _reachable(nlri, reach, found, negotiated), eor, findings)


def _ignore_family(found: Collected, name: str, family: Family) -> None:
    subcode = UpdateError.OPTIONAL_ATTRIBUTE_ERROR
    found.add(Treatment.DISCARD_ATTRIBUTE, name, f"{family} was not negotiated", subcode)


def _check_mandatory(found: Collected, negotiated: Negotiated, *, needs_next_hop: bool) -> None:
    wanted = [ORIGIN_CODE, AS_PATH_CODE]
    wanted += [NEXT_HOP.code] if needs_next_hop else []
    wanted += [LOCAL_PREF_CODE] if negotiated.is_ibgp else []
    for code in wanted:
        if code not in found.seen:
            subcode = UpdateError.MISSING_WELL_KNOWN_ATTRIBUTE
            found.add(Treatment.TREAT_AS_WITHDRAW, BY_CODE[code].name, "missing", subcode)


def _reachable(
    nlri: tuple[Network, ...], reach: MpReach | None, found: Collected, negotiated: Negotiated
) -> tuple[Reachable, ...]:
    if not nlri and not (reach and reach.prefixes):
        return ()
    _merge_as4(found.values, negotiated)
    fields = {kind.field: found.values[kind.code] for kind in ALL if kind.code in found.values}
    shared = Attributes(**fields, unknown=tuple(sorted(found.unknown)))
    parts: list[Reachable] = []
    if nlri:
        parts.append(Reachable(shared, nlri))
    if reach and reach.prefixes:
        own = replace(shared, next_hop=reach.next_hop, link_local=reach.link_local)
        parts.append(Reachable(own, reach.prefixes))
    return tuple(parts)


def _merge_as4(values: dict[int, Any], negotiated: Negotiated) -> None:
    path4 = values.pop(AS4_PATH.code, None)
    who4 = values.pop(AS4_AGGREGATOR.code, None)
    if negotiated.four_octet_as:
        return  # RFC 6793 s4.1: between new speakers these say nothing
    who = values.get(AGGREGATOR_CODE)
    if who is not None and who4 is not None:
        if who.asn != AS_TRANS:
            return  # an old speaker aggregated after them: both are out of date (s4.2.3)
        values[AGGREGATOR_CODE] = who4
    if path4 is not None:
        values[AS_PATH_CODE] = merge_as4(values[AS_PATH_CODE], path4)


def _violation(subcode: UpdateError, found: str, at: int) -> Violation:
    return Violation(ErrorCode.UPDATE_MESSAGE, subcode, found, at=at)


def write_withdrawals(prefixes: Iterable[Network], negotiated: Negotiated) -> list[bytes]:
    """Return as few bodies as hold the withdrawal of `prefixes`, of any families."""
    bodies: list[bytes] = []
    for family, group in _by_family(prefixes).items():
        octets = BY_FAMILY[family].write(group)
        room = negotiated.max_message_bytes - HEADER_BYTES - 4
        if family == IPV4_UNICAST:
            bodies += [_body(withdrawn=part) for part in _pack(octets, room)]
            continue
        for part in _pack(octets, room - MP_OVERHEAD_BYTES):
            head = write_attribute(MP_UNREACH, MpUnreach(family, ()), negotiated)
            bodies.append(_body(attributes=_extend(head, part)))
    return bodies


def write_announcements(
    prefixes: Iterable[Network], attributes: Attributes, negotiated: Negotiated
) -> list[bytes]:
    """Return as few bodies as hold `prefixes`, of any families, with these attributes."""
    bodies: list[bytes] = []
    for family, group in _by_family(prefixes).items():
        octets = BY_FAMILY[family].write(group)
        plain = family == IPV4_UNICAST
        shared = write_attributes(attributes, negotiated, with_next_hop=plain)
        room = negotiated.max_message_bytes - HEADER_BYTES - 4 - len(shared)
        if plain:
            bodies += [_body(attributes=shared, nlri=part) for part in _pack(octets, room)]
            continue
        empty = MpReach(family, attributes.next_hop, (), attributes.link_local)
        head = write_attribute(MP_REACH, empty, negotiated)
        # RFC 7606 s5.1: the attribute with the prefixes comes first.
        bodies += [
            _body(attributes=_extend(head, part) + shared)
            for part in _pack(octets, room - MP_OVERHEAD_BYTES)
        ]
    return bodies


def write_end_of_rib(family: Family, negotiated: Negotiated) -> bytes:
    """Return the body that says: these were all routes of `family` (RFC 4724 s2)."""
    if family == IPV4_UNICAST:
        return _body()
    return _body(attributes=write_attribute(MP_UNREACH, MpUnreach(family, ()), negotiated))


def _by_family(prefixes: Iterable[Network]) -> dict[Family, list[Network]]:
    groups: dict[Family, list[Network]] = {}
    for one in prefixes:
        groups.setdefault(family_of(one), []).append(one)
    return groups


def _pack(items: Sequence[bytes], room: int) -> list[bytes]:
    parts: list[bytes] = []
    current: list[bytes] = []
    used = 0
    for one in items:
        if current and used + len(one) > room:
            parts.append(b"".join(current))
            current, used = [], 0
        current.append(one)
        used += len(one)
    return [*parts, b"".join(current)] if current else parts


def _extend(attribute: bytes, prefixes: bytes) -> bytes:
    # `attribute` has a one-octet length and no prefixes yet; the extended length holds any number.
    flags, code, contents = attribute[0], attribute[1], attribute[3:] + prefixes
    return Writer().u8(flags | 0x10).u8(code).u16(len(contents)).put(contents).done()


def _body(*, withdrawn: bytes = b"", attributes: bytes = b"", nlri: bytes = b"") -> bytes:
    out = Writer().u16(len(withdrawn)).put(withdrawn)
    return out.u16(len(attributes)).put(attributes).put(nlri).done()
