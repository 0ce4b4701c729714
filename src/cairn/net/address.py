"""IP addresses and networks of either family.

    "192.168.1.100", "2001:db8::/64"  ->  Address, Network

Invariants  Parsing accepts what ipaddress accepts and raises ValueError with the text in it.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str) -> Address:
    """Return the address that `text` spells; raises ValueError if it spells none."""
    return ipaddress.ip_address(text)


def parse_network(text: str, *, strict: bool = True) -> Network:
    """Return the network that `text` spells; with `strict`, host bits must be clear."""
    return ipaddress.ip_network(text, strict=strict)
