"""IPv4 unicast: prefixes of up to 32 bits.

    octets of a whole list  <->  tuple of IPv4Network

Standards   RFC 4271 s4.3; RFC 4760 s5
"""

from ipaddress import IPv4Network

from cairn.bgp.family import IPV4_UNICAST
from cairn.bgp.nlri.kind import NlriKind, read_prefixes, write_prefixes
from cairn.net import Network
from cairn.wire import Reader


def read_ipv4_unicast(wire: Reader) -> tuple[Network, ...]:
    """Return all prefixes up to the end of `wire`."""
    return read_prefixes(wire, 32, IPv4Network)


KIND = NlriKind(
    family=IPV4_UNICAST,
    name="IPv4 unicast",
    read=read_ipv4_unicast,
    write=write_prefixes,
    address_bytes=4,
    spec="RFC 4271 s4.3",
)
