"""The router's own state as views: its speaker, its kernel routes.

bgp.Speaker, netlink  ->  Views
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cairn.bgp.attribute.origin import Origin
from cairn.bgp.event import Path, PeerState
from cairn.bgp.speaker import Speaker
from cairn.bgp.transitions import State
from cairn.desired.routes import KernelRoute
from cairn.net import Address
from cairn.router.config import RouterConfig
from cairn.router.views import (
    NeighborRow,
    PathRow,
    RouteRow,
    Views,
    address_key,
    prefix_key,
)


@dataclass(frozen=True, slots=True)
class Departed:
    """A neighbour that came by itself and went; the speaker itself forgets it."""

    asn: int
    """Its autonomous system."""
    since: float
    """When its session came up or went down, by the driver's clock."""
    reason: str
    """Why it went."""


ORIGINS = {Origin.IGP: "i", Origin.EGP: "e", Origin.INCOMPLETE: "?"}


def observe(
    config: RouterConfig,
    speaker: Speaker,
    routes: Iterable[KernelRoute],
    *,
    departed: Mapping[Address, Departed],
    counters: Mapping[str, int],
    now: float,
) -> Views:
    """Return everything that `bgpctl` can show."""
    peers = speaker.peers()
    remotes = {peer.name: str(peer.remote) for peer in peers}
    limits = {group.name: group.max_prefixes for group in config.groups}
    rows = {peer.remote: neighbor_row(peer, limits.get(peer.template), now) for peer in peers}
    for address, was in departed.items():
        rows.setdefault(address, departed_row(address, was, now))
    paths = sorted(speaker.rib(), key=_path_key)
    return Views(
        router_id=str(config.router_id),
        asn=config.asn,
        neighbors=tuple(rows[address] for address in sorted(rows, key=address_key)),
        paths=tuple(path_row(path, remotes) for path in paths),
        routes=tuple(
            route_row(route) for route in sorted(routes, key=lambda r: prefix_key(r.prefix))
        ),
        counters=dict(counters),
    )


def departed_row(address: Address, was: Departed, now: float) -> NeighborRow:
    """Return a neighbour that had a session once and for which we only wait now."""
    details = {"Last error": was.reason} if was.reason else {}
    return NeighborRow(
        address=str(address),
        asn=was.asn,
        received=0,
        sent=0,
        queued=0,
        since_s=max(now - was.since, 0.0),
        state=str(State.ACTIVE),
        details=details,
    )


def neighbor_row(peer: PeerState, limit: int | None, now: float) -> NeighborRow:
    """Return one neighbour."""
    established = peer.state is State.ESTABLISHED
    details = {
        "Remote router-id": peer.remote_id,
        "Hold time": f"{peer.hold_time_s} s" if peer.hold_time_s is not None else "",
        "Families": ", ".join(str(family) for family in peer.families),
        **{
            f"Prefixes of {family}": f"{count.received} received, {count.announced} sent"
            for family, count in peer.counts.items()
        },
        "Capabilities": ", ".join(str(one) for one in peer.capabilities),
        "Prefixes sent": str(peer.prefixes_announced),
        "Prefixes stale": str(peer.prefixes_stale) if peer.prefixes_stale else "",
        "Prefix limit": str(limit or ""),
        "Last error": peer.last_error,
    }
    return NeighborRow(
        address=str(peer.remote),
        asn=peer.remote_asn or 0,
        received=peer.messages_in,
        sent=peer.messages_out,
        queued=peer.out_queue,
        since_s=max(now - peer.since, 0.0) if established or peer.messages_in else None,
        state=str(peer.state),
        prefixes=peer.prefixes_received if established else None,
        description=peer.template,
        details={name: value for name, value in details.items() if value},
    )


def path_row(path: Path, remotes: Mapping[str, str]) -> PathRow:
    """Return one path."""
    return PathRow(
        prefix=str(path.prefix),
        gateway="" if path.next_hop is None else str(path.next_hop),
        neighbor=remotes.get(path.peer, path.peer),
        valid=path.valid,
        best=path.selected or path.multipath,
        internal=path.via_ibgp,
        stale=path.stale,
        announced=path.announced,
        error=not path.valid,
        reason=path.invalid,
        local_pref=path.local_pref,
        med=path.med or 0,
        as_path=str(path.as_path),
        origin=ORIGINS[path.origin],
        communities=" ".join(map(str, (*path.communities, *path.attributes.extended_communities))),
    )


def route_row(route: KernelRoute) -> RouteRow:
    """Return one kernel route."""
    gateways = tuple("direct" if h.address is None else str(h.address) for h in route.nexthops)
    weights = tuple(hop.weight for hop in route.nexthops)
    equal = len(set(weights)) == 1
    return RouteRow(str(route.prefix), gateways, route.metric, () if equal else weights)


def _path_key(path: Path) -> tuple[object, ...]:
    hop = (0, 0) if path.next_hop is None else address_key(path.next_hop)
    return (*prefix_key(path.prefix), *hop, path.peer)
