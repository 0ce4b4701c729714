"""What a sweep of `conntrack` costs: the agent's CPU time, kernel included, for 100,000 entries.

a map of the kernel with connections that live and that have ended  ->  milliseconds
"""

import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from row import Row, at_most

from cairn.apply.connection_sweeper import sweep
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import parse_address

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "beds"))

from connections import NOW_NS, Flow, write_service

ENTRIES, CAPACITY, ROUNDS = 100_000, 200_000, 5
AIM_MS = 100.0
SHAPES = {
    "conntrack": MapShape(MapType.HASH, 40, 64, CAPACITY, 0),
    "services": MapShape(MapType.HASH, 20, 32, 16, 1),
    "backends": MapShape(MapType.HASH, 4, 24, 16, 1),
}


def run() -> list[Row]:
    """Sweep a map in which nothing, and one in which half has ended."""
    return [
        at_most(
            f"sweep of {ENTRIES:,} entries, {share:.0%} ended, CPU time", measured(share), "ms",
            AIM_MS, "the agent does it every 15 s, more often when the map fills",
        )
        for share in (0.0, 0.5)
    ]  # fmt: skip


def measured(ended: float) -> float:
    """Return the median of several sweeps, each of a map filled anew."""
    flows = [
        Flow(number % 50_000 + 1, client=parse_address(f"203.0.113.{number // 50_000}"),
             silent_s=9000 if number < ended * ENTRIES / 2 else 10)
        for number in range(ENTRIES // 2)
    ]  # fmt: skip
    entries = [entry for flow in flows for entry in flow.entries().items()]
    keys, values = (b"".join(part) for part in zip(*entries, strict=True))
    with ExitStack() as stack:
        maps = {name: stack.enter_context(Map.create(s, name)) for name, s in SHAPES.items()}
        write_service(maps)
        return statistics.median(once(maps, keys, values) for _ in range(ROUNDS))


def once(maps: dict[str, Map], keys: bytes, values: bytes) -> float:
    """Return the milliseconds of one sweep."""
    maps["conntrack"].update_batch(keys, values)
    start = time.thread_time()
    sweep(maps, NOW_NS)
    return (time.thread_time() - start) * 1000
