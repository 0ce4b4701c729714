"""Faults of the wire: what the lab's switch passes on its ports, and what not.

    host  ->  link state or nftables rules on its switch ports

Invariants  A fault has a table of its own for each host, so that several can be in force at once.
"""

import subprocess

from cairn.lab.fault import Active, host_of
from cairn.lab.state import Lab, LabError, WrongUsage
from cairn.lab.topology import SWITCH
from cairn.linux import namespace
from cairn.netlink.iproute import IPRoute

EVERYTHING = ""
ARP = "meta protocol arp"
BGP = "tcp dport 179"
API = "ip daddr 192.168.1.5"
OVERLAY = "udp dport 8472"
DNS = "udp dport 53"
LARGE = "meta length > 1300"
"""Larger than an IP packet of 1300 octets; far below what the hosts' MTU promises."""


def set_ports(lab: Lab, target: str, *, up: bool) -> None:
    """Give carrier to all cables of a host, or take it."""
    host = host_of(lab, target)

    def change() -> None:
        with IPRoute() as ip:
            for interface in host.interfaces:
                index = ip.link_lookup(ifname=interface.port)[0]
                ip.link("set", index=index, state="up" if up else "down")

    namespace.call_in(lab.netns(SWITCH), change)


def pull(lab: Lab, target: str, _: str) -> None:
    """Take a host's carrier."""
    set_ports(lab, target, up=False)


def plug(lab: Lab, active: Active) -> None:
    """Give it back."""
    set_ports(lab, active.target, up=True)


def drop(lab: Lab, target: str, _: str, *, kind: str, match: str) -> None:
    """Drop what matches, both ways, on the switch's ports of the host."""
    table = _table(kind, target)
    chains = "".join(
        f"chain {way}{number} {{ type filter hook {way} device {interface.port} priority -500; "
        f"{match} counter drop\n}}\n"
        for number, interface in enumerate(host_of(lab, target).interfaces)
        for way in ("ingress", "egress")
    )
    script = f"table netdev {table}\ndelete table netdev {table}\ntable netdev {table} {{\n"
    run_nft(lab.netns(SWITCH), f"{script}{chains}}}\n")


def pass_again(lab: Lab, active: Active, *, kind: str) -> None:
    """Drop no more of this kind."""
    table = _table(kind, active.target)
    run_nft(lab.netns(SWITCH), f"table netdev {table}\ndelete table netdev {table}\n")


def lose(lab: Lab, target: str, value: str) -> None:
    """Drop a percentage of all packets."""
    if not value.isdigit() or not 0 < int(value) <= 100:
        raise WrongUsage(f"loss of {value!r} percent: use 1 to 100")
    match = EVERYTHING if value == "100" else f"numgen random mod 100 < {value}"
    drop(lab, target, value, kind="loss", match=match)


def run_nft(netns: str, script: str) -> None:
    """Run an nftables script in a network namespace; raises LabError."""

    def run() -> str:
        result = subprocess.run(
            ["nft", "-f", "-"], input=script, text=True, capture_output=True, check=False
        )
        return result.stderr if result.returncode else ""

    try:
        failed = namespace.call_in(netns, run)
    except FileNotFoundError:
        raise LabError("nft is missing; install it: apt-get install nftables") from None
    if failed:
        raise LabError(f"nft in {netns}: {failed.splitlines()[0]}")


def _table(kind: str, target: str) -> str:
    return f"cairn_fault_{kind}_{target.replace('-', '_')}"
