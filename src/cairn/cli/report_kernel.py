"""What the kernel of this node says: links, routes, neighbours, settings, clock, memory, disks.

    netlink, /proc, statvfs  ->  fields of NodeReport

Cost    three netlink dumps and a few small files: a few milliseconds
"""

import os
from collections.abc import Iterable
from pathlib import Path

from cairn.diagnose.facts import DiskFact, Link, NeighbourFact, RouteFact, Setting
from cairn.linux import sysctl
from cairn.netlink.link import LinkFlag, list_addresses, list_links
from cairn.netlink.neighbour import NeighbourState, list_neighbours
from cairn.netlink.route import list_routes
from cairn.netlink.socket import RouteSocket


def read_links(socket: RouteSocket) -> tuple[Link, ...]:
    """Return every interface with its addresses."""
    addresses: dict[int, list[str]] = {}
    for entry in list_addresses(socket):
        addresses.setdefault(entry.ifindex, []).append(str(entry.address))
    return tuple(
        Link(
            link.name,
            link.ifindex,
            link.mtu,
            bool(link.flags & LinkFlag.UP),
            bool(link.flags & LinkFlag.RUNNING),
            link.mac.hex(":"),
            tuple(addresses.get(link.ifindex, ())),
        )
        for link in list_links(socket)
    )


def read_routes(socket: RouteSocket, links: Iterable[Link]) -> tuple[RouteFact, ...]:
    """Return the routes of the main table, of both families."""
    names = {link.index: link.name for link in links}
    return tuple(
        RouteFact(
            str(route.prefix),
            tuple(str(hop.address) for hop in route.nexthops if hop.address is not None),
            route.metric,
            tuple(names.get(hop.ifindex or 0, "") for hop in route.nexthops),
        )
        for version in (4, 6)
        for route in list_routes(socket, version)
    )


def read_neighbours(socket: RouteSocket, links: Iterable[Link]) -> tuple[NeighbourFact, ...]:
    """Return the neighbour tables of both families."""
    names = {link.index: link.name for link in links}
    return tuple(
        NeighbourFact(
            str(entry.address),
            (entry.mac or b"").hex(":"),
            _state(entry.state),
            names.get(entry.ifindex, ""),
        )
        for entry in list_neighbours(socket)
    )


def _state(state: NeighbourState) -> str:
    return "|".join(
        str(one.name).lower() for one in NeighbourState if state & one
    )  # the kernel sets one at a time


def read_settings(wanted: Iterable[tuple[str, str]]) -> tuple[Setting, ...]:
    """Return kernel settings beside what they are to be."""
    return tuple(Setting(name, sysctl.read_setting(name), value) for name, value in wanted)


def read_memory() -> tuple[int, int]:
    """Return the machine's memory, and what of it can be had, in octets."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found.get("MemTotal", 0), found.get("MemAvailable", 0)


def read_disks(paths: Iterable[Path]) -> tuple[DiskFact, ...]:
    """Return the file systems under these folders, each once."""
    found: dict[tuple[int, int], DiskFact] = {}
    for path in paths:
        try:
            space, device = os.statvfs(path), path.stat().st_dev
        except OSError:
            continue
        key = device, space.f_fsid
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        found.setdefault(key, DiskFact(str(path), total, free))
    return tuple(found.values())
