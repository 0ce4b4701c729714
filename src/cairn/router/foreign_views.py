"""The views of other routing daemons, through their own command-line tools.

    frr: vtysh's JSON; bird: birdc's text; ip's JSON of what they gave the kernel  ->  Views

Invariants  Reading is total over what the tools print: a line that says nothing we know is passed
            over; a tool that fails is one ForeignFailed with its first line of output.
Standards   FRR 8 `show bgp … json`, BIRD 2 `show protocols all`, `show route all`
"""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from cairn.net import parse_address, parse_network
from cairn.router.views import NeighborRow, PathRow, RouteRow, Views, address_key, prefix_key

TOOL_TIMEOUT_S = 10.0
_ROUTE_PROTOCOLS = {"frr": "186", "bird": "12"}
"""By which number each marks its routes in the kernel (linux/rtnetlink.h: RTPROT_BGP, _BIRD)."""


class ForeignFailed(RuntimeError):
    """Another daemon's tool could not be asked; the text says which and why."""


def read_foreign(source: str) -> Views:
    """Return the views of the daemon that `KIND:DIRECTORY` names."""
    kind, _, directory = source.partition(":")
    if kind not in READERS:
        raise ForeignFailed(f"daemon {kind!r}: want one of {', '.join(READERS)}")
    return replace(READERS[kind](Path(directory)), routes=_read_kernel(_ROUTE_PROTOCOLS[kind]))


def _read_kernel(protocol: str) -> tuple[RouteRow, ...]:
    """Ask this network namespace's kernel for the routes that the daemon put there."""
    answers = [_run(["ip", f, "-json", "route", "show", "proto", protocol]) for f in ("-4", "-6")]
    return kernel_rows([row for answer in answers for row in msgspec.json.decode(answer or "[]")])


def kernel_rows(routes: Sequence[dict[str, Any]]) -> tuple[RouteRow, ...]:
    """Return the routes in the JSON of `ip route`, in the order of their prefixes."""
    rows = []
    for route in routes:
        hops = [str(hop["gateway"]) for hop in route.get("nexthops") or [route] if "gateway" in hop]
        everything = "::/0" if any(":" in hop for hop in hops) else "0.0.0.0/0"
        prefix = everything if route["dst"] == "default" else route["dst"]
        metric = int(route.get("metric", 0))
        rows.append(RouteRow(str(parse_network(prefix)), tuple(sorted(hops)), metric))
    return tuple(sorted(rows, key=lambda row: prefix_key(parse_network(row.prefix))))


def read_frr(directory: Path) -> Views:
    """Ask FRR's bgpd."""
    vtysh = ("vtysh", "--vty_socket", str(directory), "-d", "bgpd", "-c")
    summary = _json(_run([*vtysh, "show bgp summary json"]))
    ribs = [_json(_run([*vtysh, f"show bgp ipv{v} unicast json"])) for v in (4, 6)]
    return frr_views(summary, ribs)


def frr_views(summary: dict[str, Any], ribs: Sequence[dict[str, Any]]) -> Views:
    """Return the views in FRR's JSON."""
    first = next((block for block in summary.values() if isinstance(block, dict)), {})
    rows: dict[str, NeighborRow] = {}
    for block in summary.values():
        peers = block.get("peers", {}) if isinstance(block, dict) else {}
        for address, peer in peers.items():
            row = _frr_neighbor(address, peer)
            before = rows.get(address)
            # The session is the same in each family's block, the prefixes are not.
            if before is not None and before.prefixes is not None:
                row = replace(row, prefixes=before.prefixes + (row.prefixes or 0))
            rows[address] = row
    return Views(
        router_id=str(first.get("routerId", "0.0.0.0")),  # noqa: S104
        asn=int(first.get("as", 0)),
        neighbors=tuple(sorted(rows.values(), key=_by_address)),
        paths=_sorted_paths([path for rib in ribs for path in _frr_paths(rib)]),
    )


def _frr_neighbor(address: str, peer: dict[str, Any]) -> NeighborRow:
    established = peer.get("state") == "Established"
    return NeighborRow(
        address=address,
        asn=int(peer.get("remoteAs", 0)),
        received=int(peer.get("msgRcvd", 0)),
        sent=int(peer.get("msgSent", 0)),
        queued=int(peer.get("outq", 0)),
        since_s=int(peer.get("peerUptimeMsec", 0)) / 1000 or None,
        state=str(peer.get("state", "Unknown")),
        prefixes=int(peer.get("pfxRcd", 0)) if established else None,
    )


def _frr_paths(rib: dict[str, Any]) -> list[PathRow]:
    paths = []
    for prefix, entries in rib.get("routes", {}).items():
        for entry in entries:
            hops = entry.get("nexthops") or [{}]
            paths.append(
                PathRow(
                    prefix=prefix,
                    gateway=str(hops[0].get("ip", "")),
                    neighbor=str(entry.get("peerId", "")),
                    valid=bool(entry.get("valid")),
                    best=bool(entry.get("bestpath") or entry.get("multipath")),
                    internal=entry.get("pathFrom") == "internal",
                    stale=bool(entry.get("stale")),
                    local_pref=int(entry.get("locPrf", 100)),
                    med=int(entry.get("metric", 0)),
                    as_path=str(entry.get("path", "")),
                    origin={"IGP": "i", "EGP": "e"}.get(str(entry.get("origin")), "?"),
                )
            )
    return paths


