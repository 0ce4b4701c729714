"""Run a routing daemon as the lab's router: its files, its processes, how to tell it is ready.

    kind, who may peer  ->  RouterPlan

`cairn` is our own router; `frr`, `bird` and `openbgpd` are other people's, configured to take any
node of the given networks as a peer and to put what it announces into the kernel as ECMP routes.
Every session carries IPv4 and IPv6 where the node offers both, whatever its addresses are of.
OpenBGPD cannot write routes on Linux, so a process of ours beside it copies its decisions.

Invariants  Pure: nothing is written or started here. Every path lies in `directory`.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cairn.net import Network, parse_address, parse_network

FRR_DIRECTORY = Path("/usr/lib/frr")
METRICS_PORT = 9969
MULTIPATH = 16
VERSIONS = (4, 6)

SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv4.fib_multipath_use_neigh": "1",
    "net.ipv4.conf.all.ignore_routes_with_linkdown": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
    "net.ipv6.conf.all.ignore_routes_with_linkdown": "1",
}
"""What a router with ECMP needs: forwarding, a hash over the ports, no dead next hops."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file to write."""

    text: str
    """Its content."""
    mode: int
    """Its permissions."""
    owner: str
    """The user and group it belongs to."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to run in the foreground in the router's namespace, and to restart if it ends."""

    name: str
    """Unique within the plan."""
    argv: tuple[str, ...]
    """Command line."""
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the environment."""
    user: str | None = None
    """Who runs it; None is root (the daemons drop privileges by themselves)."""


@dataclass(frozen=True, slots=True)
class RouterPlan:
    """Everything the lab needs to run one kind of router."""

    files: dict[Path, PlannedFile]
    """To write before the start; parent directories belong to `owner`."""
    processes: tuple[ProcessSpec, ...]
    """In the order of their start."""
    ready: tuple[str, ...]
    """A command whose exit status 0 means ready."""
    bgpctl: tuple[str, ...]
    """The command that `bgpctl ARGUMENTS` stands for on this router."""
    owner: str = "root"
    """The user and group that `directory` must belong to."""
    packages: tuple[str, ...] = ()
    """Debian packages that must be installed."""
    sysctls: dict[str, str] = field(default_factory=lambda: dict(SYSCTLS))
    """Settings of the router's namespace."""


@dataclass(frozen=True, slots=True)
class Peering:
    """Who the router is and who may peer with it."""

    directory: Path
    """Where the daemon's files and sockets lie."""
    asn: int
    """The router's autonomous system."""
    router_id: str
    """Its BGP identifier."""
    networks: tuple[Network, ...]
    """Nodes may peer from here."""
    listen: tuple[str, ...]
    """The router's own addresses towards them."""
    node_asn: int
    """The nodes' autonomous system; equal to `asn` for iBGP."""
    password: str | None
    """TCP MD5 key of all sessions."""


def plan_router(
    kind: str,
    *,
    directory: Path,
    asn: int,
    router_id: str,
    peer_networks: Sequence[str],
    listen: Sequence[str],
    node_asn: int | None = None,
    password: str | None = None,
) -> RouterPlan:
    """Return the plan for a router of one of the KINDS; raises ValueError for another word."""
    if kind not in KINDS:
        raise ValueError(f"router kind {kind!r}: want one of {', '.join(KINDS)}")
    peering = Peering(
        directory=directory,
        asn=asn,
        router_id=router_id,
        networks=tuple(map(parse_network, peer_networks)),
        listen=tuple(listen),
        node_asn=asn if node_asn is None else node_asn,
        password=password,
    )
    return KINDS[kind](peering)


