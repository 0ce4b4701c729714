"""All the RIBs together: what comes in from peers, what is decided, what goes out to them.

    UPDATEs, own routes, sessions  ->  Exchange.settle  ->  events; AdjOut per session

Cost        One change: one decision for its prefix, one export per established peer.
Standards   RFC 4271 s3.2, s9
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from cairn.bgp.attribute.attributes import Attributes
from cairn.bgp.config import RouteFilter
from cairn.bgp.event import Event, FamilyCount, Path, RouteChanged, RouteNotAnnounced
from cairn.bgp.family import Family, family_of
from cairn.bgp.message.update import Update
from cairn.bgp.rib.adj_in import AdjIn
from cairn.bgp.rib.adj_out import AdjOut
from cairn.bgp.rib.export import Outlet, export
from cairn.bgp.rib.loc import Change, LocRib
from cairn.bgp.rib.route import Route, Source
from cairn.net import Network


@dataclass(slots=True)
class Neighbour:
    """The routes from and to one peer."""

    source: Source
    """Who it is."""
    accept: RouteFilter | None
    """Import filter."""
    adj_in: AdjIn = field(default_factory=AdjIn)
    """What it announced."""
    invalid: dict[Network, str] = field(default_factory=dict)
    """What we do not use of that, and why."""
    outlet: Outlet | None = None
    """How routes go to it; None while its session is down."""
    adj_out: AdjOut | None = None
    """What it was told; None while its session is down."""
    blocked: dict[Network, str] = field(default_factory=dict)
    """Routes that should go to it and cannot, and why."""
    why_blocked: Counter[str] = field(default_factory=Counter)
    """How many of those for each reason."""

    def block(self, prefix: Network, reason: str) -> bool:
        """Note that a route cannot go to it; return whether that is news."""
        if self.blocked.get(prefix) == reason:
            return False
        self.unblock(prefix)
        self.blocked[prefix] = reason
        self.why_blocked[reason] += 1
        return self.why_blocked[reason] == 1

    def unblock(self, prefix: Network) -> None:
        """Note that nothing hinders a route any more."""
        before = self.blocked.pop(prefix, None)
        if before is not None:
            self.why_blocked[before] -= 1


class Exchange:
    """The RIBs of one speaker."""

    def __init__(self, router_id: IPv4Address, multipath: int) -> None:
        self._router_id = router_id
        self._loc = LocRib(multipath)
        self._neighbours: dict[str, Neighbour] = {}
        self._own: dict[Network, Attributes] = {}
        self._events: list[Event] = []
        self._source = Source("", router_id, router_id, 0, 0, router_id)

    # -- our own routes -----------------------------------------------------------------------

    def originate(self, routes: Mapping[Network, Attributes]) -> None:
        """Make `routes` the whole set of our own."""
        for prefix in self._own.keys() - routes.keys():
            self._loc.remove(prefix, "")
        for prefix, attributes in routes.items():
            if self._own.get(prefix) != attributes:
                self._loc.put(Route(prefix, attributes, self._source))
        self._own = dict(routes)

    # -- sessions -----------------------------------------------------------------------------

    def join(
        self, source: Source, accept: RouteFilter | None, outlet: Outlet, adj_out: AdjOut
    ) -> None:
        """Take an established session: tell it what we have."""
        neighbour = self._neighbours.setdefault(source.peer, Neighbour(source, accept))
        neighbour.source, neighbour.accept = source, accept
        neighbour.outlet, neighbour.adj_out = outlet, adj_out
        self._judge(neighbour, neighbour.adj_in.routes)
        self._tell_all(neighbour)

    def leave(self, peer: str, keep: Iterable[Family]) -> None:
        """Take the end of a session; routes of the families `keep` become stale."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return
        neighbour.outlet = neighbour.adj_out = None
        neighbour.blocked.clear()
        neighbour.why_blocked.clear()
        # A route that is stale already was not confirmed last time either (RFC 4724 s4.2).
        kept = set(keep)
        before = set(neighbour.adj_in.stale())
        gone = [
            one for one in neighbour.adj_in.routes if one in before or family_of(one) not in kept
        ]
        self._withdraw(neighbour, gone)
        self._judge(neighbour, neighbour.adj_in.mark_stale(kept))
        if not neighbour.adj_in.routes:
            del self._neighbours[peer]

    def update(self, peer: str, update: Update) -> None:
        """Take what an UPDATE of `peer` says."""
        neighbour = self._neighbours[peer]
        self._withdraw(neighbour, update.withdrawn)
        for part in update.reachable:
            neighbour.adj_in.announce(part.prefixes, part.attributes)
            self._judge(neighbour, part.prefixes)

    def mark_stale(self, peer: str, families: Iterable[Family]) -> None:
        """Mark routes until they are announced again (RFC 7313 s4, Begin of refresh)."""
        neighbour = self._neighbours[peer]
        self._judge(neighbour, neighbour.adj_in.mark_stale(families))

    def sweep(self, peer: str, families: Iterable[Family] | None = None) -> None:
        """Forget the routes that are still stale, of `families` or of all."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return
        self._withdraw(neighbour, neighbour.adj_in.stale(families))
        if neighbour.adj_out is None and not neighbour.adj_in.routes:
            del self._neighbours[peer]

    def filters(self, peer: str, accept: RouteFilter | None, outlet: Outlet | None) -> None:
        """Apply changed filters to the routes that are there."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return
        neighbour.accept = accept
        self._judge(neighbour, neighbour.adj_in.routes)
        if outlet is not None and neighbour.adj_out is not None:
            neighbour.outlet = outlet
            self._tell_all(neighbour)

    # -- what others see ----------------------------------------------------------------------

    def settle(self) -> list[Event]:
        """Decide what was touched, tell the peers, and return what changed."""
        events, self._events = self._events, []
        for change in self._loc.decide():
            if _fib(change.was.used) != _fib(change.now.used):
                used = [one for one in change.now.used if not one.source.is_local]
                paths = tuple(_path(one, used=at) for at, one in enumerate(used))
                events.append(RouteChanged(change.prefix, paths))
            if _best_differs(change):
                for neighbour in self._neighbours.values():
                    events += self._tell(neighbour, change.prefix)
        return events

    def received(self, peer: str) -> int:
        """Return how many prefixes `peer` announced."""
        neighbour = self._neighbours.get(peer)
        return len(neighbour.adj_in.routes) if neighbour else 0

    def stale(self, peer: str) -> int:
        """Return how many routes of `peer` are stale."""
        neighbour = self._neighbours.get(peer)
        return len(neighbour.adj_in.stale()) if neighbour else 0

    def counts(self, peer: str) -> dict[Family, FamilyCount]:
        """Return how many routes of each family came from `peer` and went to it."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return {}
        received = Counter(map(family_of, neighbour.adj_in.routes))
        sent = Counter(map(family_of, neighbour.adj_out.sent() if neighbour.adj_out else ()))
        families = sorted(received.keys() | sent.keys())
        return {one: FamilyCount(received[one], sent[one]) for one in families}

    def not_announced(self, peer: str) -> dict[str, int]:
        """Return why routes that should go to `peer` do not, and how many."""
        neighbour = self._neighbours.get(peer)
        return dict(+neighbour.why_blocked) if neighbour else {}

    def outgoing(self, peer: str) -> AdjOut | None:
        """Return what `peer` was told; None while its session is down."""
        neighbour = self._neighbours.get(peer)
        return neighbour.adj_out if neighbour else None

    def paths(self) -> Iterator[Path]:
        """Return every path, by prefix, the used ones first."""
        for _prefix, decision in sorted(
            self._loc.items(), key=lambda item: (item[0].version, item[0])
        ):
            for at, route in enumerate(decision.used):
                yield _path(route, used=at)
            for route, step in decision.lost:
                yield _path(route, lost_at=step)
        for neighbour in self._neighbours.values():
            for prefix, reason in neighbour.invalid.items():
                entry = neighbour.adj_in.routes[prefix]
                route = Route(prefix, entry.attributes, neighbour.source, stale=entry.stale)
                yield _path(route, invalid=reason)

    # -- inside -------------------------------------------------------------------------------

    def _withdraw(self, neighbour: Neighbour, prefixes: Iterable[Network]) -> None:
        for prefix in neighbour.adj_in.withdraw(prefixes):
            neighbour.invalid.pop(prefix, None)
            self._loc.remove(prefix, neighbour.source.peer)

    def _judge(self, neighbour: Neighbour, prefixes: Iterable[Network]) -> None:
        for prefix in prefixes:
            found = neighbour.adj_in.judge(
                prefix, neighbour.source, self._router_id, neighbour.accept
            )
            neighbour.invalid.pop(prefix, None)
            if isinstance(found, Route):
                self._loc.put(found)
                continue
            self._loc.remove(prefix, neighbour.source.peer)
            if found is not None:
                neighbour.invalid[prefix] = found

    def _tell_all(self, neighbour: Neighbour) -> None:
        for prefix in list(self._loc.prefixes()):
            self._events += self._tell(neighbour, prefix)

    def _tell(self, neighbour: Neighbour, prefix: Network) -> list[Event]:
        if neighbour.outlet is None or neighbour.adj_out is None:
            return []
        best = self._loc.best(prefix)
        answer = export(best, neighbour.outlet) if best else None
        if not isinstance(answer, str):
            neighbour.adj_out.want(prefix, answer)
            neighbour.unblock(prefix)
            return []
        neighbour.adj_out.want(prefix, None)
        if not neighbour.block(prefix, answer):
            return []
        return [RouteNotAnnounced(neighbour.source.peer, prefix, answer)]


def _fib(used: tuple[Route, ...]) -> list[tuple[str, Attributes]]:
    return [(one.source.peer, one.attributes) for one in used if not one.source.is_local]


def _best_differs(change: Change) -> bool:
    was = change.was.used[0] if change.was.used else None
    now = change.now.used[0] if change.now.used else None
    if was is None or now is None:
        return was is not now
    return (was.attributes, was.source) != (now.attributes, now.source)


def _path(route: Route, *, used: int | None = None, lost_at: str = "", invalid: str = "") -> Path:
    attributes = route.attributes
    return Path(
        prefix=route.prefix,
        peer=route.source.peer,
        next_hop=attributes.next_hop,
        local_pref=attributes.preference,
        med=attributes.med,
        as_path=attributes.as_path,
        origin=attributes.origin,
        communities=attributes.communities,
        attributes=attributes,
        valid=not invalid,
        invalid=invalid,
        selected=used == 0,
        multipath=bool(used),
        stale=route.stale,
        via_ibgp=route.source.is_ibgp,
        announced=route.source.is_local,
        lost_at=lost_at,
    )
