"""Resource records: an owner and typed data.

    octets  <->  Record(name, type, class, ttl, data)

Shapes      data: Address for A and AAAA, Name for NS, CNAME and PTR, Srv, Soa; bytes otherwise
Units       ttl in seconds
Standards   RFC 1035 s3.2, s3.3; RFC 2782 (SRV); RFC 3596 (AAAA); RFC 3597 (unknown types)
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from cairn.dns.name import Name, read_name, write_name
from cairn.dns.number import Type
from cairn.net import Address
from cairn.wire import Malformed, Reader, Writer


@dataclass(frozen=True, slots=True)
class Srv:
    """Where a service is (RFC 2782)."""

    priority: int
    """Lower is tried first."""
    weight: int
    """Share among equals."""
    port: int
    """Host order."""
    target: Name
    """Host that serves."""


@dataclass(frozen=True, slots=True)
class Soa:
    """Start of a zone (RFC 1035 s3.3.13)."""

    primary: Name
    """Name server of the zone."""
    contact: Name
    """Mailbox of who is responsible."""
    serial: int
    """Version of the zone."""
    refresh_s: int
    """For secondaries."""
    retry_s: int
    """For secondaries."""
    expire_s: int
    """For secondaries."""
    minimum_s: int
    """How long a negative answer may be kept (RFC 2308)."""


Data = Address | Name | Srv | Soa | bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record."""

    name: Name
    """Owner."""
    type: int
    """A number of `Type`, or another."""
    klass: int
    """A number of `Class`, or another."""
    ttl_s: int
    """How long it may be kept."""
    data: Data
    """By type."""


def read_record(wire: Reader, message: bytes) -> Record:
    """Read one record; raises Malformed if its data are not exactly as long as they say."""
    name = read_name(wire, message)
    number, klass, ttl_s = wire.u16(), wire.u16(), wire.u32()
    body = wire.sub(wire.u16())
    data = _read_data(number, body, message)
    if body:
        raise Malformed(f"{body.left} octets after the data of type {number}", at=body.at)
    return Record(name, number, klass, ttl_s, data)


def write_record(record: Record, wire: Writer, known: MutableMapping[Name, int]) -> None:
    """Append one record; names inside data are not compressed but in the types of RFC 1035."""
    write_name(record.name, wire, known)
    wire.u16(record.type).u16(record.klass).u32(record.ttl_s)
    body = Writer()
    _write_data(record.data, body)
    wire.u16(len(body)).put(body.done())


def _read_data(number: int, body: Reader, message: bytes) -> Data:
    match number:
        case Type.A if body.left == 4:
            return IPv4Address(body.take(4))
        case Type.AAAA if body.left == 16:
            return IPv6Address(body.take(16))
        case Type.A | Type.AAAA:
            raise Malformed(f"address of {body.left} octets", at=body.at)
        case Type.NS | Type.CNAME | Type.PTR:
            return read_name(body, message)
        case Type.SRV:
            return Srv(body.u16(), body.u16(), body.u16(), read_name(body, message))
        case Type.SOA:
            primary, contact = read_name(body, message), read_name(body, message)
            return Soa(primary, contact, body.u32(), body.u32(), body.u32(), body.u32(), body.u32())
        case _:
            return body.rest()


def _write_data(data: Data, body: Writer) -> None:
    match data:
        case IPv4Address() | IPv6Address():
            body.put(data.packed)
        case bytes():
            body.put(data)
        case Srv():
            body.u16(data.priority).u16(data.weight).u16(data.port)
            write_name(data.target, body, None)
        case Soa():
            write_name(data.primary, body, None)
            write_name(data.contact, body, None)
            body.u32(data.serial).u32(data.refresh_s).u32(data.retry_s)
            body.u32(data.expire_s).u32(data.minimum_s)
        case _:
            write_name(data, body, None)
