"""The overlay: one VXLAN device towards nodes on other subnets, there only while one is.

    largest packet that fits, or None  ->  device `cairn_vxlan` with its programs, or none

The device has no ends of its own: the programs give each packet those of its tunnel, and take from
a packet that arrives the node that sent it. It is without ARP and ND, so a plain route over it
needs no neighbour. Inner Ethernet addresses mean nothing.

Invariants  The programs are attached before the device is up: nothing gets past them.
Standards   RFC 7348; linux/drivers/net/vxlan (collect metadata)
"""

from collections.abc import Iterable

from cairn.apply.data_plane import DataPlane
from cairn.linux import sysctl
from cairn.netlink.iproute import IFF_NOARP, IPRoute, nlmsg

DEVICE = "cairn_vxlan"
PORT = 8472
"""UDP port: what Linux used before RFC 7348, and what firewalls in front of clusters let pass."""
OVERHEAD_BYTES = {4: 50, 6: 70}
"""Outer IP, UDP, VXLAN and inner Ethernet headers, by the version of the outer IP."""


def overlay_mtu(uplink_mtu_bytes: int, underlays: Iterable[int]) -> int | None:
    """Return the largest packet that fits through tunnels of these IP versions; None: no tunnel."""
    overheads = [OVERHEAD_BYTES[version] for version in underlays]
    return uplink_mtu_bytes - max(overheads) if overheads else None


def raise_overlay(data_plane: DataPlane, mtu_bytes: int) -> int:
    """Make the device and its programs be there; return its index.

    Raises NetlinkError or BpfError: another VXLAN at the same UDP port is the usual reason.
    """
    with IPRoute() as kernel:
        link = next(iter(kernel.get_links(ifname=DEVICE)), None)
        if link is not None and not _is_ours(link):
            kernel.link("del", index=link["index"])
            link = None
        if link is None:
            kernel.link(
                "add",
                ifname=DEVICE,
                kind="vxlan",
                vxlan_collect_metadata=True,
                vxlan_learning=False,
                vxlan_port=PORT,
            )
            _settle()
            link = next(iter(kernel.get_links(ifname=DEVICE)))
        index = int(link["index"])
        if link.get_attr("IFLA_MTU") != mtu_bytes:
            kernel.link("set", index=index, mtu=mtu_bytes)
        data_plane.attach_overlay(index)
        if link["state"] != "up" or not link["flags"] & IFF_NOARP:
            kernel.link("set", index=index, flags=IFF_NOARP, change=IFF_NOARP)
            kernel.link("set", index=index, state="up")
    return index


def remove_overlay(data_plane: DataPlane) -> None:
    """Make the device not be there; the programs' links go with it."""
    data_plane.detach_overlay()
    with IPRoute() as kernel:
        for link in kernel.get_links(ifname=DEVICE):
            kernel.link("del", index=link["index"])


def _is_ours(link: nlmsg) -> bool:
    """Return whether the device is as we make it: an older one may differ, or a stranger's."""
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    if data is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
        return False
    collects = data.get_attr("IFLA_VXLAN_COLLECT_METADATA")
    return bool(collects) and data.get_attr("IFLA_VXLAN_PORT") == PORT


def _settle() -> None:
    """Keep the device from speaking by itself, before it is up."""
    sysctl.write_settings(
        {
            f"net/ipv6/conf/{DEVICE}/addr_gen_mode": "1",
            f"net/ipv6/conf/{DEVICE}/accept_ra": "0",
            f"net/ipv4/conf/{DEVICE}/rp_filter": "0",
        },
        optional=True,
    )
