"""The operator's metrics: pools, announcements over all nodes, sessions as configured, leadership.

    pools' states, raw objects that informers hold  ->  families of drive.metrics_text

Invariants  At most MOST_ADDRESSES addresses have a series: `cairn_operator_addresses_untold` counts
            the others.
            One that does not lead tells only that: the leader has the rest.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cairn.compile.ipam_pool import PoolState
from cairn.drive.metrics_text import Family, common, gauge, number

MOST_ADDRESSES = 1000
ESTABLISHED = "established"


class OperatorFigures:
    """What the parts of a leading operator show; empty while it does not lead."""

    def __init__(self) -> None:
        self.leading = False
        """Whether this process leads."""
        self.pools: Mapping[str, PoolState] = {}
        """Every pool's state."""
        self.services: Mapping[bool, int] = {}
        """Services that ask for an address, by whether they have one."""
        self.node_configs: Callable[[], Iterable[Mapping[str, Any]]] = tuple
        """Returns the raw CiliumBGPNodeConfigs."""
        self.connected: Callable[[], bool] = bool
        """Returns whether the API server answers."""

    def families(self) -> Iterator[Family]:
        """Yield every family."""
        yield from common("operator")
        yield number("cairn_operator_leading", "Whether this process leads", self.leading)
        if not self.leading:
            return
        yield number("cairn_operator_api_connected", "The API server answers", self.connected())
        yield gauge(
            "cairn_operator_pool_addresses",
            "Addresses of a pool",
            {
                (name, state): count
                for name, pool in self.pools.items()
                for state, count in (
                    ("total", pool.total),
                    ("used", pool.used),
                    ("reserved", pool.reserved),
                    ("available", pool.available),
                )
            },
            "pool",
            "state",
        )
        yield gauge(
            "cairn_operator_pool_conflict",
            "Whether a pool hands out nothing because another overlaps it",
            {(name,): bool(pool.conflict) for name, pool in self.pools.items()},
            "pool",
        )
        yield gauge(
            "cairn_operator_services",
            "Services that ask for an address",
            {
                (state,): self.services.get(has, 0)
                for has, state in ((True, "addressed"), (False, "pending"))
            },
            "state",
        )
        yield from _bgp(list(self.node_configs()))


def _bgp(configs: list[Mapping[str, Any]]) -> Iterator[Family]:
    announced: Counter[str] = Counter()
    sessions: Counter[tuple[str, ...]] = Counter()
    for config in configs:
        node = config["metadata"]["name"]
        status = config.get("status") or {}
        announced.update(row["prefix"] for row in status.get("announcements") or ())
        wanted = [
            peer
            for instance in (config.get("spec") or {}).get("bgpInstances") or ()
            for peer in instance.get("peers") or ()
        ]
        told = [
            peer
            for instance in status.get("bgpInstances") or ()
            for peer in instance.get("peers") or ()
        ]
        up = sum(peer.get("peeringState") == ESTABLISHED for peer in told)
        sessions[node, "configured"] = len(wanted)
        sessions[node, "established"] = up
    yield gauge(
        "cairn_operator_sessions", "BGP sessions of a node", dict(sessions), "node", "state"
    )
    chosen = announced.most_common()[-MOST_ADDRESSES:]
    yield gauge(
        "cairn_operator_announcing_nodes",
        "Nodes that announce a prefix",
        {(prefix,): count for prefix, count in sorted(chosen)},
        "prefix",
    )
    yield number(
        "cairn_operator_addresses_untold",
        "Prefixes without a series",
        len(announced) - len(chosen),
    )
