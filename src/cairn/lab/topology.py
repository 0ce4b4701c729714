"""The lab's network as data: hosts, segments, addresses, routes and kernel settings.

    node numbers  ->  Topology

Invariants  Pure. Equal arguments give equal topologies; a node added changes no other host.
Not here    Making it real (hosts.py).
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

MAX_NODES = 8
SWITCH = "switch"
ROUTER = "router"
CONTROL_PLANE = "control-plane"
ASN = 64512
CLUSTER_DNS = "10.96.0.10"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
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
    network: str
    """Its IPv4 network."""


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
    gateway: str | None = None
    """Where its default route leads."""
    settings: dict[str, str] = field(default_factory=dict)
    """Kernel settings of its namespace, set before any interface is there."""

    @property
    def address(self) -> str:
        """Its main address, without the length."""
        return self.interfaces[0].addresses[0].split("/")[0]


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


NODES_SEGMENT = Segment("nodes", "br-nodes", "192.168.1.0/24")
LAN_SEGMENT = Segment("lan", "br-lan", "192.168.50.0/24")

_EVERY_HOST = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}
_FORWARDING = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}


def node_name(number: int) -> str:
    """Return the name of node `number`."""
    return f"node-{number}"


def node_address(number: int) -> str:
    """Return the address of node `number`, 192.168.1.10 for the first."""
    return f"192.168.1.{9 + number}"


def pod_network(number: int) -> str:
    """Return the network that the pods of node `number` live in."""
    return f"10.244.{number}.0/24"


def home_network(nodes: Iterable[int] = (1, 2, 3)) -> Topology:
    """Return the reference scenario's network with the nodes of these numbers."""
    numbers = sorted(set(nodes))
    if not numbers or numbers[0] < 1 or numbers[-1] > MAX_NODES:
        raise ValueError(f"nodes {numbers}: a lab has node numbers from 1 to {MAX_NODES}")
    router = Host(
        ROUTER,
        Role.ROUTER,
        (
            _interface("eth0", ROUTER, NODES_SEGMENT, "192.168.1.1", offload=False),
            _interface("eth1", f"{ROUTER}-lan", LAN_SEGMENT, "192.168.50.1", offload=False),
        ),
        settings=_EVERY_HOST | _FORWARDING,
    )
    control = _single(CONTROL_PLANE, Role.CONTROL_PLANE, NODES_SEGMENT, API_ADDRESS)
    clients = (
        _single("client-1", Role.CLIENT, LAN_SEGMENT, "192.168.50.10"),
        _single("client-2", Role.CLIENT, NODES_SEGMENT, "192.168.1.50"),
    )
    workers = tuple(node_host(number) for number in numbers)
    return Topology((NODES_SEGMENT, LAN_SEGMENT), (router, control, *workers, *clients))


def node_host(number: int) -> Host:
    """Return node `number` as a host."""
    return _single(
        node_name(number), Role.NODE, NODES_SEGMENT, node_address(number), settings=_FORWARDING
    )


def hosts_file(topology: Topology, host: str) -> str:
    """Return the text of /etc/hosts on a host: itself, and every other host by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"127.0.1.1 {host}"]
    lines += [f"{other.address} {other.name}" for other in topology.hosts]
    return "\n".join(lines) + "\n"


def resolver_file(host: Host) -> str:
    """Return the text of /etc/resolv.conf on a host: the home router answers, as at home."""
    server = host.gateway or "127.0.0.1"
    return f"search home.arpa\nnameserver {server}\noptions timeout:1 attempts:1\n"


def _single(
    name: str,
    role: Role,
    segment: Segment,
    address: str,
    *,
    settings: dict[str, str] | None = None,
) -> Host:
    first = next(ipaddress.ip_network(segment.network).hosts())
    interface = _interface("eth0", name, segment, address, offload=role is not Role.CLIENT)
    return Host(name, role, (interface,), str(first), _EVERY_HOST | (settings or {}))


def _interface(name: str, port: str, segment: Segment, address: str, *, offload: bool) -> Interface:
    length = ipaddress.ip_network(segment.network).prefixlen
    octets = ipaddress.ip_address(address).packed
    mac = "02:ca:" + octets.hex(":")
    return Interface(name, port, segment.bridge, (f"{address}/{length}",), mac, offload=offload)
