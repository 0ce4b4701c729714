"""Addresses that lead to no backend, whatever an EndpointSlice says.

    address  ->  what it is, "" if a backend may have it

Cost        under a microsecond: asked for each endpoint of the cluster
Standards   EndpointSlice API validation, RFC 6890
"""

from cairn.net import Address


def unusable(address: Address) -> str:
    """Return why nobody is sent to `address`; "" if nothing speaks against it."""
    number = int(address)
    if address.version == 4:
        first = number >> 24
        if not first:
            return "unspecified"
        if first == 127:
            return "loopback"
        if number >> 16 == 0xA9FE:
            return "link-local"
        if first >= 240:
            return "reserved or broadcast"
        return "multicast" if first >= 224 else ""
    if number <= 1:
        return "loopback" if number else "unspecified"
    if number >> 32 == 0xFFFF:
        return "an IPv4 address inside IPv6"
    if number >> 118 == 0xFE80 >> 6:
        return "link-local"
    return "multicast" if number >> 120 == 0xFF else ""
