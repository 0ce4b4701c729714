"""IPv6 unicast: prefixes of up to 128 bits.

    octets of a whole list  <->  tuple of IPv6Network

Standards   RFC 4271 s4.3; RFC 4760 s5; RFC 2545
"""

from ipaddress import IPv6Network

from cairn.bgp.family import IPV6_UNICAST
from cairn.bgp.nlri.kind import NlriKind, read_prefixes, write_prefixes
from cairn.net import Network
from cairn.wire import Reader


def read_ipv6_unicast(wire: Reader) -> tuple[Network, ...]:
    """Return all prefixes up to the end of `wire`."""
    return read_prefixes(wire, 128, IPv6Network)


KIND = NlriKind(
    family=IPV6_UNICAST,
    name="IPv6 unicast",
    read=read_ipv6_unicast,
    write=write_prefixes,
    address_bytes=16,
    spec="RFC 2545",
)