def plan_cairn(peering: Peering) -> RouterPlan:
    """Return the plan for our own router."""
    config = peering.directory / "router.yaml"
    socket = str(peering.directory / "router.sock")
    groups = [
        {
            "name": "nodes" if number == 0 else f"nodes-{number + 1}",
            "prefix": str(network),
            "remote_asn": "internal" if peering.node_asn == peering.asn else peering.node_asn,
            **({"password": peering.password} if peering.password else {}),
        }
        for number, network in enumerate(peering.networks)
    ]
    text = yaml.safe_dump(
        {
            "asn": peering.asn,
            "router_id": peering.router_id,
            "listen": list(peering.listen),
            "multipath": MULTIPATH,
            "groups": groups,
        },
        sort_keys=False,
    )
    cairn = (sys.executable, "-m", "cairn.cli.main")
    bgpctl = (*cairn, "bgpctl", "--socket", socket)
    argv = (*cairn, "router", "--config", str(config), "--socket", socket,
            "--metrics", str(METRICS_PORT))  # fmt: skip
    return RouterPlan(
        files={config: PlannedFile(text, 0o600, "root")},
        processes=(ProcessSpec("router", argv),),
        ready=(*bgpctl, "show", "summary"),
        bgpctl=bgpctl,
        packages=("nftables",),
    )


def plan_frr(peering: Peering) -> RouterPlan:
    """Return the plan for FRRouting: zebra writes the routes, bgpd peers."""
    where = peering.directory
    common = (
        *("-u", "frr", "-g", "frr", "--vty_socket", str(where)),
        *("-A", "127.0.0.1", "-P", "0", "-z", str(where / "zserv.api")),
        *("--log", "stdout", "--log-level", "informational"),
    )
    # bgpd tries again only after ten seconds if zebra does not answer at its start.
    api = shlex.quote(str(where / "zserv.api"))
    first = {
        "zebra": f"rm -f {api}",
        "bgpd": f"until [ -S {api} ]; do sleep 0.05; done",
    }
    processes = tuple(
        ProcessSpec(name, ("sh", "-c", f"{before}; exec {_frr_command(name, where, common)}"))
        for name, before in first.items()
    )
    vtysh = ("vtysh", "--vty_socket", str(where))
    return RouterPlan(
        files={
            where / "zebra.conf": PlannedFile("hostname router\n", 0o640, "frr"),
            where / "bgpd.conf": PlannedFile(frr_config(peering), 0o640, "frr"),
        },
        processes=processes,
        ready=(*vtysh, "-d", "bgpd", "-c", "show bgp summary json"),
        bgpctl=(sys.executable, "-m", "cairn.cli.main", "bgpctl", "--daemon", f"frr:{where}"),
        owner="frr",
        packages=("frr",),
    )


def _frr_command(name: str, where: Path, common: Sequence[str]) -> str:
    own = ("-f", str(where / f"{name}.conf"), "-i", str(where / f"{name}.pid"))
    return shlex.join((str(FRR_DIRECTORY / name), *own, *common))


def frr_config(peering: Peering) -> str:
    """Return bgpd's configuration: one peer group, whose members come by themselves."""
    lines = [
        "hostname router",
        "ip prefix-list NOTHING seq 5 deny any",
        "ipv6 prefix-list NOTHING seq 5 deny any",
        f"router bgp {peering.asn}",
        f" bgp router-id {peering.router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " bgp bestpath as-path multipath-relax",
        " timers bgp 30 90",
        " neighbor NODES peer-group",
        f" neighbor NODES remote-as {peering.node_asn}",
        " neighbor NODES passive",
    ]
    if peering.password:
        lines.append(f" neighbor NODES password {peering.password}")
    lines += [f" bgp listen range {network} peer-group NODES" for network in peering.networks]
    for version in VERSIONS:
        lines += [
            f" address-family ipv{version} unicast",
            "  neighbor NODES activate",
            "  neighbor NODES prefix-list NOTHING out",
            f"  maximum-paths {MULTIPATH}",
            f"  maximum-paths ibgp {MULTIPATH}",
            " exit-address-family",
        ]
    return "\n".join([*lines, "exit", ""])


