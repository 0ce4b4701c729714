"""Network values that every layer speaks: addresses, protocols, endpoints.

    text, numbers  ->  frozen values

Not here    Kubernetes' view of them (kube), their octets in maps (abi).
"""

from cairn.net.address import Address, Network, parse_address, parse_network
from cairn.net.endpoint import L4Address, parse_l4_address
from cairn.net.mac import parse_mac
from cairn.net.protocol import Protocol

__all__ = [
    "Address",
    "L4Address",
    "Network",
    "Protocol",
    "parse_address",
    "parse_l4_address",
    "parse_mac",
    "parse_network",
]
