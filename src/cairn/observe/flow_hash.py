"""The hash by which every node finds a flow's backend.

    client, frontend  ->  32 bits  ->  slot of a Maglev table

Invariants  The same as bpf/lib/hash.h, bit for bit (tests/bpf/test_flow_hash.py).
"""

from cairn.abi.address import write_address
from cairn.net import Address, L4Address

_SEED = 0x6361697266621A7B
_PRIME = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def hash_flow(client: L4Address, frontend: L4Address) -> int:
    """Return the hash of the packets that a client sends from one port to a frontend."""
    hashed = _address(_address(_SEED, client.address), frontend.address)
    ports = client.port << 16 | frontend.port
    return _finish(_word(hashed, ports << 8 | frontend.protocol))


def hash_client(client: Address) -> int:
    """Return the hash of all that a client sends to a frontend with session affinity."""
    return _finish(_address(_SEED, client))


def slot_of(hashed: int, slots: int) -> int:
    """Return which of so many slots a hash belongs to."""
    return hashed * slots >> 32


def _address(hashed: int, address: Address) -> int:
    octets = write_address(address)
    high, low = int.from_bytes(octets[:8], "big"), int.from_bytes(octets[8:], "big")
    return _word(_word(hashed, high), low)


def _word(hashed: int, word: int) -> int:
    mixed = (hashed ^ word) * _PRIME & _MASK
    return mixed ^ mixed >> 29


def _finish(hashed: int) -> int:
    hashed = (hashed ^ hashed >> 33) * 0xFF51AFD7ED558CCD & _MASK
    hashed = (hashed ^ hashed >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return hashed >> 32
