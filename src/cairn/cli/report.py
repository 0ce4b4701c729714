"""`cairn report`: what this node can tell of itself, as JSON; also when its agent is dead.

    this node's kernel, pinned maps, sockets, probes  ->  NodeReport on standard output

`cairn doctor` and `cairn why` have it run in each agent's pod.

Cost        0.1 to 0.2 s of CPU, and a round trip to whom is probed
Invariants  What cannot be read is a line in `errors`, and the rest is told.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from cairn import __version__
from cairn.cli.certificates import own_certificates
from cairn.cli.report_data_plane import read_drops, read_hooks, read_maps, read_vips, read_wired
from cairn.cli.report_kernel import (
    read_disks,
    read_links,
    read_memory,
    read_neighbours,
    read_routes,
    read_settings,
)
from cairn.cli.report_pages import read_pages
from cairn.cli.report_paths import Probes
from cairn.cli.report_ports import with_port_answers
from cairn.cli.report_sockets import ask_agent, ask_proxies, ask_speaker, read_endpoints
from cairn.diagnose.facts import Link, NodeReport
from cairn.diagnose.process_facts import SpeakerFact
from cairn.libbpf import probe
from cairn.linux.clock_state import clock_synchronised
from cairn.netlink.socket import RouteSocket


def main(argv: list[str]) -> int:
    """Print the report; return 0."""
    options = _parse(argv)
    with RouteSocket() as kernel:
        report = make_report(options, kernel)
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cairn report", description="Tell what this node knows of itself, as JSON."
    )
    parser.add_argument("--node", default=os.environ.get("NODE_NAME", ""), help="its name")
    parser.add_argument("--address", default="", help="its address: whose link is the uplink")
    parser.add_argument("--run", type=Path, default=Path("/run/cairn"), help="sockets, records")
    parser.add_argument("--bpf", type=Path, default=Path("/sys/fs/bpf/cairn"), help="pins")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=ADDRESS",
                        help="probe the way to it; may be repeated")  # fmt: skip
    parser.add_argument("--dns", action="append", default=[], metavar="ADDRESS",
                        help="ask this DNS server; may be repeated")  # fmt: skip
    parser.add_argument("--page", action="append", default=[], metavar="NAME=ADDRESS:PORT",
                        help="read this page of metrics; may be repeated")  # fmt: skip
    parser.add_argument("-o", "--output", choices=("json",), default="json")
    return parser.parse_args(argv)


def make_report(options: argparse.Namespace, kernel: RouteSocket) -> NodeReport:
    """Return everything that this node can tell."""
    errors: list[str] = []
    links = read_links(kernel)
    uplink = _uplink(links, options.address)
    speaker = ask_speaker(options.run / "speaker.sock")
    peers = _peers(options.peer, speaker)
    probes = _probes(peers, tuple(options.dns), uplink, errors)
    total, free = read_memory()
    drops, lost = read_drops(options.bpf, errors)
    rest: dict[str, Any] = {
        "agent": ask_agent(options.run / "agent.sock"),
        "maps": read_maps(options.bpf, errors),
        "hooks": read_hooks(options.bpf),
        "proxies": ask_proxies(options.run),
        "vips": read_vips(options.bpf, errors),
        "wired": read_wired(options.bpf, errors),
        "routes": read_routes(kernel, links),
    }
    pages = read_pages(options.page)
    paths, dns = probes.collect() if probes else ((), ())
    return NodeReport(
        options.node,
        version=__version__,
        now_at=time.time(),
        clock_synchronised=clock_synchronised(),
        kernel=os.uname().release,
        missing=tuple(one.sentence for one in probe(options.bpf.parent)),
        memory_total_bytes=total,
        memory_free_bytes=free,
        speaker=with_port_answers(speaker),
        uplink=uplink.name if uplink else "",
        settings=read_settings(_wanted(uplink)),
        links=links,
        neighbours=read_neighbours(kernel, links),
        endpoints=read_endpoints(options.run / "endpoints", {link.name: link for link in links}),
        events_lost=lost,
        drops=drops,
        disks=read_disks((options.run, Path("/var/log"), Path("/"))),
        paths=paths,
        dns=dns,
        errors=tuple(errors),
        certificates=(*own_certificates(), *pages.certificates),
        versions=pages.versions,
        history=pages.history,
        **rest,
    )


def _probes(
    peers: list[tuple[str, str]], servers: tuple[str, ...], uplink: Link | None, errors: list[str]
) -> Probes | None:
    try:
        return Probes(peers, servers, uplink.mtu_bytes if uplink else 1500)
    except OSError as error:
        errors.append(f"probes: {error}")
        return None


def _peers(words: list[str], speaker: SpeakerFact) -> list[tuple[str, str]]:
    """Return whom to probe: those that were named, and the routers."""
    peers = [(name, a) for name, _, a in (word.partition("=") for word in words) if a]
    known = {address for _, address in peers}
    return [
        *peers,
        *((f"router {s.peer}", s.peer) for s in speaker.sessions if s.peer not in known),
    ]


def _uplink(links: tuple[Link, ...], address: str) -> Link | None:
    for link in links:
        if address in {one.split("/")[0] for one in link.addresses}:
            return link
    return None


def _wanted(uplink: Link | None) -> list[tuple[str, str]]:
    """Return the settings that `apply.uplink.prepare_node` makes."""
    found = [("net/ipv4/ip_forward", "1")]
    for where in ("all", uplink.name) if uplink else ("all",):
        found += [(f"net/ipv4/conf/{where}/{name}", "0") for name in ("rp_filter", "proxy_arp")]
    return [*found, ("net/ipv6/conf/all/forwarding", "1")]
