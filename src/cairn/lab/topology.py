"""The lab's network as data: hosts, segments, addresses, routes and kernel settings.

    node numbers  ->  Topology

Invariants  Pure. Equal arguments give equal topologies; a node added changes no other host.
            Everything has both families; where several addresses stand together, IPv4 is first.
Not here    Making it real (hosts.py).
"""

import ipaddress
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from enum import Enum

MAX_NODES = 8
SWITCH = "switch"
ROUTER = "router"
CONTROL_PLANE = "control-plane"
ASN = 64512
CLUSTER_DNS = "10.96.0.10"
POD_NETWORKS = ("10.244.0.0/16", "fd00:10:244::/48")
SERVICE_NETWORKS = ("10.96.0.0/16", "fd00:10:96::/112")
API_ADDRESS = "192.168.1.5"
API_PORT = 6443
_MTU = 1500


class Role(Enum):
    """What a host is for."""

    ROUTER = "router"
    CONTROL_PLANE = "control plane"
    NODE = "node"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Segment:
    """One Ethernet: a bridge in the switch's namespace."""

    name: str
    """Its name for people."""
    bridge: str
    """Name of the bridge."""
    networks: tuple[str, ...]
    """Its networks, IPv4 first; the router has the first address of each."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a cable: the host's interface, and the port of the switch it is plugged in."""

    name: str
    """Name in the host."""
    port: str
    """Name of the switch's port."""
    bridge: str
    """The bridge that the port belongs to."""
    addresses: tuple[str, ...]
    """Addresses with prefix length."""
    mac: str
    """Hardware address, made from the first address."""
    mtu: int = _MTU
    """Largest packet."""
    offload: bool = True
    """Whether checksums are left to the device, which between namespaces means that nobody
    computes them; without, a wrong checksum cannot hide."""


@dataclass(frozen=True, slots=True)
class Host:
    """One machine of the home network."""

    name: str
    """Its name."""
    role: Role
    """What it is for."""
    interfaces: tuple[Interface, ...]
    """Its interfaces, the main one first."""
    gateways: tuple[str, ...] = ()
    """Where its default routes lead, one per family."""
    settings: dict[str, str] = field(default_factory=dict)
    """Kernel settings of its namespace, set before any interface is there."""

    @property
    def address(self) -> str:
        """Its main address, without the length."""
        return self.addresses[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of its main interface, without the length."""
        return tuple(text.split("/")[0] for text in self.interfaces[0].addresses)


@dataclass(frozen=True, slots=True)
class Topology:
    """All of it."""

    segments: tuple[Segment, ...]
    """The bridges."""
    hosts: tuple[Host, ...]
    """The machines, the router first."""

    def host(self, name: str) -> Host:
        """Return the host of that name; raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)


NODES_SEGMENT = Segment("nodes", "br-nodes", ("192.168.1.0/24", "fd00:1::/64"))
FAR_SEGMENT = Segment("far", "br-far", ("192.168.2.0/24", "fd00:2::/64"))
"""A second subnet for nodes, behind the same router."""
LAN_SEGMENT = Segment("lan", "br-lan", ("192.168.50.0/24", "fd00:50::/64"))

_EVERY_HOST = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv6.conf.default.accept_redirects": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}
_FORWARDING = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
}


def node_name(number: int) -> str:
    """Return the name of node `number`."""
    return f"node-{number}"


def node_addresses(number: int, *, far: bool = False) -> tuple[str, ...]:
    """Return the addresses of node `number`: 192.168.1.10 and fd00:1::a for the first."""
    return _addresses(FAR_SEGMENT if far else NODES_SEGMENT, 9 + number)


def pod_networks(number: int) -> tuple[str, ...]:
    """Return the networks that the pods of node `number` live in."""
    return (f"10.244.{number}.0/24", f"fd00:10:244:{number:x}::/64")


def home_network(nodes: Iterable[int] = (1, 2, 3), far: Container[int] = ()) -> Topology:
    """Return the reference scenario's network with the nodes of these numbers.

    Those in `far` stand on the second subnet.
    """
    numbers = sorted(set(nodes))
    if not numbers or numbers[0] < 1 or numbers[-1] > MAX_NODES:
        raise ValueError(f"nodes {numbers}: a lab has node numbers from 1 to {MAX_NODES}")
    router = Host(
        ROUTER,
        Role.ROUTER,
        (
            _interface("eth0", ROUTER, NODES_SEGMENT, 1, offload=False),
            _interface("eth1", f"{ROUTER}-lan", LAN_SEGMENT, 1, offload=False),
            _interface("eth2", f"{ROUTER}-far", FAR_SEGMENT, 1, offload=False),
        ),
        settings=_EVERY_HOST | _FORWARDING,
    )
    control = _single(CONTROL_PLANE, Role.CONTROL_PLANE, NODES_SEGMENT, 5)
    clients = (
        _single("client-1", Role.CLIENT, LAN_SEGMENT, 10),
        _single("client-2", Role.CLIENT, NODES_SEGMENT, 50),
    )
    workers = tuple(node_host(number, far=number in far) for number in numbers)
    segments = (NODES_SEGMENT, LAN_SEGMENT, FAR_SEGMENT)
    return Topology(segments, (router, control, *workers, *clients))


def node_host(number: int, *, far: bool = False) -> Host:
    """Return node `number` as a host."""
    name, segment = node_name(number), FAR_SEGMENT if far else NODES_SEGMENT
    return _single(name, Role.NODE, segment, 9 + number, settings=_FORWARDING)


def hosts_file(topology: Topology, host: str) -> str:
    """Return the text of /etc/hosts on a host: itself, and every other host by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"127.0.1.1 {host}"]
    lines += [f"{address} {other.name}" for other in topology.hosts for address in other.addresses]
    return "\n".join(lines) + "\n"


def resolver_file(host: Host) -> str:
    """Return the text of /etc/resolv.conf on a host: the home router answers, as at home."""
    server = host.gateways[0] if host.gateways else "127.0.0.1"
    return f"search home.arpa\nnameserver {server}\noptions timeout:1 attempts:1\n"


def _single(
    name: str, role: Role, segment: Segment, number: int, *, settings: dict[str, str] | None = None
) -> Host:
    interface = _interface("eth0", name, segment, number, offload=role is not Role.CLIENT)
    return Host(name, role, (interface,), _addresses(segment, 1), _EVERY_HOST | (settings or {}))


def _interface(name: str, port: str, segment: Segment, number: int, *, offload: bool) -> Interface:
    addresses = _addresses(segment, number)
    lengths = (ipaddress.ip_network(text).prefixlen for text in segment.networks)
    mac = "02:ca:" + ipaddress.ip_address(addresses[0]).packed.hex(":")
    with_lengths = tuple(f"{a}/{length}" for a, length in zip(addresses, lengths, strict=True))
    return Interface(name, port, segment.bridge, with_lengths, mac, offload=offload)


def _addresses(segment: Segment, number: int) -> tuple[str, ...]:
    """Return the addresses of the host that has this number on a segment."""
    return tuple(str(ipaddress.ip_network(text)[number]) for text in segment.networks)
