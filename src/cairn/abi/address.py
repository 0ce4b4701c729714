"""Addresses as the data plane holds them: 16 octets, IPv4 mapped.

    IPv4Address, IPv6Address  <->  16 octets in network order

Standards   RFC 4291 s2.5.5.2
"""

import ipaddress

from cairn.net import Address

_MAPPED = b"\0" * 10 + b"\xff\xff"
MAPPED_BITS = 96
"""What a prefix length of an IPv4 network grows by when it is mapped."""


def read_address(octets: bytes) -> Address:
    """Return the address in 16 octets; a mapped one comes back as IPv4."""
    if octets.startswith(_MAPPED):
        return ipaddress.IPv4Address(octets[12:])
    return ipaddress.IPv6Address(octets)


def write_address(address: Address) -> bytes:
    """Return the 16 octets of `address`."""
    return address.packed if address.version == 6 else _MAPPED + address.packed
