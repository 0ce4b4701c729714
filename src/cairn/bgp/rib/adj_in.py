"""Adj-RIB-In: what one peer announced, before and after our own judgement.

    UPDATEs of a peer  ->  AdjIn  ->  Route, or the reason why not

Invariants  Routes are kept as they came: a changed filter is applied without asking again.
Standards   RFC 2545 s3 (IPv6 next hops); RFC 4271 s5.1.3, s6.3, s9.1.2 (loops, next hop);
            RFC 4456 s8; RFC 4724 s4.2 (stale)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.config import RouteFilter
from cairn.bgp.family import Family, family_of
from cairn.bgp.rib.route import Route, Source
from cairn.net import Network


@dataclass(frozen=True, slots=True)
class Received:
    """One announcement as it came."""

    attributes: Attributes
    """The peer's."""
    stale: bool = False
    """Not yet confirmed after a restart."""


class AdjIn:
    """The routes of one peer."""

    def __init__(self) -> None:
        self.routes: dict[Network, Received] = {}

    def announce(self, prefixes: Iterable[Network], attributes: Attributes) -> None:
        """Take prefixes that are reachable, sharing their attributes."""
        entry = Received(attributes)
        self.routes.update(dict.fromkeys(prefixes, entry))

    def withdraw(self, prefixes: Iterable[Network]) -> list[Network]:
        """Forget prefixes; return those that were there."""
        return [one for one in prefixes if self.routes.pop(one, None) is not None]

    def mark_stale(self, families: Iterable[Family]) -> list[Network]:
        """Mark the routes of `families`; return their prefixes."""
        wanted = set(families)
        marked = [one for one in self.routes if family_of(one) in wanted]
        for one in marked:
            self.routes[one] = Received(self.routes[one].attributes, stale=True)
        return marked

    def stale(self, families: Iterable[Family] | None = None) -> list[Network]:
        """Return the stale prefixes, of `families` or of all."""
        wanted = None if families is None else set(families)
        return [
            one
            for one, entry in self.routes.items()
            if entry.stale and (wanted is None or family_of(one) in wanted)
        ]

    def judge(
        self, prefix: Network, source: Source, router_id: IPv4Address, accept: RouteFilter | None
    ) -> Route | str | None:
        """Return the route to use, the reason why it is not, or None if there is none."""
        entry = self.routes.get(prefix)
        if entry is None:
            return None
        wrong = objection(entry.attributes, source, router_id)
        if wrong:
            return wrong
        attributes = accept(prefix, entry.attributes) if accept else entry.attributes
        if attributes is None:
            return "rejected by the import filter"
        return Route(prefix, attributes, source, stale=entry.stale)


def objection(attributes: Attributes, source: Source, router_id: IPv4Address) -> str:
    """Return why a route from `source` must not be used; empty if it may."""
    path, hop = attributes.as_path, attributes.next_hop
    if path.holds(source.local_asn):
        return f"loop: our AS {source.local_asn} is in the path"
    if not source.is_ibgp and path.first != source.asn:
        return f"the path does not begin with the peer's AS {source.asn}"
    if attributes.originator_id == router_id or router_id in attributes.cluster_list:
        return "loop: reflected back to us"
    if hop is None or hop.is_unspecified or hop.is_multicast or hop.is_loopback:
        return f"next hop {hop} is no address of a router"
    if isinstance(hop, IPv6Address) and hop.ipv4_mapped is not None:
        return f"next hop {hop} is an IPv4 address in IPv6 clothes: the peer has no IPv6 there"
    if hop.is_link_local:
        # The kernel could not tell on which link it is, and the peer is to name a global one.
        return f"next hop {hop} is link-local; RFC 2545 wants the peer's global address there"
    if hop == source.local:
        return f"next hop {hop} is our own address"
    return ""
