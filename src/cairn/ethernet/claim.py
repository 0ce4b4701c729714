"""What a frame says about who has an address.

    one Ethernet frame  ->  Claim, or None

Invariants  Never raises: what is no sound ARP or neighbour discovery claims nothing.
"""

from dataclasses import dataclass

from cairn.ethernet import arp, nd
from cairn.net import Address
from cairn.wire import Malformed

ETHERTYPE_AT = 12


@dataclass(frozen=True, slots=True)
class Claim:
    """Someone says that it has an address."""

    address: Address
    """The address."""
    mac: bytes
    """The Ethernet address that answers for it."""


def claim_of(frame: bytes) -> Claim | None:
    """Return what the frame claims; None if it claims nothing."""
    ethertype = int.from_bytes(frame[ETHERTYPE_AT : ETHERTYPE_AT + 2], "big")
    try:
        message = arp.read_arp(frame) if ethertype == arp.ETHERTYPE else nd.read_nd(frame)
    except Malformed:
        return None
    return None if message.claim is None else Claim(*message.claim)
