"""Wire a pod: a veth pair, the pod's address and routes, the host's route to it.

    PodEndpoint  ->  links, addresses, routes, permanent neighbours in two namespaces

The pod has its address as a host route and one gateway, an address nobody owns, whose Ethernet
address is set for good. So the pod never asks by ARP, and there is no subnet to be spoofed.

Invariants  `connect` either leaves a working pair or nothing; `disconnect` may be repeated.
Standards   CNI 1.1; rtnetlink(7), veth(4)
"""

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace

from cairn.desired.endpoint import PodEndpoint
from cairn.linux import namespace, sysctl
from cairn.netlink.iproute import IPRoute, NetlinkError

GATEWAY_V4 = "169.254.1.1"
GATEWAY_V6 = "fe80::1"
_EXISTS, _NO_DEVICE = 17, 19
_LINK_SCOPE = 253
_PERMANENT = 0x80


class WiringFailed(Exception):
    """The kernel refused a step; the text names the step and the reason."""


def host_name_of(container_id: str, ifname: str) -> str:
    """Return the name of the host's end: derived, so that DEL needs no memory."""
    digest = hashlib.blake2b(f"{container_id}/{ifname}".encode(), digest_size=5).hexdigest()
    return f"lxc{digest}"


def random_mac() -> str:
    """Return a locally administered unicast Ethernet address."""
    octets = bytearray(secrets.token_bytes(6))
    octets[0] = octets[0] & 0xFC | 0x02
    return ":".join(f"{octet:02x}" for octet in octets)


def connect(
    endpoint: PodEndpoint, *, mtu_bytes: int, before_up: Callable[[PodEndpoint], None]
) -> PodEndpoint:
    """Create the pair and both ends' addresses and routes; return it with its ifindex.

    `before_up` is called when the pair is there and nothing passes yet: what is to police the very
    first packet is put there then.
    """
    with IPRoute() as host:
        _create_pair(host, endpoint, mtu_bytes)
        try:
            index = _index(host, endpoint.host_ifname)
            wired = replace(endpoint, host_ifindex=index)
            before_up(wired)
            _configure_host(host, wired)
            namespace.call_at(endpoint.netns, _configure_pod, wired)
        except BaseException:
            with contextlib.suppress(NetlinkError):
                host.link("del", ifname=endpoint.host_ifname)
            raise
    return wired


def disconnect(host_ifname: str) -> bool:
    """Remove the pair; return whether it was there."""
    with IPRoute() as host:
        try:
            host.link("del", ifname=host_ifname)
        except NetlinkError as error:
            if error.code != _NO_DEVICE:
                raise WiringFailed(f"cannot remove link {host_ifname}: {error}") from error
            return False
    return True


def is_connected(endpoint: PodEndpoint) -> bool:
    """Return whether the host's end is there and up."""
    with IPRoute() as host:
        links = host.link_lookup(ifname=endpoint.host_ifname, operstate="UP")
    return bool(links)


def set_mtu(endpoint: PodEndpoint, mtu_bytes: int) -> None:
    """Give both ends another MTU, so that no end ever sends what the other refuses.

    The pod's end learns of less first, the host's end of more.
    """

    def set_pod() -> None:
        with IPRoute() as pod:
            pod.link("set", index=_index(pod, endpoint.ifname), mtu=mtu_bytes)

    try:
        with IPRoute() as host:
            link = next(iter(host.get_links(endpoint.host_ifindex)))
            before = link.get_attr("IFLA_MTU")
            if mtu_bytes == before:
                return
            if mtu_bytes > before:
                host.link("set", index=endpoint.host_ifindex, mtu=mtu_bytes)
            namespace.call_at(endpoint.netns, set_pod)
            if mtu_bytes < before:
                host.link("set", index=endpoint.host_ifindex, mtu=mtu_bytes)
    except (NetlinkError, OSError, StopIteration) as error:
        raise WiringFailed(f"MTU {mtu_bytes} of {endpoint.host_ifname}: {error}") from error


def _create_pair(host: IPRoute, endpoint: PodEndpoint, mtu_bytes: int) -> None:
    with open(endpoint.netns, "rb") as target:
        peer = {
            "ifname": endpoint.ifname,
            "net_ns_fd": target.fileno(),
            "address": endpoint.mac,
            "mtu": mtu_bytes,
        }
        pair = {
            "ifname": endpoint.host_ifname,
            "kind": "veth",
            "peer": peer,
            "address": endpoint.host_mac,
            "mtu": mtu_bytes,
        }
        try:
            host.link("add", **pair)
        except NetlinkError as error:
            if error.code != _EXISTS:
                raise WiringFailed(f"cannot create {endpoint.host_ifname}: {error}") from error
            # What an interrupted ADD left: the runtime asks again with the same id.
            host.link("del", ifname=endpoint.host_ifname)
            host.link("add", **pair)


def _configure_host(host: IPRoute, endpoint: PodEndpoint) -> None:
    sysctl.write_settings(
        {
            f"net/ipv4/conf/{endpoint.host_ifname}/rp_filter": "0",
            f"net/ipv4/conf/{endpoint.host_ifname}/forwarding": "1",
            f"net/ipv6/conf/{endpoint.host_ifname}/accept_ra": "0",
            f"net/ipv6/conf/{endpoint.host_ifname}/accept_dad": "0",
        },
        optional=True,
    )
    index = endpoint.host_ifindex
    host.link("set", index=index, state="up")
    for address in endpoint.addresses:
        host.neigh(
            "replace", dst=str(address), lladdr=endpoint.mac, ifindex=index, state=_PERMANENT
        )
        host.route("replace", dst=f"{address}/{address.max_prefixlen}", oif=index, scope="link")


def _configure_pod(endpoint: PodEndpoint) -> None:
    with IPRoute() as pod:
        loopback, index = _index(pod, "lo"), _index(pod, endpoint.ifname)
        pod.link("set", index=loopback, state="up")
        sysctl.write_settings(
            {
                f"net/ipv6/conf/{endpoint.ifname}/accept_dad": "0",
                f"net/ipv6/conf/{endpoint.ifname}/accept_ra": "0",
            },
            optional=True,
        )
        pod.link("set", index=index, state="up")
        for address in endpoint.addresses:
            gateway = GATEWAY_V4 if address.version == 4 else GATEWAY_V6
            length = address.max_prefixlen
            pod.addr("add", index=index, address=str(address), prefixlen=length)
            pod.route("add", dst=f"{gateway}/{length}", oif=index, scope=_LINK_SCOPE)
            pod.neigh(
                "replace", dst=gateway, lladdr=endpoint.host_mac, ifindex=index, state=_PERMANENT
            )
            default = "0.0.0.0/0" if address.version == 4 else "::/0"
            pod.route("add", dst=default, gateway=gateway, oif=index)


def _index(netlink: IPRoute, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise WiringFailed(f"interface {name} is not there")
    return int(found[0])
