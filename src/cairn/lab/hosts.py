"""Make the topology real: namespaces, bridges, cables, addresses and routes.

    Lab, Topology  ->  network namespaces `cairn-LAB-HOST`, idempotently

Invariants  Building again heals what is missing and leaves what is there alone.
            Every cable is one veth pair: one end in the host, the other a port of the switch.
"""

import errno
from collections.abc import Iterable
from typing import Any

from pyroute2.ethtool.ioctl import IoctlEthtool
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD

from cairn.lab.state import Lab, LabError, write_whole
from cairn.lab.topology import SWITCH, Host, Interface, Segment, Topology, hosts_file, resolver_file
from cairn.linux import namespace
from cairn.linux.sysctl import write_settings
from cairn.netlink.iproute import IPRoute, NetlinkError

_SWITCH_SETTINGS = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
}
_BRIDGE_FILTERS = {
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-arptables": "0",
}


def build_network(lab: Lab, topology: Topology) -> list[str]:
    """Create what is missing of the lab's network; return the hosts that had to be mended."""
    created = [name for name in _netns_names(topology) if _ensure_netns(lab, name)]
    try:
        namespace.call_in(lab.netns(SWITCH), _build_switch, topology.segments)
        mended = set(created)
        for host in topology.hosts:
            if plug_in(lab, host):
                mended.add(host.name)
    except NetlinkError as error:
        raise LabError(f"the network of lab {lab.name}: {error.args[-1]}") from error
    write_host_files(lab, topology)
    return sorted(mended)


def plug_in(lab: Lab, host: Host) -> bool:
    """Create a host's namespace, cables, addresses and routes; return whether any was missing."""
    changed = _ensure_netns(lab, host.name)
    present = set(namespace.call_in(lab.netns(host.name), _prepare_host, host))
    for interface in host.interfaces:
        if interface.name not in present:
            changed = True
            namespace.call_in(lab.netns(SWITCH), _add_cable, lab.netns(host.name), interface)
    changed |= namespace.call_in(lab.netns(host.name), _configure_host, host)
    return changed


def unplug(lab: Lab, host: str) -> bool:
    """Remove a host's namespace, and with it its cables; return whether it was there.

    The cables are cut first: a namespace that something still holds would keep them in the switch.
    """
    if namespace.exists(lab.netns(SWITCH)):
        namespace.call_in(lab.netns(SWITCH), _delete_ports, host)
    return namespace.delete(lab.netns(host))


def write_host_files(lab: Lab, topology: Topology) -> None:
    """Write /etc/hosts and /etc/resolv.conf of every host, as `cairn lab exec` shows them."""
    for host in topology.hosts:
        folder = lab.host_etc(host.name)
        write_whole(folder / "hosts", hosts_file(topology, host.name))
        write_whole(folder / "resolv.conf", resolver_file(host))


def _netns_names(topology: Topology) -> Iterable[str]:
    return [SWITCH, *(host.name for host in topology.hosts)]


def _ensure_netns(lab: Lab, host: str) -> bool:
    name = lab.netns(host)
    if namespace.exists(name):
        return False
    namespace.delete(name)  # a file that stands for nothing
    namespace.create(name)
    return True


def _link_index(ip: Any, name: str) -> int | None:
    """Return the index of a link in this namespace; None if there is none of that name."""
    found = ip.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _build_switch(segments: tuple[Segment, ...]) -> None:
    write_settings(_SWITCH_SETTINGS, optional=True)
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        for segment in segments:
            if _link_index(ip, segment.bridge) is None:
                ip.link("add", ifname=segment.bridge, kind="bridge", br_stp_state=0)
            index = _link_index(ip, segment.bridge)
            ip.link("set", index=index, kind="bridge", br_forward_delay=0, br_mcast_snooping=0)
            ip.link("set", index=index, state="up")
    write_settings(_BRIDGE_FILTERS, optional=True)


def _add_cable(netns: str, interface: Interface) -> None:
    """Plug a cable between the switch, whose namespace this is, and a host."""
    with IPRoute() as ip:
        stale = _link_index(ip, interface.port)
        if stale is not None:
            ip.link("del", index=stale)
        peer = {
            "ifname": interface.name,
            "address": interface.mac,
            "mtu": interface.mtu,
            "net_ns_fd": netns,
        }
        ip.link("add", ifname=interface.port, kind="veth", peer=peer)
        port = _link_index(ip, interface.port)
        bridge = _link_index(ip, interface.bridge)
        ip.link("set", index=port, mtu=interface.mtu, master=bridge, state="up")


def _prepare_host(host: Host) -> list[str]:
    """Write the settings of a host before its interfaces come; return those already there."""
    write_settings(host.settings, optional=True)
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        return [link.get_attr("IFLA_IFNAME") for link in ip.get_links()]


def _configure_host(host: Host) -> bool:
    changed = False
    for interface in host.interfaces:
        if not interface.offload:
            IoctlEthtool(interface.name).set_offload_flag("tx-checksumming", 0)
    with IPRoute() as ip:
        for interface in host.interfaces:
            index = _link_index(ip, interface.name)
            ip.link("set", index=index, state="up")
            for address in interface.addresses:
                text, _, length = address.partition("/")
                wanted = {"index": index, "address": text, "prefixlen": int(length)}
                if ":" in text:
                    # Nobody else can have it: it is usable at once, without being looked for.
                    wanted["flags"] = IFA_F_NODAD
                changed |= _unless_there(ip.addr, "add", **wanted)
        for gateway in host.gateways:
            everywhere = "::/0" if ":" in gateway else "0.0.0.0/0"
            changed |= _unless_there(ip.route, "add", dst=everywhere, gateway=gateway)
    return changed


def _delete_ports(host: str) -> None:
    with IPRoute() as ip:
        for name in (host, f"{host}-lan", f"{host}-far"):
            index = _link_index(ip, name)
            if index is not None:
                ip.link("del", index=index)


def _unless_there(call: Any, *args: Any, **kwargs: Any) -> bool:
    """Make a netlink request that creates something; return False if that was there already."""
    try:
        call(*args, **kwargs)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        return False
    return True
