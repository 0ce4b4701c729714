"""How long a Maglev table of 65,537 entries takes, by the number of backends.

names of backends  ->  milliseconds, the median of several tables of different names
"""

import statistics
import time

from row import Row, at_most

from cairn.compile.maglev import maglev_table

SIZES = (3, 10, 100, 1000)
TABLES = 15
AIM_MS = 20.0


def run() -> list[Row]:
    """Compute tables of each size."""
    maglev_table(["warm", "up"])
    return [
        at_most(
            f"Maglev table, {size} backends, CPU time",
            statistics.median(once(size, turn) for turn in range(TABLES)), "ms", AIM_MS,
            "each node computes it when a Service's backends change",
        )
        for size in SIZES
    ]  # fmt: skip


def once(size: int, turn: int) -> float:
    """Return the milliseconds of one table."""
    names = [f"10.244.{turn}.{number}:8080/tcp" for number in range(size)]
    start = time.thread_time()
    maglev_table(names)
    return (time.thread_time() - start) * 1000
