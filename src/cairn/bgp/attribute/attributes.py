"""What a route says about itself, apart from its prefix: the set of its path attributes.

    values of single attributes  ->  Attributes

Invariants  Frozen and hashable: routes that share it are packed into the same UPDATE.
Standards   RFC 4271 s5
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from cairn.bgp.attribute.aggregator import Aggregator
from cairn.bgp.attribute.as_path import EMPTY_PATH, AsPath
from cairn.bgp.attribute.communities import Community
from cairn.bgp.attribute.extended_communities import ExtendedCommunity
from cairn.bgp.attribute.kind import UnknownAttribute
from cairn.bgp.attribute.large_communities import LargeCommunity
from cairn.bgp.attribute.origin import Origin
from cairn.net import Address

DEFAULT_LOCAL_PREF = 100
"""What a route without LOCAL_PREF counts as."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a route."""

    origin: Origin = Origin.IGP
    """How it came into BGP."""
    as_path: AsPath = EMPTY_PATH
    """The autonomous systems on the way."""
    next_hop: Address | None = None
    """Where packets go; None on a route of our own: the session's local address."""
    med: int | None = None
    """Preference among links into one autonomous system, the lower."""
    local_pref: int | None = None
    """Preference within an autonomous system, the higher."""
    atomic_aggregate: bool = False
    """The path lost some systems by aggregation."""
    aggregator: Aggregator | None = None
    """Who aggregated."""
    communities: tuple[Community, ...] = ()
    """Marks of four octets."""
    originator_id: IPv4Address | None = None
    """Who brought it into the system, where it was reflected."""
    cluster_list: tuple[IPv4Address, ...] = ()
    """Reflectors on the way."""
    extended_communities: tuple[ExtendedCommunity, ...] = ()
    """Marks of eight octets."""
    large_communities: tuple[LargeCommunity, ...] = ()
    """Marks of twelve octets."""
    link_local: IPv6Address | None = None
    """The IPv6 next hop's link-local address."""
    unknown: tuple[UnknownAttribute, ...] = ()
    """Optional transitive attributes that are passed on unread."""

    @property
    def preference(self) -> int:
        """Return the local preference, or its default."""
        return DEFAULT_LOCAL_PREF if self.local_pref is None else self.local_pref
