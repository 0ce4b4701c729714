"""The descriptor of a family's reachability information, and the bulk reading of prefixes.

    length:u8 in bits, ceil(length / 8) octets, repeated  <->  tuple of networks

Invariants  Bits past a prefix's length are cleared, as they carry no meaning.
Standards   RFC 4271 s4.3; RFC 7606 s5.3
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from cairn.bgp.family import Family
from cairn.net import Network
from cairn.wire import Malformed, Reader


@dataclass(frozen=True, slots=True)
class NlriKind:
    """One row of the table of families."""

    family: Family
    """AFI and SAFI."""
    name: str
    """As people say it."""
    read: Callable[[Reader], tuple[Network, ...]]
    """A whole list at once; raises Malformed."""
    write: Callable[[Iterable[Network]], list[bytes]]
    """One item of octets per prefix, to be packed into messages."""
    address_bytes: int
    """Octets of an address of this family."""
    spec: str
    """Where it is defined."""


def read_prefixes(
    wire: Reader, max_bits: int, make: Callable[[tuple[int, int]], IPv4Network | IPv6Network]
) -> tuple[Network, ...]:
    """Return all prefixes up to the end of `wire`."""
    base = wire.at
    data = wire.rest()
    found: list[Network] = []
    at, end = 0, len(data)
    while at < end:
        length = data[at]
        if length > max_bits:
            raise Malformed(f"prefix length {length}, limit {max_bits}", at=base + at)
        size = (length + 7) >> 3
        stop = at + 1 + size
        if stop > end:
            raise Malformed(f"prefix of {size} octets, {end - at - 1} left", at=base + at)
        host_bits = size * 8 - length
        bits = int.from_bytes(data[at + 1 : stop], "big") >> host_bits << (max_bits - length)
        found.append(make((bits, length)))
        at = stop
    return tuple(found)


def write_prefixes(prefixes: Iterable[Network]) -> list[bytes]:
    """Return the shortest encoding of each prefix."""
    return [
        bytes([one.prefixlen]) + one.network_address.packed[: (one.prefixlen + 7) >> 3]
        for one in prefixes
    ]
