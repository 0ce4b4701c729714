"""OPEN: who the speaker is and what it can do.

    version, AS, hold time, identifier, optional parameters  <->  Open

Layout      version:u8 AS:u16 hold time:u16 identifier:4 octets, length:u8, then parameters of
            type:u8 length:u8 …; extended: length 255, then 255, length:u16, then parameters of
            type:u8 length:u16 …
Invariants  `asn` is the true number, also where the two-octet field holds AS_TRANS.
Standards   RFC 4271 s4.2, s6.2; RFC 5492; RFC 6286 (identifier); RFC 6793; RFC 9072 (extended)
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from cairn.bgp.capability.four_octet_as import FourOctetAs, two_octet_asn
from cairn.bgp.capability.table import Capability, read_capabilities, write_capability
from cairn.bgp.error import ErrorCode, OpenError, Violation
from cairn.wire import Malformed, Reader, Writer

VERSION = 4
PARAMETER_CAPABILITIES = 2
EXTENDED = 255


@dataclass(frozen=True, slots=True)
class Open:
    """What one side says at the start."""

    asn: int
    """Its autonomous system."""
    hold_time_s: int
    """Seconds of silence it will bear; 0: for ever."""
    router_id: IPv4Address
    """Its BGP identifier."""
    capabilities: tuple[Capability, ...] = ()
    """What it can do, in its order."""


def read_open(body: bytes) -> Open:
    """Return the OPEN; raises Violation with the code to answer with."""
    try:
        return _read(Reader(body))
    except Violation:
        raise
    except Malformed as wrong:
        raise _violation(OpenError.UNSPECIFIC, wrong.found, wrong.at) from wrong


def _read(wire: Reader) -> Open:
    version = wire.u8()
    if version != VERSION:
        data = Writer().u16(VERSION).done()
        raise _violation(OpenError.UNSUPPORTED_VERSION_NUMBER, f"version {version}", 0, data)
    asn = wire.u16()
    hold_time_s = wire.u16()
    if hold_time_s in (1, 2):
        data = Writer().u16(hold_time_s).done()
        raise _violation(OpenError.UNACCEPTABLE_HOLD_TIME, f"hold time {hold_time_s} s", 3, data)
    router_id = IPv4Address(wire.take(4))
    if int(router_id) == 0:
        raise _violation(OpenError.BAD_BGP_IDENTIFIER, "identifier 0.0.0.0", 5)
    capabilities = _read_parameters(wire)
    for one in capabilities:
        if isinstance(one, FourOctetAs):
            asn = one.asn
    if asn == 0:
        raise _violation(OpenError.BAD_PEER_AS, "AS 0", 1)
    return Open(asn, hold_time_s, router_id, capabilities)


def _read_parameters(wire: Reader) -> tuple[Capability, ...]:
    length = wire.u8()
    extended = length == EXTENDED and wire.left >= 3
    if extended:
        marker = wire.u8()
        # RFC 9072 s2: the marker alone makes it extended; 255 ordinary octets are another reading.
        if marker != EXTENDED:
            raise Malformed(f"parameter {marker}, not the extended marker", at=wire.at)
        length = wire.u16()
    if length != wire.left:
        raise Malformed(f"parameters of {length} octets, {wire.left} left", at=wire.at)
    found: list[Capability] = []
    while wire:
        start = wire.at
        kind = wire.u8()
        contents = wire.sub(wire.u16() if extended else wire.u8())
        if kind != PARAMETER_CAPABILITIES:
            found_text = f"optional parameter {kind}"
            raise _violation(OpenError.UNSUPPORTED_OPTIONAL_PARAMETER, found_text, start)
        found += read_capabilities(contents)
    return tuple(found)


def write_open(value: Open) -> bytes:
    """Return the body, extended only where it has to be."""
    head = Writer().u8(VERSION).u16(two_octet_asn(value.asn)).u16(value.hold_time_s)
    head.put(value.router_id.packed)
    octets = [write_capability(one) for one in value.capabilities]
    plain = Writer()
    for one in octets:
        if len(one) < EXTENDED:
            plain.u8(PARAMETER_CAPABILITIES).u8(len(one)).put(one)
    if len(plain) < EXTENDED and all(len(one) < EXTENDED for one in octets):
        return head.u8(len(plain)).put(plain.done()).done()
    wide = Writer()
    for one in octets:
        wide.u8(PARAMETER_CAPABILITIES).u16(len(one)).put(one)
    return head.u8(EXTENDED).u8(EXTENDED).u16(len(wide)).put(wide.done()).done()


def _violation(subcode: OpenError, found: str, at: int, data: bytes = b"") -> Violation:
    return Violation(ErrorCode.OPEN_MESSAGE, subcode, found, at=at, data=data)