def read_bird(directory: Path) -> Views:
    """Ask BIRD."""
    birdc = ("birdc", "-s", str(directory / "bird.ctl"))
    status = _run([*birdc, "show", "status"])
    protocols = _run([*birdc, "show", "protocols", "all"])
    routes = _run([*birdc, "show", "route", "all"])
    return bird_views(status, protocols, routes)


def bird_views(status: str, protocols: str, routes: str) -> Views:
    """Return the views in BIRD's text."""
    router_id = re.search(r"Router ID is (\S+)", status)
    rows = []
    asn = 0
    for block in re.split(r"\n(?=\S)", protocols):
        neighbor = re.search(r"Neighbor address:\s+([^\s%]+)", block)
        if " BGP " not in block or neighbor is None or "/" in neighbor[1]:
            continue
        row = _bird_neighbor(neighbor[1], block, _bird_time(status))
        asn = _field(block, "Local AS") or asn
        rows.append(row)
    return Views(
        router_id=router_id[1] if router_id else "0.0.0.0",  # noqa: S104
        asn=asn,
        neighbors=tuple(sorted(rows, key=_by_address)),
        paths=_sorted_paths(_bird_paths(routes)),
    )


def _bird_time(text: str) -> datetime | None:
    """Return the first point in time that BIRD named, written as `iso long`."""
    found = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)
    return datetime.fromisoformat(found[0]) if found else None


def _bird_neighbor(address: str, block: str, now: datetime | None) -> NeighborRow:
    since = _bird_time(block)
    state = re.search(r"BGP state:\s+(\S+)", block)
    # One channel for each family: the session's figures are their sums.
    imported = re.findall(r"Routes:\s+(\d+) imported", block)
    received = re.findall(r"Import (?:updates|withdraws):\s+(\d+)", block)
    exported = re.findall(r"Export updates:\s+\d+(?:\s+\S+){3}\s+(\d+)", block)
    name = state[1] if state else "Idle"
    return NeighborRow(
        address=address,
        asn=_field(block, "Neighbor AS"),
        received=sum(map(int, received)),
        sent=sum(map(int, exported)),
        queued=0,
        since_s=(now - since).total_seconds() if now and since else None,
        state=name,
        prefixes=sum(map(int, imported)) if imported and name == "Established" else None,
        details={"Counted": "routes, not messages: BIRD does not say how many messages it had"},
    )


def _bird_paths(text: str) -> list[PathRow]:
    paths: list[PathRow] = []
    prefix = ""
    for block in re.split(r"\n(?=\S|[ ]{20})", text):
        head = re.match(r"(\S+/\d+)?\s+unicast \[", block)
        if head is None:
            continue
        prefix = head[1] or prefix
        if "Type: BGP" not in block:
            continue
        hop = re.search(r"BGP\.next_hop: (\S+)", block)
        path = re.search(r"BGP\.as_path: ?([^\n]*)", block)
        origin = re.search(r"BGP\.origin: (\S+)", block)
        sender = re.search(r"from (\S+)\]", block)
        gateway = hop[1] if hop else ""
        as_path = path[1].strip() if path else ""
        paths.append(
            PathRow(
                prefix=prefix,
                gateway=gateway,
                neighbor=sender[1] if sender else gateway,
                valid=True,
                best=True,
                internal=not as_path,
                local_pref=_field(block, "BGP.local_pref") or 100,
                med=_field(block, "BGP.med"),
                as_path=as_path,
                origin={"IGP": "i", "EGP": "e"}.get(origin[1] if origin else "", "?"),
            )
        )
    return paths


def _field(block: str, name: str) -> int:
    found = re.search(rf"{re.escape(name)}:\s+(\d+)", block)
    return int(found[1]) if found else 0


def _by_address(row: NeighborRow) -> tuple[int, int]:
    return address_key(parse_address(row.address))


def _sorted_paths(paths: list[PathRow]) -> tuple[PathRow, ...]:
    return tuple(
        sorted(paths, key=lambda row: (prefix_key(parse_network(row.prefix)), row.gateway))
    )


def _run(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S)
    except FileNotFoundError as error:
        raise ForeignFailed(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ForeignFailed(f"{argv[0]} did not answer within {TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or ["no reason given"]
        raise ForeignFailed(f"{argv[0]}: {said[0]}: is the router running?")
    return done.stdout


def _json(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text.encode())
    except msgspec.DecodeError as error:
        raise ForeignFailed(f"vtysh printed no JSON: {text[:80]!r}") from error
    return found if isinstance(found, dict) else {}


READERS: dict[str, Callable[[Path], Views]] = {"frr": read_frr, "bird": read_bird}
