"""What the proxy tells who asks: names, counters, Prometheus text.

    Store, counters  ->  plain values for JSON lines, text

Standards   Prometheus text format 0.0.4
Units       times in seconds from now
"""

from collections.abc import Mapping
from typing import Any

from cairn.abi.address import read_address
from cairn.dns.learnt import ADOPTED
from cairn.dnsproxy.store import Store

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


def report_metrics(counters: Mapping[str, int]) -> str:
    """Return the counters as Prometheus text."""
    lines = []
    for name, value in sorted(counters.items()):
        if name in GAUGES:
            metric = f"cairn_dns_{name.replace(' ', '_')}"
            lines += [f"# TYPE {metric} gauge", f"{metric} {value}"]
    lines.append("# TYPE cairn_dns_events_total counter")
    lines += [
        f'cairn_dns_events_total{{event="{name}"}} {value}'
        for name, value in sorted(counters.items())
        if name not in GAUGES
    ]
    return "\n".join(lines) + "\n"
