"""The kernel's neighbour tables: who has which hardware address, and for whom we answer.

    Neighbour  <->  RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH

Standards   linux/include/uapi/linux/neighbour.h
"""

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, AF_UNSPEC

from cairn.net import Address
from cairn.netlink.message import Flag, Kind, read_attributes, write_attribute
from cairn.netlink.socket import Failure, Request, RouteSocket

NEIGHBOUR = struct.Struct("=BxxxiHBB")
DESTINATION, HARDWARE = 1, 2
PROXY = 8


class NeighbourState(IntFlag):
    """How far the kernel trusts an entry (NUD_*)."""

    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One entry of the neighbour table."""

    address: Address
    """The neighbour's IP address."""
    ifindex: int
    """The link it is on."""
    mac: bytes | None
    """Its hardware address, if known."""
    state: NeighbourState
    """How far it is to be trusted."""


def list_neighbours(socket: RouteSocket) -> list[Neighbour]:
    """Return every entry of both families."""
    request = NEIGHBOUR.pack(AF_UNSPEC, 0, 0, 0, 0)
    found = [read_neighbour(payload) for payload in socket.dump(Kind.GET_NEIGHBOUR, request)]
    return [entry for entry in found if entry is not None]


def replace_neighbours(socket: RouteSocket, entries: Sequence[Neighbour]) -> list[Failure]:
    """Write the entries, each in place of any other for its address."""
    flags = Flag.CREATE | Flag.REPLACE
    requests = [Request(Kind.NEW_NEIGHBOUR, flags, _payload(entry)) for entry in entries]
    return socket.execute(requests)


def delete_neighbours(socket: RouteSocket, entries: Sequence[Neighbour]) -> list[Failure]:
    """Remove the entries; one that is already gone is no failure."""
    requests = [Request(Kind.DELETE_NEIGHBOUR, Flag(0), _payload(entry)) for entry in entries]
    return [f for f in socket.execute(requests) if f.errno != errno.ENOENT]


def answer_for(socket: RouteSocket, address: Address, ifindex: int) -> list[Failure]:
    """Let the kernel answer ARP or neighbour solicitations for `address` on a link."""
    payload = _header(address, ifindex, 0, PROXY)
    return socket.execute([Request(Kind.NEW_NEIGHBOUR, Flag.CREATE | Flag.REPLACE, payload)])


def stop_answering_for(socket: RouteSocket, address: Address, ifindex: int) -> list[Failure]:
    """Undo `answer_for`."""
    payload = _header(address, ifindex, 0, PROXY)
    failures = socket.execute([Request(Kind.DELETE_NEIGHBOUR, Flag(0), payload)])
    return [failure for failure in failures if failure.errno != errno.ENOENT]


def read_neighbour(payload: bytes) -> Neighbour | None:
    """Return the entry that one message of a dump describes; None if it is no IP neighbour."""
    family, ifindex, state, _, _ = NEIGHBOUR.unpack_from(payload)
    attributes = read_attributes(payload[NEIGHBOUR.size :])
    octets = attributes.get(DESTINATION)
    if octets is None or family not in (AF_INET, AF_INET6):
        return None
    address = IPv4Address(octets) if family == AF_INET else IPv6Address(octets)
    return Neighbour(address, ifindex, attributes.get(HARDWARE), NeighbourState(state))


def _header(address: Address, ifindex: int, state: int, flags: int) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    header = NEIGHBOUR.pack(family, ifindex, state, flags, 0)
    return header + write_attribute(DESTINATION, address.packed)


def _payload(entry: Neighbour) -> bytes:
    payload = _header(entry.address, entry.ifindex, entry.state, 0)
    return payload + (write_attribute(HARDWARE, entry.mac) if entry.mac else b"")
