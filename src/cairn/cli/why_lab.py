"""What a lab on this machine shows besides the cluster: hosts, their links, the router.

    kubeconfig's path  ->  Lab;  Lab, host  ->  HostPart;  Lab or socket  ->  RouterPart

Invariants  Reads only. As root; who is not is told so.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cairn.cli.why_neighbours import gateway_of, longest, neighbours_here
from cairn.diagnose.why.parts import HostPart, Neighbour, RouterPart, RouterPath, RouterSession
from cairn.lab.state import DEFAULT_NAME, RUN_ROOT, Lab, LabError, load_lab
from cairn.lab.topology import ROUTER, Role, home_network
from cairn.linux import namespace
from cairn.net import Address, parse_address, parse_network
from cairn.netlink.link import LinkFlag, list_addresses, list_links
from cairn.netlink.route import list_routes
from cairn.netlink.socket import RouteSocket
from cairn.router.bgpctl import Unanswered, ask
from cairn.router.foreign_views import ForeignFailed, read_foreign
from cairn.router.views import Views

R = TypeVar("R")
SYSCTL = Path("/proc/sys")
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


def lab_of(kubeconfig: str | None) -> Lab | None:
    """Return the lab that a kubeconfig belongs to; None if it is another cluster's."""
    path = kubeconfig or os.environ.get("KUBECONFIG") or ""
    name = os.environ.get("CAIRN_LAB") or ""
    if not path and not name:
        name = DEFAULT_NAME
    elif path:
        folder = Path(path).resolve().parent
        name = folder.name if folder.parent == RUN_ROOT else ""
    try:
        return load_lab(name) if name else None
    except LabError:
        return None


def lab_hosts(lab: Lab | None) -> dict[str, tuple[Address, ...]]:
    """Return the addresses of the lab's clients and its router, by name."""
    if lab is None:
        return {}
    hosts = home_network(lab.nodes, lab.far).hosts
    return {
        host.name: tuple(parse_address(text.split("/")[0]) for text in host.addresses)
        for host in hosts
        if host.role is not Role.NODE
    }


def read_host(lab: Lab, host: str, target: Address | None) -> HostPart:
    """Return what a host of the lab shows of its way to a target; raises LabError."""
    return _inside(lab, host, lambda: _host(target))


def _host(target: Address | None) -> HostPart:
    with RouteSocket() as socket:
        links = {link.ifindex: link for link in list_links(socket)}
        networks = [
            str(entry.address.network)
            for entry in list_addresses(socket)
            if not entry.address.is_loopback and not entry.address.is_link_local
        ]
        route = longest(list_routes(socket, target.version), target) if target else None
    down = [
        link.name
        for link in links.values()
        if not link.flags & LinkFlag.LOOPBACK and not link.flags & LinkFlag.RUNNING
    ]
    gateway = gateway_of(route)
    near = gateway or (str(target) if target and route else "")
    return HostPart(
        tuple(networks),
        down[0] if down and len(down) == len(links) - 1 else "",
        target is None or route is not None,
        gateway,
        neighbours_here((near,), ask=(near,)) if near and not down else {},
    )


def read_lab_router(lab: Lab, target: Address | None, wanted: tuple[str, ...]) -> RouterPart:
    """Return what the lab's router says and holds; raises LabError."""
    views, trouble = _views(lab)
    gateways, prefix, neighbours = _inside(lab, ROUTER, lambda: _kernel(target, wanted))
    settings = _inside(lab, ROUTER, _settings)
    part = _part(f"lab {lab.name}", views, trouble, target, gateways, prefix, neighbours)
    return replace(part, settings=settings)


def _settings() -> dict[str, str]:
    return {
        name: (SYSCTL / name.replace(".", "/")).read_text().strip()
        for name in FORWARDING
        if (SYSCTL / name.replace(".", "/")).exists()
    }


def read_router_socket(path: str, target: Address | None) -> RouterPart:
    """Return what the `cairn router` on a socket says: its kernel's routes by its own word."""
    try:
        views = ask(path)
    except Unanswered as error:
        return RouterPart(path, daemon=str(error))
    holding = [r for r in views.routes if target and target in parse_network(r.prefix)]
    longest = max(holding, key=lambda r: parse_network(r.prefix).prefixlen, default=None)
    gateways = longest.gateways if longest else ()
    return _part(path, views, "", target, gateways, longest.prefix if longest else "", {})


def _views(lab: Lab) -> tuple[Views | None, str]:
    try:
        match lab.router:
            case "cairn":
                return ask(str(lab.router_socket)), ""
            case "frr" | "bird":
                source = f"{lab.router}:{lab.run / ROUTER}"
                return _inside(lab, ROUTER, lambda: read_foreign(source)), ""
        return None, f"{lab.router} is asked for its kernel's routes only"
    except (Unanswered, ForeignFailed) as error:
        return None, str(error)


def _kernel(
    target: Address | None, wanted: tuple[str, ...]
) -> tuple[tuple[str, ...], str, Mapping[str, Neighbour]]:
    with RouteSocket() as socket:
        route = longest(list_routes(socket, target.version), target) if target else None
    hops = tuple(str(hop.address) for hop in route.nexthops if hop.address) if route else ()
    return hops, str(route.prefix) if route else "", neighbours_here(wanted)


def _part(
    name: str,
    views: Views | None,
    trouble: str,
    target: Address | None,
    gateways: tuple[str, ...],
    prefix: str,
    neighbours: Mapping[str, Neighbour],
) -> RouterPart:
    if views is None:
        return RouterPart(
            name, gateways=gateways, prefix=prefix, neighbours=neighbours, daemon=trouble
        )
    return RouterPart(
        name,
        views.asn,
        tuple(
            RouterSession(row.address, row.state, row.asn, row.details.get("Last error", ""))
            for row in views.neighbors
        ),
        tuple(
            RouterPath(p.prefix, p.gateway, p.neighbor, p.valid, p.best, p.reason)
            for p in views.paths
            if target is not None and target in parse_network(p.prefix)
        ),
        gateways,
        prefix,
        neighbours,
        views.counters,
    )


def _inside(lab: Lab, host: str, function: Callable[[], R]) -> R:
    try:
        return namespace.call_in(lab.netns(host), function)
    except PermissionError:
        raise LabError(f"host {host} of lab {lab.name} is shown to root only") from None
    except OSError as error:
        raise LabError(f"host {host} of lab {lab.name}: {error.strerror or error}") from None
