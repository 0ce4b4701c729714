"""The agent's metrics about itself: what it follows, tells and brought into force, and how fast.

    Cluster, Reconciler, PolicyKeeper, BgpLink  ->  families

Invariants  At most MOST_ADDRESSES load-balancer addresses have a series, those that no peer knows
            first: `cairn_agent_addresses_untold` counts the others.
Cost        a fetch looks at every Service once
"""

import time
from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from cairn.agent.bgp import BgpLink
from cairn.agent.cluster import Cluster
from cairn.agent.policy import PolicyKeeper
from cairn.agent.reconciler import Reconciler
from cairn.drive.metrics_text import Family, Histogram, gauge, histogram, number
from cairn.kube.metadata import Key
from cairn.net import Address

MOST_ADDRESSES = 1000


class AgentMetrics(Collector):
    """The agent of one node."""

    def __init__(
        self,
        cluster: Cluster,
        reconciler: Reconciler,
        keeper: PolicyKeeper,
        bgp: BgpLink,
    ) -> None:
        self._cluster = cluster
        self._reconciler = reconciler
        self._keeper = keeper
        self._bgp = bgp
        self._ends: dict[tuple[str, ...], float] = {}
        if cluster.authority_ends:
            self._ends["api-authority",] = cluster.authority_ends

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        for family in self._families():
            yield told(family)

    def _families(self) -> Iterator[Family]:
        yield number("cairn_clock_seconds", "What this node's clock says, since 1970", time.time())
        yield number(
            "cairn_agent_api_connected", "Whether the API server answers", self._cluster.reachable
        )
        yield number(
            "cairn_agent_last_reconcile_timestamp_seconds",
            "When the node was last made as it should be",
            self._reconciler.reconciled_at,
        )
        yield number(
            "cairn_agent_healthy",
            "Whether the maps are as they should be",
            self._reconciler.healthy,
        )
        yield number("cairn_agent_services", "Services followed", len(self._cluster.services))
        yield number("cairn_agent_frontends", "Frontends in the maps", self._reconciler.frontends)
        took: dict[tuple[str, ...], Histogram] = {
            ("services",): self._reconciler.took,
            ("policies",): self._keeper.took,
        }
        yield histogram(
            "cairn_agent_convergence_seconds",
            "From the API server's word until in force",
            took,
            "of",
        )
        yield number(
            "cairn_agent_speaker_connected", "The speaker answers", self._bgp.speaker_reachable
        )
        yield from address_families(self._bgp.served())
        yield gauge(
            "cairn_agent_certificate_expiry_timestamp_seconds",
            "When a certificate ends",
            self._ends,
            "certificate",
        )


def address_families(served: Iterable[tuple[Key, Address, bool]]) -> Iterator[Family]:
    """Yield whether each address that this node serves is known to a peer."""
    rows = sorted(served, key=lambda row: row[2])
    chosen = rows[:MOST_ADDRESSES]
    yield gauge(
        "cairn_agent_address_announced",
        "Whether a load-balancer address with a ready backend here is known to a BGP peer",
        {(key.namespace, key.name, str(address)): announced for key, address, announced in chosen},
        "namespace",
        "service",
        "address",
    )
    yield number(
        "cairn_agent_addresses_untold", "Addresses without series", len(rows) - len(chosen)
    )


def told(family: Family) -> Metric:
    """Return a family as the library has it."""
    if family.kind == "histogram":
        return _histogram(family)
    labels = tuple(family.rows[0].labels) if family.rows else ()
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    found = make(family.name, family.text, labels=labels)
    for row in family.rows:
        found.add_metric(tuple(row.labels.values()), row.value)
    return found


def _histogram(family: Family) -> Metric:
    found = HistogramMetricFamily(family.name, family.text)
    for row in family.rows:
        found.add_sample(family.name + row.suffix, dict(row.labels), row.value)
    return found
