"""What a peer is told of a route: the rules for passing routes on.

    best route, session  ->  export  ->  Attributes to send, or why none are

Invariants  A route without a next hop of its own gets our address of its own family, whatever
            family the session is of: the session's address, or one the peer is configured with.
            RFC 2545 s3 wants a link-local address behind the global one on a shared link; we send
            the global one alone, which every router resolves on the link as well.
Standards   RFC 4271 s5.1, s9.1.3, s9.2; RFC 1997 (NO_EXPORT, NO_ADVERTISE); RFC 2545 s2, s3;
            RFC 4360 s6; RFC 4760 s3
"""

from dataclasses import dataclass, replace

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.attribute.communities import NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED
from cairn.bgp.config import RouteFilter
from cairn.bgp.family import Family, family_of
from cairn.bgp.rib.route import Route
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class Outlet:
    """What passing routes to one peer depends on."""

    peer: str
    """Its name."""
    local: Address
    """Our address on the session."""
    next_hops: tuple[Address, ...]
    """Our addresses of other families."""
    local_asn: int
    """Our autonomous system towards it."""
    remote_asn: int
    """Its autonomous system."""
    families: frozenset[Family]
    """What it takes routes of."""
    wanted: frozenset[Family]
    """What we offered routes of."""
    accept: RouteFilter | None
    """The export filter."""

    @property
    def is_ibgp(self) -> bool:
        """Return whether the peer is in our autonomous system."""
        return self.local_asn == self.remote_asn

    def own_address(self, version: int) -> Address | None:
        """Return our address of one IP version that the peer can send packets to."""
        own = (self.local, *self.next_hops)
        return next((a for a in own if a.version == version and not a.is_link_local), None)


def export(route: Route, to: Outlet) -> Attributes | str | None:
    """Return the attributes to send; None: not for this peer; text: it should, but cannot."""
    family = family_of(route.prefix)
    if route.source.peer == to.peer or family not in to.families | to.wanted:
        return None
    if route.source.is_ibgp and to.is_ibgp:
        return None  # RFC 4271 s9.2: who is in our system heard it from its own peer
    if not route.source.is_local and _kept_back(route.attributes, to):
        return None
    attributes = route.attributes
    if to.accept is not None:
        allowed = to.accept(route.prefix, attributes)
        if allowed is None:
            return None
        attributes = allowed
    if family not in to.families:
        if not route.source.is_local:
            return None
        return f"the peer does not take {family}: enable that family for this neighbor there"
    sent = _to_internal(attributes, route) if to.is_ibgp else _to_external(attributes, route, to)
    return _with_next_hop(sent, route.prefix, to)


def _kept_back(attributes: Attributes, to: Outlet) -> bool:
    marks = set(attributes.communities)
    if NO_ADVERTISE in marks:
        return True
    return not to.is_ibgp and bool(marks & {NO_EXPORT, NO_EXPORT_SUBCONFED})


def _to_internal(attributes: Attributes, route: Route) -> Attributes:
    return replace(attributes, local_pref=attributes.preference)


def _to_external(attributes: Attributes, route: Route, to: Outlet) -> Attributes:
    ours = route.source.is_local
    extended = attributes.extended_communities
    return replace(
        attributes,
        as_path=attributes.as_path.prepend(to.local_asn),
        local_pref=None,
        # RFC 4271 s5.1.4: a MED that we received goes no further.
        med=attributes.med if ours else None,
        next_hop=attributes.next_hop if ours else None,
        link_local=attributes.link_local if ours else None,
        originator_id=None,
        cluster_list=(),
        extended_communities=extended if ours else tuple(x for x in extended if x.is_transitive),
    )


def _with_next_hop(attributes: Attributes, prefix: Network, to: Outlet) -> Attributes | str:
    hop = attributes.next_hop or to.own_address(prefix.version)
    if hop is None:
        return (
            f"it needs an IPv{prefix.version} next hop; the session's address is {to.local}, and "
            "no other one is configured"
        )
    if hop.version != prefix.version:
        return f"it needs an IPv{prefix.version} next hop, not {hop}"
    return replace(attributes, next_hop=hop)
