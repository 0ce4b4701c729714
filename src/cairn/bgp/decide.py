"""The decision process: a ladder of named steps, and those that tie.

    routes to one prefix  ->  decide  ->  Decision(used, lost at which step)

Invariants  The order of the routes given does not matter.
            Routes equal to the best through the IGP cost are used with it, one per next hop.
Standards   RFC 4271 s9.1.2.2; RFC 4456 s9 (originator, cluster list); RFC 4724 s4.2 (a stale
            route is as good as any). MULTI_EXIT_DISC is compared only among routes of one
            neighbouring autonomous system.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cairn.bgp.rib.route import Route
from cairn.net import Address

Keep = Callable[[Sequence[Route]], list[Route]]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: what is compared, and who is left after it."""

    name: str
    """What wins, in words."""
    keep: Keep
    """Returns the routes that tie for the best at this step."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was chosen for a prefix."""

    used: tuple[Route, ...]
    """The best first, then those that tie with it, in the ladder's order."""
    lost: tuple[tuple[Route, str], ...]
    """All others, with the step at which each lost."""


def _least(key: Callable[[Route], Any]) -> Keep:
    def keep(routes: Sequence[Route]) -> list[Route]:
        best = min(key(one) for one in routes)
        return [one for one in routes if key(one) == best]

    return keep


def _least_med(routes: Sequence[Route]) -> list[Route]:
    best: dict[int | None, int] = {}
    for one in routes:
        neighbour = one.attributes.as_path.first
        best[neighbour] = min(best.get(neighbour, _med(one)), _med(one))
    return [one for one in routes if _med(one) == best[one.attributes.as_path.first]]


def _med(route: Route) -> int:
    return route.attributes.med or 0  # none counts as the lowest (RFC 4271 s9.1.2.2 c)


def _originator(route: Route) -> int:
    return int(route.attributes.originator_id or route.source.router_id)


def _peer_address(route: Route) -> tuple[int, int]:
    return (route.source.address.version, int(route.source.address))


LADDER = (
    Step("our own route wins", _least(lambda one: not one.source.is_local)),
    Step("higher local preference wins", _least(lambda one: -one.attributes.preference)),
    Step("shorter AS path wins", _least(lambda one: one.attributes.as_path.hops)),
    Step("lower origin wins", _least(lambda one: one.attributes.origin)),
    Step("lower MED from one AS wins", _least_med),
    Step("external route wins over internal", _least(lambda one: one.source.is_ibgp)),
    Step("lower IGP cost wins", _least(lambda one: one.igp_cost)),
    Step("lower originator identifier wins", _least(_originator)),
    Step("shorter cluster list wins", _least(lambda one: len(one.attributes.cluster_list))),
    Step("lower peer address wins", _least(_peer_address)),
)
TIES_AFTER = next(at for at, step in enumerate(LADDER) if "IGP" in step.name) + 1
"""How many steps decide; the rest only order."""
NOT_NEEDED = "multipath: next hop in use, or limit reached"


def decide(routes: Sequence[Route], *, multipath: int = 1) -> Decision:
    """Return which of `routes` are used, at most `multipath` of them."""
    left = list(routes)
    lost: list[tuple[Route, str]] = []
    for step in LADDER[:TIES_AFTER]:
        if len(left) > 1:
            kept = step.keep(left)
            lost += [(one, step.name) for one in left if one not in kept]
            left = kept
    used: list[Route] = []
    hops: set[Address | None] = set()
    for one in sorted(left, key=_order):
        if used and (len(used) >= multipath or one.attributes.next_hop in hops):
            name = _tie_break(used[0], one) if multipath == 1 else NOT_NEEDED
            lost.append((one, name))
            continue
        used.append(one)
        hops.add(one.attributes.next_hop)
    return Decision(tuple(used), tuple(lost))


def _order(route: Route) -> tuple[int, int, tuple[int, int]]:
    return (_originator(route), len(route.attributes.cluster_list), _peer_address(route))


def _tie_break(best: Route, other: Route) -> str:
    for step in LADDER[TIES_AFTER:]:
        if other not in step.keep([best, other]):
            return step.name
    return NOT_NEEDED
