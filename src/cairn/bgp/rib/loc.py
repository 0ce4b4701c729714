"""Loc-RIB: the candidates for every prefix, and what was decided.

    routes put and removed  ->  LocRib.decide  ->  what changed

Cost        A change costs the candidates of its prefix, whatever the size of the table.
Standards   RFC 4271 s9.1
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cairn.bgp.decide import Decision, decide
from cairn.bgp.rib.route import Route
from cairn.net import Network

NOTHING = Decision((), ())


@dataclass(frozen=True, slots=True)
class Change:
    """A prefix whose decision is another now."""

    prefix: Network
    """Which."""
    was: Decision
    """Before."""
    now: Decision
    """After."""


class LocRib:
    """All candidates, and the decision for each prefix."""

    def __init__(self, multipath: int) -> None:
        self._multipath = multipath
        self._candidates: dict[Network, dict[str, Route]] = {}
        self._decisions: dict[Network, Decision] = {}
        self._touched: dict[Network, None] = {}

    def put(self, route: Route) -> None:
        """Take the route of its peer for its prefix, in place of an earlier one."""
        self._candidates.setdefault(route.prefix, {})[route.source.peer] = route
        self._touched[route.prefix] = None

    def remove(self, prefix: Network, peer: str) -> None:
        """Forget the route of `peer`, if there is one."""
        routes = self._candidates.get(prefix, {})
        if routes.pop(peer, None) is not None:
            self._touched[prefix] = None
        if not routes:
            self._candidates.pop(prefix, None)

    def decide(self) -> list[Change]:
        """Decide for every prefix touched since the last call; return what changed."""
        touched, self._touched = self._touched, {}
        changes: list[Change] = []
        for prefix in touched:
            was = self._decisions.pop(prefix, NOTHING)
            routes = self._candidates.get(prefix)
            now = decide(tuple(routes.values()), multipath=self._multipath) if routes else NOTHING
            if routes:
                self._decisions[prefix] = now
            if now != was:
                changes.append(Change(prefix, was, now))
        return changes

    def best(self, prefix: Network) -> Route | None:
        """Return the best route to `prefix`."""
        used = self._decisions.get(prefix, NOTHING).used
        return used[0] if used else None

    def prefixes(self) -> Iterator[Network]:
        """Return every prefix that has a decision."""
        return iter(self._decisions)

    def items(self) -> Iterator[tuple[Network, Decision]]:
        """Return all decisions."""
        return iter(self._decisions.items())
