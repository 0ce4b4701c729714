"""How many connections change their backend when routers and backends change.

    10,000 connections through the real programs and tables, before and after  ->  per cent

The router sends packets of a connection to whatever node its own hash says. When a node comes or
goes, many connections reach another node than before, in their middle; they live on if that node
chooses the backend that the first one chose.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bpf"))

import flows
from packets import ACK, SYN
from row import Row

AIMS_PERCENT = {100: 1.5, 10: 2.5}
"""By the number of backends: a small table is coarser."""


def run() -> list[Row]:
    """Measure both."""
    return [elsewhere(), *(backend_gone(*aim) for aim in AIMS_PERCENT.items())]


def elsewhere() -> Row:
    """Return how many connections break when another node gets all of them."""
    with flows.nodes(2) as (old, new):
        new.serve([7, 9, 4])
        for node in (old, new):
            node.serve(range(5))
        broken = flows.moved(old.chosen(SYN), new.chosen(ACK)) * flows.FLOWS
    return Row(
        "connections that break, a node without backends takes all", broken,
        f"of {flows.FLOWS:,}", "the same when it leaves: the others take its share",
        aim="0", met=broken == 0,
    )  # fmt: skip


def backend_gone(size: int, limit: float) -> Row:
    """Return how many of the others' flows move when one backend of many goes."""
    with flows.nodes(1) as (node,):
        node.serve(range(size))
        before = node.chosen(ACK)
        node.serve(range(size - 1))
        node.forget()
        share = 100 * flows.moved(before, node.chosen(ACK), without=size - 1)
    return Row(
        f"flows of others that move, 1 backend of {size} gone", share, "%",
        "only where a node has no entry of the connection",
        aim=f"<= {limit} %", met=share <= limit,
    )  # fmt: skip
