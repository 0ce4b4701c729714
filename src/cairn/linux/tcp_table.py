"""The TCP connections of a network namespace, as the kernel lists them.

    /proc/thread-self/net/tcp, tcp6  ->  who is connected to a local port

Standards   linux/net/ipv4/tcp_ipv4.c (get_tcp4_sock), linux/net/ipv6/tcp_ipv6.c: addresses are
            32-bit words in the machine's byte order, in hexadecimal; state 01 is ESTABLISHED
"""

import sys
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from cairn.net import Address

ESTABLISHED = "01"
TABLES = ("/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6")
_WORD = 8


def connected_to(port: int) -> tuple[Address, ...]:
    """Return who has a connection to this local port, sorted; mapped addresses as IPv4."""
    found: set[Address] = set()
    for table in map(Path, TABLES):
        if table.exists():  # no tcp6 without IPv6
            found.update(read_peers(table.read_text(), port))
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def read_peers(text: str, port: int) -> set[Address]:
    """Return the other ends of established connections to `port` in one of the tables."""
    found = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        local, remote, state = fields[1], fields[2], fields[3]
        if state == ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
            found.add(read_address(remote.rpartition(":")[0]))
    return found


def read_address(digits: str) -> Address:
    """Return the address in the kernel's words; raises ValueError if they are none."""
    words = [bytes.fromhex(digits[at : at + _WORD]) for at in range(0, len(digits), _WORD)]
    octets = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ip_address(octets)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