def plan_bird(peering: Peering) -> RouterPlan:
    """Return the plan for BIRD 2."""
    where = peering.directory
    config, control = where / "bird.conf", where / "bird.ctl"
    argv = ("bird", "-f", "-c", str(config), "-s", str(control), "-P", str(where / "bird.pid"))
    return RouterPlan(
        files={config: PlannedFile(bird_config(peering), 0o640, "root")},
        processes=(ProcessSpec("bird", argv),),
        ready=("birdc", "-s", str(control), "show", "status"),
        bgpctl=(sys.executable, "-m", "cairn.cli.main", "bgpctl", "--daemon", f"bird:{where}"),
        packages=("bird2",),
    )


def bird_config(peering: Peering) -> str:
    """Return BIRD's configuration: per network a template whose sessions come by themselves."""
    lines = ["log stderr all;", f"router id {peering.router_id};"]
    lines += ["timeformat protocol iso long;", "protocol device { }"]
    for version in VERSIONS:
        channel = f"ipv{version}"
        lines += [
            f"protocol direct direct{version} {{ {channel}; }}",
            f"protocol kernel kernel{version} {{",
            f"  merge paths on limit {MULTIPATH};",
            "  metric 20;",
            f"  {channel} {{ export where source = RTS_BGP; }};",
            "}",
        ]
    for number, network in enumerate(peering.networks):
        own = [a for a in peering.listen if parse_address(a).version == network.version]
        address = f" {own[0]}" if own else ""
        lines += [
            f"protocol bgp range{number} {{",
            f"  local{address} as {peering.asn};",
            f"  neighbor range {network} as {peering.node_asn};",
            f'  dynamic name "node{number}x";',
            "  direct;",
            "  passive;",
            "  hold time 90;",
            *([f'  password "{peering.password}";'] if peering.password else []),
            *(f"  ipv{version} {{ import all; export none; }};" for version in VERSIONS),
            "}",
        ]
    return "\n".join([*lines, ""])


def plan_openbgpd(peering: Peering) -> RouterPlan:
    """Return the plan for OpenBGPD, with a process of ours that writes its routes.

    Raises  ValueError if a password is wanted: OpenBGPD takes none for peers it does not know.
    """
    if peering.password:
        raise ValueError("OpenBGPD has no TCP MD5 for peers that come by themselves")
    where = peering.directory
    config, control = where / "bgpd.conf", str(where / "bgpd.sock")
    cairn = (sys.executable, "-m", "cairn.cli.main", "router", "--copy-openbgpd", control)
    return RouterPlan(
        files={config: PlannedFile(openbgpd_config(peering), 0o600, "root")},
        processes=(
            ProcessSpec("bgpd", ("/usr/sbin/bgpd", "-d", "-f", str(config))),
            ProcessSpec("bgpd-fib", cairn),
        ),
        ready=("/usr/sbin/bgpctl", "-s", control, "show", "summary"),
        bgpctl=("/usr/sbin/bgpctl", "-s", control),
        packages=("openbgpd",),
    )


def openbgpd_config(peering: Peering) -> str:
    """Return bgpd.conf: per network a template of neighbours."""
    lines = [
        f"AS {peering.asn}",
        f"router-id {peering.router_id}",
        *[f"listen on {address}" for address in peering.listen],
        "holdtime 90",
        "fib-update no",
        "rde evaluate all",
        f'socket "{peering.directory / "bgpd.sock"}"',
    ]
    for network in peering.networks:
        lines += [
            f"neighbor {network} {{",
            f"  remote-as {peering.node_asn}",
            "  passive",
            *(f"  announce IPv{version} unicast" for version in VERSIONS),
            "}",
        ]
    return "\n".join([*lines, "allow from any", "deny to any", ""])


KINDS: dict[str, Callable[[Peering], RouterPlan]] = {
    "cairn": plan_cairn,
    "frr": plan_frr,
    "bird": plan_bird,
    "openbgpd": plan_openbgpd,
}
