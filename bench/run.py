"""Run the benchmarks one after the other and print one table.

    benchmark modules  ->  rows  ->  a table, and JSON with --json

    python bench/run.py [--only NAME]... [--json FILE]

Exit status 1 if a benchmark could not be run. A figure that misses its aim is marked and is no
failure: the machine decides it as much as the software.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import apiserver
import dns
import doctor
import ecmp
import flood
import flow_events
import flow_history
import flow_query
import flow_rate
import hubble_flows
import ipam
import l7
import lab_up
import maglev
import memory
import metrics_scrape
import operator_rate
import paths
import policy
import policy_delay
import policy_scale
import running
import scale
import service_delay
import sweep
import uplink
import why
import xdp
from rich.console import Console
from rich.table import Table
from row import Row, number

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "xdp": xdp.run,
    "flood": flood.run,
    "uplink": uplink.run,
    "policy": policy.run,
    "flow-events": flow_events.run,
    "flow-query": flow_query.run,
    "flow-rate": flow_rate.run,
    "hubble": hubble_flows.run,
    "maglev": maglev.run,
    "metrics_scrape": metrics_scrape.run,
    "ecmp": ecmp.run,
    "sweep": sweep.run,
    "ipam": ipam.run,
    "policy-engine": policy_scale.run,
    "policy-delay": policy_delay.run,
    "dns": dns.run,
    "doctor": doctor.run,
    "flow-history": flow_history.run,
    "l7": l7.run,
    "apiserver": apiserver.run,
    "operator": operator_rate.run,
    "scale": scale.run,
    "lab": lab_up.run,
    "memory": memory.run,
    "paths": paths.run,
    "service": service_delay.run,
    "why": why.run,
}
"""In this order: `memory` is taken of a lab that has just come up and done nothing yet."""


def main() -> int:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), metavar="NAME",
                        help=f"one of {', '.join(BENCHMARKS)}; may be given again")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    if os.geteuid():
        print("bench: network namespaces and BPF need root; run it as root", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was built is taken down
    chosen = options.only or list(BENCHMARKS)
    rows: dict[str, list[Row]] = {}
    failed = []
    start = time.monotonic()
    load = os.getloadavg()[0]
    try:
        for position, name in enumerate(chosen, 1):
            began = time.monotonic()
            print(f"[{position}/{len(chosen)}] {name} ...", file=sys.stderr, flush=True)
            try:
                rows[name] = BENCHMARKS[name]()
            except Exception as error:  # The others are still worth measuring.
                failed.append(name)
                print(f"bench {name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            print(f"      {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        running.end()
    show(rows)
    print(f"{platform.release()}, {os.cpu_count()} CPUs, load {load:.1f} before and "
          f"{os.getloadavg()[0]:.1f} after, {time.monotonic() - start:.0f} s in all")  # fmt: skip
    if options.json:
        with open(options.json, "w") as file:
            json.dump({name: [asdict(row) for row in found] for name, found in rows.items()},
                      file, indent=1)  # fmt: skip
    return 1 if failed else 0


def show(rows: dict[str, list[Row]]) -> None:
    """Print the table, wide enough for its text where the output is no terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("figure", "value", "baseline", "ratio", "aim", "what it means"):
        table.add_column(name, justify="left" if name in ("figure", "what it means") else "right")
    for name, found in rows.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/]")
        for row in found:
            table.add_row(*cells(row))
    Console(width=None if sys.stdout.isatty() else 190).print(table)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    if row.spread:
        ratio += f" ({row.spread[0]:.2f} to {row.spread[1]:.2f})"
    aim = row.aim if row.met is None else f"{row.aim} {'met' if row.met else 'MISSED'}"
    base = "" if row.baseline is None else f"{number(row.baseline)} {row.unit}"
    return row.figure, f"{number(row.value)} {row.unit}", base, ratio, aim, row.meaning


if __name__ == "__main__":
    sys.exit(main())
