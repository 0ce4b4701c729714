"""The tables of `bgpctl`, column by column as OpenBGPD prints them.

    Views  ->  lines of text

Not here    Where the rows come from (views).
"""

from collections.abc import Iterable, Iterator

from cairn.router.views import NeighborRow, PathRow, Views

RIB_LEGEND = (
    "flags: * = Valid, > = Selected, I = via IBGP, A = Announced,",
    "       S = Stale, E = Error",
)
ADDRESS_WIDTH, PREFIX_WIDTH, GATEWAY_WIDTH = 20, 20, 15
"""Columns as OpenBGPD has them; IPv6 makes them as wide as it needs."""


def neighbor_lines(rows: Iterable[NeighborRow]) -> Iterator[str]:
    """Yield the summary: one line per neighbour."""
    rows = tuple(rows)
    wide = width(ADDRESS_WIDTH, (row.address for row in rows))
    yield f"{'Neighbor':<{wide}} {'AS':>8}    MsgRcvd    MsgSent  OutQ Up/Down  State/PrfRcvd"
    for row in rows:
        since = "Never" if row.since_s is None else duration(row.since_s)
        state = row.state if row.prefixes is None else f"{row.prefixes:6d}"
        yield (
            f"{row.address:<{wide}} {row.asn:>8} {row.received:>10} {row.sent:>10} {row.queued:>5}"
            f" {since:<8} {state}"
        )


def neighbor_detail_lines(row: NeighborRow) -> Iterator[str]:
    """Yield everything about one neighbour."""
    yield f"BGP neighbor is {row.address}, remote AS {row.asn}"
    if row.description:
        yield f" Description: {row.description}"
    since = "never up" if row.since_s is None else f"for {duration(row.since_s)}"
    yield f"  BGP state = {row.state}, {since}"
    yield f"  Messages received {row.received}, sent {row.sent}, waiting {row.queued}"
    if row.prefixes is not None:
        limit = f", limit {row.max_prefixes}" if row.max_prefixes else ""
        yield f"  Prefixes received {row.prefixes}{limit}"
    for name, value in row.details.items():
        yield f"  {name}: {value}"


def rib_lines(rows: Iterable[PathRow]) -> Iterator[str]:
    """Yield every path of every prefix."""
    rows = tuple(rows)
    wide = width(PREFIX_WIDTH, (row.prefix for row in rows))
    hop = width(GATEWAY_WIDTH, (row.gateway for row in rows))
    yield from RIB_LEGEND
    yield f"flags {'destination':<{wide}} {'gateway':<{hop}}  lpref   med aspath origin"
    for row in rows:
        path = f"{row.as_path} {row.origin}".strip()
        yield (
            f"{flags(row):<5} {row.prefix:<{wide}} {row.gateway:<{hop}}  "
            f"{row.local_pref:>5} {row.med:>5} {path}"
        )
        if row.reason:
            yield f"      not used: {row.reason}"


def fib_lines(views: Views) -> Iterator[str]:
    """Yield the kernel's routes, one line per next hop."""
    wide = width(PREFIX_WIDTH, (route.prefix for route in views.routes))
    yield f"flags prio {'destination':<{wide}} gateway"
    for route in views.routes:
        shares = [f" weight {weight}" for weight in route.weights] or [""] * len(route.gateways)
        for gateway, share in zip(route.gateways, shares, strict=True):
            yield f"{'*B':<5} {route.metric:>4} {route.prefix:<{wide}} {gateway}{share}"


def counter_lines(views: Views) -> Iterator[str]:
    """Yield what went wrong how often since the router started."""
    for name, count in sorted(views.counters.items()):
        yield f"{name:<24} {count:>10}"


def width(least: int, texts: Iterable[str]) -> int:
    """Return how wide a column of these texts is."""
    return max(least, *map(len, texts), 0)


def flags(row: PathRow) -> str:
    """Return the flags of a path, in OpenBGPD's order."""
    marks = (
        (row.error, "E"),
        (row.announced, "A"),
        (row.internal, "I"),
        (row.stale, "S"),
        (row.valid, "*"),
        (row.best, ">"),
    )
    return "".join(mark for holds, mark in marks if holds)


def duration(seconds: float) -> str:
    """Return a duration in eight or nine characters: 01:23:45, 2d03h04m, 01w2d03h.

    >>> duration(5025)
    '01:23:45'
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    weeks, day = divmod(days, 7)
    if weeks:
        return f"{weeks:02d}w{day}d{hour:02d}h"
    if day:
        return f"{day}d{hour:02d}h{minute:02d}m"
    return f"{hour:02d}:{minute:02d}:{second:02d}"
