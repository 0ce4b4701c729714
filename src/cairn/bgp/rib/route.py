"""A route as the decision process sees it: prefix, attributes and who brought it.

prefix, Attributes, Source  ->  Route
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from cairn.bgp.attribute.attributes import Attributes
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class Source:
    """Who brought a route."""

    peer: str
    """Name of the peer; empty: ourselves."""
    address: Address
    """Its address; of our own routes the router identifier."""
    local: Address
    """Our address on the session."""
    local_asn: int
    """Our autonomous system towards it."""
    asn: int
    """Its autonomous system."""
    router_id: IPv4Address
    """Its BGP identifier."""

    @property
    def is_local(self) -> bool:
        """Return whether the route is our own."""
        return not self.peer

    @property
    def is_ibgp(self) -> bool:
        """Return whether the route came from within our autonomous system."""
        return bool(self.peer) and self.asn == self.local_asn


@dataclass(frozen=True, slots=True)
class Route:
    """One candidate for a prefix."""

    prefix: Network
    """Where to."""
    attributes: Attributes
    """As accepted, after the import filter."""
    source: Source
    """Who brought it."""
    stale: bool = False
    """Its peer is restarting, and has not confirmed it yet."""
    igp_cost: int = 0
    """Distance to the next hop; peers of a home network are all on link."""
