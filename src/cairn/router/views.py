"""What `bgpctl` shows, as values: neighbours, paths, routes.

    a router's answers  ->  NeighborRow, PathRow, RouteRow  ->  text, JSON

Every routing daemon's answers become these rows, so that one set of tables serves them all.

Units       durations in seconds
Not here    How they look (tables).
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class NeighborRow:
    """One neighbour."""

    address: str
    """Its address, or the network of a group nobody of which is connected."""
    asn: int
    """Its autonomous system; 0 if it may have any."""
    received: int
    """Messages from it."""
    sent: int
    """Messages to it."""
    queued: int
    """Messages, or octets where the daemon counts these, that wait to be sent."""
    since_s: float | None
    """Time since the session came up or went down; None: never up."""
    state: str
    """Name of the session's state."""
    prefixes: int | None = None
    """Prefixes received; None while not established."""
    max_prefixes: int | None = None
    """Its limit."""
    description: str = ""
    """The group or name it was configured by."""
    details: dict[str, str] = field(default_factory=dict)
    """Further lines, shown for one neighbour by name."""


@dataclass(frozen=True, slots=True)
class PathRow:
    """One path of one prefix."""

    prefix: str
    """Destination."""
    gateway: str
    """Next hop."""
    neighbor: str
    """Who announced it."""
    valid: bool
    """It takes part in the decision."""
    best: bool
    """It was chosen, alone or among equals."""
    internal: bool
    """It came over an iBGP session."""
    stale: bool = False
    """Its announcer is restarting."""
    announced: bool = False
    """We originate it."""
    error: bool = False
    """It cannot be used."""
    reason: str = ""
    """Why not."""
    local_pref: int = 100
    """LOCAL_PREF."""
    med: int = 0
    """MULTI_EXIT_DISC."""
    as_path: str = ""
    """The path, space between numbers."""
    origin: str = "i"
    """i: IGP, e: EGP, ?: incomplete."""
    communities: str = ""
    """Communities, space between them."""


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route that the kernel holds."""

    prefix: str
    """Destination."""
    gateways: tuple[str, ...]
    """Next hops."""
    metric: int
    """Priority."""
    weights: tuple[int, ...] = ()
    """Shares of the next hops; empty: equal ones."""


@dataclass(frozen=True, slots=True)
class Views:
    """Everything that `bgpctl` can show of one router."""

    router_id: str
    """BGP identifier."""
    asn: int
    """Autonomous system."""
    neighbors: tuple[NeighborRow, ...] = ()
    """In the order of their addresses."""
    paths: tuple[PathRow, ...] = ()
    """By prefix, then gateway."""
    routes: tuple[RouteRow, ...] = ()
    """By prefix."""
    counters: dict[str, int] = field(default_factory=dict)
    """What went wrong how often, by name."""
    now_at: float = 0.0
    """The router's clock, since 1970; 0: it does not tell."""


def save_views(views: Views) -> bytes:
    """Return the views as one line of JSON."""
    return msgspec.json.encode(views) + b"\n"


def load_views(line: bytes) -> Views:
    """Return the views that a line of JSON holds; raises msgspec.ValidationError."""
    return msgspec.json.decode(line, type=Views)


def address_key(address: Address) -> tuple[int, int]:
    """Return the key that orders addresses of both families."""
    return address.version, int(address)


def prefix_key(prefix: Network) -> tuple[int, int, int]:
    """Return the key that orders prefixes of both families."""
    return prefix.version, int(prefix.network_address), prefix.prefixlen


def neighbors_json(views: Views) -> dict[str, Any]:
    """Return the neighbours in the shape of OpenBGPD's `bgpctl -j show neighbor`."""
    return {
        "neighbors": [
            {
                "remote_addr": row.address,
                "remote_as": str(row.asn),
                "description": row.description,
                "state": row.state,
                "last_updown_sec": None if row.since_s is None else int(row.since_s),
                "stats": {
                    "prefixes": {"received": row.prefixes or 0},
                    "message": {
                        "received": {"total": row.received},
                        "sent": {"total": row.sent},
                    },
                    "queue": row.queued,
                },
                "details": row.details,
            }
            for row in views.neighbors
        ]
    }


def rib_json(paths: tuple[PathRow, ...]) -> dict[str, Any]:
    """Return the paths in the shape of OpenBGPD's `bgpctl -j show rib`."""
    return {
        "rib": [
            {
                "prefix": row.prefix,
                "aspath": row.as_path,
                "exit_nexthop": row.gateway,
                "neighbor": {"remote_addr": row.neighbor},
                "valid": row.valid,
                "best": row.best,
                "source": "internal" if row.internal else "external",
                "stale": row.stale,
                "reason": row.reason,
                "origin": {"i": "IGP", "e": "EGP"}.get(row.origin, "incomplete"),
                "metric": row.med,
                "localpref": row.local_pref,
                "communities": row.communities.split(),
            }
            for row in paths
        ]
    }


def fib_json(views: Views) -> dict[str, Any]:
    """Return the kernel's routes."""
    return {
        "fib": [
            {
                "prefix": row.prefix,
                "nexthops": list(row.gateways),
                "metric": row.metric,
                "weights": list(row.weights or [1] * len(row.gateways)),
            }
            for row in views.routes
        ]
    }
