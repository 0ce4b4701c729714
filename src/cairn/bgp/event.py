"""What a speaker tells the outside: sessions that came and went, routes that changed.

session, RIB  ->  Event  ->  log, FIB, status
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cairn.bgp.attribute.as_path import AsPath
from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.communities import Community
from cairn.bgp.attribute.origin import Origin
from cairn.bgp.capability.table import Capability
from cairn.bgp.family import Family
from cairn.bgp.transitions import State
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class Path:
    """One way to a prefix, as people and the FIB see it."""

    prefix: Network
    """Where to."""
    peer: str
    """Who said so; empty: a route of our own."""
    next_hop: Address | None
    """Where packets go; None on a route of our own that leaves it to each session."""
    local_pref: int
    """Local preference, its default filled in."""
    med: int | None
    """MULTI_EXIT_DISC, if there was one."""
    as_path: AsPath
    """Autonomous systems on the way."""
    origin: Origin
    """How it came into BGP."""
    communities: tuple[Community, ...]
    """Marks of four octets."""
    attributes: Attributes
    """Everything else."""
    valid: bool
    """It takes part in the decision."""
    invalid: str
    """Why it does not; empty if it does."""
    selected: bool
    """It is the best."""
    multipath: bool
    """It is used together with the best."""
    stale: bool
    """Its peer is restarting, and has not confirmed it yet."""
    via_ibgp: bool
    """Learned within our autonomous system."""
    announced: bool
    """It is a route of our own."""
    lost_at: str
    """The step of the decision at which it lost; empty if it is used or not valid."""


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A session is established."""

    peer: str
    """Name of the peer."""
    remote: Address
    """Its address."""
    asn: int
    """Its autonomous system."""
    hold_time_s: int
    """Agreed on."""


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A session, or an attempt at one, is over."""

    peer: str
    """Name of the peer."""
    remote: Address
    """Its address."""
    reason: str
    """Why, in a line, with the NOTIFICATION sent or received."""
    was: State
    """How far it had come."""
    graceful: bool
    """Its routes are kept for a while (RFC 4724)."""


@dataclass(frozen=True, slots=True)
class PeerStateChanged:
    """A peer went from one state to another."""

    peer: str
    """Name of the peer."""
    remote: Address
    """Its address."""
    was: State
    """Before."""
    now: State
    """After."""


@dataclass(frozen=True, slots=True)
class RouteChanged:
    """The paths in use for a prefix changed."""

    prefix: Network
    """Which."""
    paths: tuple[Path, ...]
    """The best first; empty: no path by way of a peer is in use."""


@dataclass(frozen=True, slots=True)
class TreatedAsWithdraw:
    """Prefixes whose announcement was malformed count as withdrawn (RFC 7606)."""

    peer: str
    """Name of the peer."""
    prefixes: tuple[Network, ...]
    """Which."""
    reason: str
    """What was wrong."""


@dataclass(frozen=True, slots=True)
class AttributeDiscarded:
    """An attribute was malformed and is ignored; its routes stand (RFC 7606)."""

    peer: str
    """Name of the peer."""
    reason: str
    """Which, and what was wrong."""


@dataclass(frozen=True, slots=True)
class PrefixLimit:
    """A peer announced more prefixes than it may; its session ends."""

    peer: str
    """Name of the peer."""
    prefixes: int
    """How many it announced."""
    limit: int
    """How many it may."""


@dataclass(frozen=True, slots=True)
class RouteNotAnnounced:
    """A route should go to a peer and cannot; others that fail alike make no event."""

    peer: str
    """Name of the peer."""
    prefix: Network
    """Which route."""
    reason: str
    """What is missing."""


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """A peer has announced all its routes of a family."""

    peer: str
    """Name of the peer."""
    family: Family
    """Which."""


Event = (
    PeerUp
    | PeerDown
    | PeerStateChanged
    | RouteChanged
    | TreatedAsWithdraw
    | AttributeDiscarded
    | PrefixLimit
    | RouteNotAnnounced
    | EndOfRib
)


@dataclass(frozen=True, slots=True)
class FamilyCount:
    """The routes of one family between us and a peer."""

    received: int = 0
    """Prefixes in its Adj-RIB-In."""
    announced: int = 0
    """Prefixes in its Adj-RIB-Out."""


@dataclass(frozen=True, slots=True)
class PeerState:
    """One peer at a moment."""

    name: str
    """Its name; of a dynamic one the template's, a slash and the address."""
    template: str
    """Name in the configuration."""
    remote: Address
    """Its address."""
    remote_asn: int | None
    """Its autonomous system, once known or configured."""
    local_asn: int
    """Ours towards it."""
    remote_id: str
    """Its BGP identifier; empty while unknown."""
    state: State
    """How far the session is."""
    since: float
    """When `state` was entered, by the driver's clock."""
    messages_in: int
    """Messages received, over all its connections."""
    messages_out: int
    """Messages sent or queued."""
    prefixes_received: int
    """Prefixes in its Adj-RIB-In."""
    prefixes_announced: int
    """Prefixes in its Adj-RIB-Out."""
    prefixes_stale: int
    """Prefixes kept while it restarts."""
    out_queue: int
    """Messages and routes that wait to be sent."""
    last_error: str
    """Why the last session ended; empty if none did."""
    hold_time_s: int | None
    """Agreed on; None while not established."""
    capabilities: tuple[Capability, ...]
    """What the peer announced."""
    families: tuple[Family, ...]
    """What routes are exchanged of; empty while not established."""
    counts: Mapping[Family, FamilyCount]
    """How many routes of each family that has any."""
    not_announced: Mapping[str, int]
    """Why routes that should go to it do not, and how many."""
