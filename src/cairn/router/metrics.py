"""The router's metrics: sessions, paths, the kernel's routes, how long a change takes to get there.

PeerState, Fib, counters  ->  families of drive.metrics_text
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cairn.bgp.event import PeerState
from cairn.drive.bgp_metrics import session_families
from cairn.drive.metrics_text import Family, Histogram, common, counter, histogram, number
from cairn.router.fib import Fib


def router_families(
    peers: Sequence[PeerState],
    fib: Fib,
    *,
    flaps: Counter[str],
    counters: Mapping[str, int],
    took: Histogram,
    now: float,
) -> Iterator[Family]:
    """Yield every family."""
    yield from common("router")
    yield from session_families("router", peers, flaps, now)
    installed = fib.installed.values()
    yield number("cairn_router_routes_installed", "Routes in the kernel", len(installed))
    hops = sum(len(route.nexthops) for route in installed)
    yield number("cairn_router_next_hops_installed", "Next hops of these routes", hops)
    yield number("cairn_router_routes_kept", "Routes from before a restart, not repeated", fib.kept)
    yield counter(
        "cairn_router_events_total",
        "What went wrong, by name",
        {(name,): count for name, count in sorted(counters.items())},
        "event",
    )
    yield histogram(
        "cairn_router_fib_seconds",
        "From a BGP UPDATE to the kernel's answer about its routes",
        {(): took},
    )
