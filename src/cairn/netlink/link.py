"""Links and addresses as the kernel has them: read only, in one dump each.

    the namespace  ->  Link, InterfaceAddress

Standards   linux/include/uapi/linux/if_link.h, if_addr.h
Not here    Making links (pyroute2 does that where it is needed).
"""

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Interface, IPv6Interface
from socket import AF_INET, AF_INET6, AF_UNSPEC

from cairn.netlink.message import Kind, read_attributes
from cairn.netlink.socket import RouteSocket

LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBI")
NUMBER = struct.Struct("=I")

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_INFO_KIND = 18, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2


class LinkFlag(IntFlag):
    """State of a link (IFF_*)."""

    UP = 1
    LOOPBACK = 8
    RUNNING = 64


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface."""

    ifindex: int
    """The kernel's number for it, in this namespace."""
    name: str
    """Its name."""
    mac: bytes
    """Hardware address; empty if it has none."""
    mtu: int
    """Largest packet, in octets."""
    flags: LinkFlag
    """Whether it is up and has carrier."""
    master: int | None
    """The bridge it is a port of."""
    peer: int | None
    """The other end of a veth, numbered in that end's namespace."""
    kind: str
    """"veth", "bridge", …; empty for hardware."""


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of an interface."""

    ifindex: int
    """The interface."""
    address: IPv4Interface | IPv6Interface
    """The address with its prefix length."""


def list_links(socket: RouteSocket) -> list[Link]:
    """Return every interface of the socket's namespace."""
    request = LINK.pack(AF_UNSPEC, 0, 0, 0, 0)
    return [read_link(payload) for payload in socket.dump(Kind.GET_LINK, request)]


def list_addresses(socket: RouteSocket) -> list[InterfaceAddress]:
    """Return every IP address of the socket's namespace."""
    request = ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0)
    found = [read_address(payload) for payload in socket.dump(Kind.GET_ADDRESS, request)]
    return [address for address in found if address is not None]


def read_link(payload: bytes) -> Link:
    """Return the link that one message of a dump describes."""
    _, _, ifindex, flags, _ = LINK.unpack_from(payload)
    attributes = read_attributes(payload[LINK.size :])
    info = read_attributes(attributes.get(IFLA_LINKINFO, b""))
    return Link(
        ifindex=ifindex,
        name=attributes[IFLA_IFNAME].rstrip(b"\0").decode(),
        mac=attributes.get(IFLA_ADDRESS, b""),
        mtu=_number(attributes.get(IFLA_MTU)) or 0,
        flags=LinkFlag(flags & sum(LinkFlag)),
        master=_number(attributes.get(IFLA_MASTER)),
        peer=_number(attributes.get(IFLA_LINK)),
        kind=info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
    )


def read_address(payload: bytes) -> InterfaceAddress | None:
    """Return the address that one message of a dump describes; None if it is no IP address."""
    family, length, _, _, ifindex = ADDRESS.unpack_from(payload)
    attributes = read_attributes(payload[ADDRESS.size :])
    octets = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if octets is None or family not in (AF_INET, AF_INET6):
        return None
    kind = IPv4Interface if family == AF_INET else IPv6Interface
    return InterfaceAddress(ifindex, kind((octets, length)))


def _number(octets: bytes | None) -> int | None:
    return None if octets is None else int(NUMBER.unpack(octets)[0])
