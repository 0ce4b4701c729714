"""Addresses of flow columns: 16 octets, IPv4 mapped, and as two numbers.

    octets  <->  Address;  column  ->  its halves

Standards   RFC 4291 s2.5.5.2
"""

import ipaddress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cairn.flow.columns import FLOW
from cairn.net import Address, Network

_MAPPED = b"\0" * 10 + b"\xff\xff"
MAPPED_BITS = 96
Words = npt.NDArray[np.uint64]
Records = np.ndarray[tuple[int], np.dtype[np.void]]


class Halves(NamedTuple):
    """Addresses as numbers: their octets as this machine reads them, so for comparing only."""

    front: Words
    """The first eight octets."""
    back: Words
    """The last eight."""


def read_octets(octets: bytes) -> Address:
    """Return the address in 16 octets; a mapped one comes back as IPv4."""
    if octets.startswith(_MAPPED):
        return ipaddress.IPv4Address(octets[12:])
    return ipaddress.IPv6Address(octets)


def write_octets(address: Address) -> bytes:
    """Return the 16 octets of an address."""
    return address.packed if address.version == 6 else _MAPPED + address.packed


def words(octets: bytes) -> tuple[np.uint64, np.uint64]:
    """Return the halves of one address, or of a mask."""
    front, back = np.frombuffer(octets, np.uint64)
    return front, back


def halves(records: Records, column: str) -> Halves:
    """Return a column of addresses as numbers, without copying it."""
    offset = FLOW.fields[column][1] if FLOW.fields else 0
    pair = np.dtype(
        {
            "names": ["front", "back"],
            "formats": ["u8", "u8"],
            "offsets": [offset, offset + 8],
            "itemsize": FLOW.itemsize,
        }
    )
    seen = records.view(pair)
    return Halves(seen["front"], seen["back"])


def mask_of(network: Network) -> bytes:
    """Return the 16 octets that have the network's own bits set."""
    length = network.prefixlen + (MAPPED_BITS if network.version == 4 else 0)
    return ((1 << 128) - (1 << (128 - length))).to_bytes(16, "big")


_MAPPED_FRONT, _MAPPED_BACK = words(_MAPPED + bytes(4))
_BACK_MASK = words(bytes(8) + b"\xff" * 4 + bytes(4))[1]


def is_ipv4(of: Halves) -> npt.NDArray[np.bool_]:
    """Return which addresses are IPv4."""
    four: npt.NDArray[np.bool_] = (of.back & _BACK_MASK) == _MAPPED_BACK
    four &= of.front == _MAPPED_FRONT
    return four
