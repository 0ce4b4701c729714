"""The lab's cables without Cairn: the same hosts, bridges and pods, routed by the kernel alone.

    built()  ->  Plain: namespaces `cb-PID-*`, gone afterwards

client-1 --- br-lan --- router --- br-nodes === node-1, node-2, each with pods

Invariants  As many veth pairs, bridges and routing stacks on every path as in the lab, and the
            same checksum offload: off at the client and the router (`cairn.lab.topology`).
            Bridges do not call netfilter.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from pyroute2.ethtool.ioctl import IoctlEthtool

from cairn.linux import namespace
from cairn.linux.sysctl import write_settings

GATEWAY = "169.254.1.1"
SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
BRIDGE_SETTINGS = {"net.bridge.bridge-nf-call-iptables": "0"}
PODS = {"pod-a": ("node-1", 1, 2), "pod-b": ("node-1", 1, 3), "pod-c": ("node-2", 2, 2)}
"""Name -> node, its number, the pod's number there."""


@dataclass(frozen=True, slots=True)
class Plain:
    """The network, while it is there."""

    prefix: str

    def netns(self, host: str) -> str:
        """Return the namespace of a host or pod."""
        return self.prefix + host

    @staticmethod
    def address(pod: str) -> str:
        """Return the address of a pod."""
        _, node, number = PODS[pod]
        return f"10.244.{node}.{number}"


HOSTS = ("switch", "router", "node-1", "node-2", "client-1")


@contextlib.contextmanager
def built() -> Iterator[Plain]:
    """Build the network; it is gone afterwards."""
    plain = Plain(f"cb-{os.getpid()}-")
    try:
        for host in (*HOSTS, *PODS):
            namespace.create(plain.netns(host))
            ip(plain, host, "link set lo up")
        namespace.call_in(plain.netns("switch"), write_settings, BRIDGE_SETTINGS, optional=True)
        for host in ("router", "node-1", "node-2"):
            namespace.call_in(plain.netns(host), write_settings, SETTINGS)
        lay_segments(plain)
        for pod in PODS:
            add_pod(plain, pod)
        yield plain
    finally:
        for name in namespace.names(plain.prefix):
            namespace.delete(name)


def lay_segments(plain: Plain) -> None:
    """Make the bridges and plug the hosts in."""
    for bridge in ("br-nodes", "br-lan"):
        ip(plain, "switch", f"link add {bridge} type bridge forward_delay 0 mcast_snooping 0")
        ip(plain, "switch", f"link set {bridge} up")
    plug(plain, "router", "eth0", "br-nodes", "192.168.1.1/24", offload=False)
    plug(plain, "router", "eth1", "br-lan", "192.168.50.1/24", offload=False)
    plug(plain, "client-1", "eth0", "br-lan", "192.168.50.10/24", offload=False)
    plug(plain, "node-1", "eth0", "br-nodes", "192.168.1.10/24", offload=True)
    plug(plain, "node-2", "eth0", "br-nodes", "192.168.1.11/24", offload=True)
    ip(plain, "client-1", "route add default via 192.168.50.1")
    for host in ("node-1", "node-2"):
        ip(plain, host, "route add default via 192.168.1.1")
    for host in ("router", "node-2"):
        ip(plain, host, "route add 10.244.1.0/24 via 192.168.1.10")
    for host in ("router", "node-1"):
        ip(plain, host, "route add 10.244.2.0/24 via 192.168.1.11")


def plug(plain: Plain, host: str, device: str, bridge: str, address: str, *, offload: bool) -> None:
    """Lay a cable from a host to the switch."""
    port, netns = f"{host}-{device}"[-15:], plain.netns(host)
    ip(plain, "switch", f"link add {port} type veth peer name {device} netns {netns}")
    ip(plain, "switch", f"link set {port} master {bridge} up")
    if not offload:
        # The call that the lab makes, so that the devices end with the same features.
        namespace.call_in(netns, checksum_off, device)
    ip(plain, host, f"link set {device} up")
    ip(plain, host, f"addr add {address} dev {device}")


def checksum_off(device: str) -> None:
    """Make a device of this namespace complete checksums before it sends."""
    IoctlEthtool(device).set_offload_flag("tx-checksumming", 0)


def add_pod(plain: Plain, pod: str) -> None:
    """Wire a pod to its node as the agent does, but for the programs."""
    node, address = PODS[pod][0], plain.address(pod)
    ip(plain, node, f"link add {pod} type veth peer name eth0 netns {plain.netns(pod)}")
    ip(plain, node, f"link set {pod} up")
    ip(plain, node, f"route add {address}/32 dev {pod}")
    ip(plain, node, f"addr add {GATEWAY}/32 dev {pod}")
    ip(plain, pod, "link set eth0 up")
    ip(plain, pod, f"addr add {address}/32 dev eth0")
    ip(plain, pod, f"route add {GATEWAY} dev eth0 scope link")
    ip(plain, pod, f"route add default via {GATEWAY} dev eth0")


def ip(plain: Plain, host: str, words: str) -> None:
    """Run one `ip` command in a host."""
    argv = ["ip", "-n", plain.netns(host), *words.split()]
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}"
