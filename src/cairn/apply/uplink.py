"""The interface by which a node meets the rest of the network, and its routes to other nodes' pods.

    an address of the node  ->  Uplink;  pod networks of peers  ->  routes over it

Invariants  Routes carry the protocol number below, so that only our own are ever removed.
Standards   rtnetlink(7)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cairn.linux import sysctl
from cairn.net import Address, Network, parse_address, parse_network
from cairn.reconcile import plan

ROUTE_PROTOCOL = 201
"""Owner of our routes to other nodes' pods in the kernel's table (RTPROT_*; unassigned there)."""
_FAMILIES = (2, 10)  # AF_INET, AF_INET6


class NoUplink(Exception):
    """No interface carries the node's address."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface that carries the node's address."""

    name: str
    """Interface name."""
    ifindex: int
    """Interface index."""
    mac: str
    """Its Ethernet address."""
    mtu_bytes: int
    """Largest packet that it sends."""
    address: Address
    """The node's address on it."""
    network: Network
    """The subnet of that address."""
    others: tuple[tuple[Address, Network], ...] = ()
    """The node's further addresses on it with their subnets: usually one of the other family."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every address of the node on it, the main one first."""
        return (self.address, *(address for address, _ in self.others))

    @property
    def networks(self) -> tuple[Network, ...]:
        """The subnets of these addresses, in the same order."""
        return (self.network, *(network for _, network in self.others))

    def address_of(self, version: int) -> Address | None:
        """Return the node's first address of an IP version."""
        return next((a for a in self.addresses if a.version == version), None)


def find_uplink(address: Address, *others: Address) -> Uplink:
    """Return the interface that carries `address`, with those of `others` that are on it too.

    Raises NoUplink with what is there.
    """
    with IPRoute() as kernel:
        present: dict[Address, tuple[int, Network]] = {}
        for message in kernel.get_addr():
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            network = parse_network(f"{text}/{message['prefixlen']}", strict=False)
            present[parse_address(text)] = (message["index"], network)
        if address not in present:
            raise NoUplink(
                f"no interface has the node's InternalIP {address}; found "
                f"{', '.join(map(str, present))}: correct the Node's address or the interface"
            )
        index, network = present[address]
        link = kernel.get_links(index)[0]
        return Uplink(
            name=link.get_attr("IFLA_IFNAME"),
            ifindex=index,
            mac=link.get_attr("IFLA_ADDRESS"),
            mtu_bytes=link.get_attr("IFLA_MTU"),
            address=address,
            network=network,
            others=tuple(
                (other, present[other][1])
                for other in others
                if other in present and present[other][0] == index
            ),
        )


def prepare_node(uplink: Uplink) -> list[str]:
    """Set what the kernel needs to forward for pods; return the settings that it lacks."""
    return sysctl.write_settings(
        {
            "net/ipv4/ip_forward": "1",
            # Replies leave by another way than requests came: strict filters would drop them.
            "net/ipv4/conf/all/rp_filter": "0",
            f"net/ipv4/conf/{uplink.name}/rp_filter": "0",
            "net/ipv6/conf/all/forwarding": "1",
        },
        optional=True,
    )


def apply_pod_routes(uplink: Uplink, desired: Mapping[Network, Address]) -> list[str]:
    """Make the kernel's routes to other nodes' pods be `desired`; return what failed."""
    failed: list[str] = []
    with IPRoute() as kernel:
        todo = plan(_pod_routes(kernel, uplink), desired)
        for network, gateway in todo.writes.items():
            try:
                kernel.route(
                    "replace",
                    dst=str(network),
                    gateway=str(gateway),
                    oif=uplink.ifindex,
                    proto=ROUTE_PROTOCOL,
                )
            except NetlinkError as error:
                failed.append(f"route {network} via {gateway}: {error}")
        for network in todo.delete:
            try:
                kernel.route("del", dst=str(network), proto=ROUTE_PROTOCOL)
            except NetlinkError as error:
                failed.append(f"removal of route {network}: {error}")
    return failed


def _pod_routes(kernel: IPRoute, uplink: Uplink) -> dict[Network, Address]:
    found: dict[Network, Address] = {}
    for message in chain.from_iterable(
        kernel.get_routes(family=family, proto=ROUTE_PROTOCOL, oif=uplink.ifindex)
        for family in _FAMILIES
    ):
        gateway = message.get_attr("RTA_GATEWAY")
        destination = message.get_attr("RTA_DST")
        if message["proto"] == ROUTE_PROTOCOL and gateway and destination:
            network = parse_network(f"{destination}/{message['dst_len']}")
            found[network] = parse_address(gateway)
    return found
