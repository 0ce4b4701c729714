"""What the proxy tells who asks: names, counters, Prometheus text.

    Store, counters  ->  plain values for JSON lines, text

Standards   Prometheus text format 0.0.4
Units       times in seconds from now
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cairn.abi.address import read_address
from cairn.dns.learnt import ADOPTED
from cairn.dnsproxy.store import Store
from cairn.drive.metrics_text import Family, Histogram, counter, histogram, number, spell

GAUGES = frozenset({"addresses held", "addresses unwritten", "waiting", "listeners"})


def report_names(store: Store, now: float) -> list[dict[str, Any]]:
    """Return each name with its addresses, how long they are kept, and its selectors."""
    names: dict[str, dict[str, Any]] = {}
    for lease in store.names.leases():
        name = "" if lease.name.startswith(ADOPTED) else lease.name
        entry = names.setdefault(
            lease.name, {"name": name, "selectors": list(lease.selectors), "addresses": []}
        )
        for address in lease.addresses:
            entry["addresses"].append(
                {
                    "address": str(read_address(address)),
                    "expires_s": round(max(0.0, lease.until - now), 1),
                    "written": bool(lease.selectors) and address not in store.unwritten,
                }
            )
    return [names[name] for name in sorted(names)]


def dns_families(counters: Mapping[str, int], took: Histogram) -> Iterator[Family]:
    """Yield the counters, and how long servers took to answer."""
    for name in sorted(GAUGES & counters.keys()):
        yield number(f"cairn_dns_{name.replace(' ', '_')}", f"Now: {name}", counters[name])
    queries = counters.get("queries", 0)
    refused = counters.get("refused", 0)
    rejected = sum(n for name, n in counters.items() if name.startswith("rejected: "))
    verdicts = {"allowed": queries - refused - rejected, "refused": refused, "rejected": rejected}
    yield counter(
        "cairn_dns_queries_total",
        "Queries of pods by what became of them",
        {(verdict,): max(0, count) for verdict, count in verdicts.items()},
        "verdict",
    )
    yield counter(
        "cairn_dns_events_total",
        "What happened, by name",
        {(name,): n for name, n in sorted(counters.items()) if name not in GAUGES},
        "event",
    )
    yield histogram(
        "cairn_dns_answer_seconds", "From a query to the answer of its server", {(): took}
    )


def report_metrics(counters: Mapping[str, int], took: Histogram) -> str:
    """Return the same as Prometheus text."""
    return spell(dns_families(counters, took)).decode()
