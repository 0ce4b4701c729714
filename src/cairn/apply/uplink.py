"""The interface by which a node meets the rest of the network.

    an address of the node  ->  Uplink

Standards   rtnetlink(7)
Not here    The routes over it (apply.pod_routes).
"""

from dataclasses import dataclass

from cairn.linux import sysctl
from cairn.net import Address, Network, parse_address, parse_network
from cairn.netlink.iproute import IPRoute


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


def mtu_of(uplink: Uplink) -> int:
    """Return the largest packet that the uplink sends now; raises NoUplink if it is gone."""
    with IPRoute() as kernel:
        found = list(kernel.get_links(ifname=uplink.name))
        if not found or found[0]["index"] != uplink.ifindex:
            raise NoUplink(f"interface {uplink.name} is gone, or is another of that name")
        return int(found[0].get_attr("IFLA_MTU"))


def prepare_node(uplink: Uplink) -> list[str]:
    """Set what the kernel needs to forward for pods; return the settings that it lacks."""
    return sysctl.write_settings(
        {
            "net/ipv4/ip_forward": "1",
            # Replies leave by another way than requests came: strict filters would drop them.
            "net/ipv4/conf/all/rp_filter": "0",
            f"net/ipv4/conf/{uplink.name}/rp_filter": "0",
            "net/ipv6/conf/all/forwarding": "1",
            # A proxy for all that is routed would answer for VIPs, beside the node that does.
            "net/ipv4/conf/all/proxy_arp": "0",
            f"net/ipv4/conf/{uplink.name}/proxy_arp": "0",
        },
        optional=True,
    )
