"""How long `cairn lab up` and `cairn lab down` take, as a user types them.

the reference scenario, three times  ->  seconds; the last lab stays for the others
"""

import statistics
import time

import running
from row import Row, at_most

ROUNDS = 3
AIM_S = 20.0


def run() -> list[Row]:
    """Bring the lab up and take it down."""
    ups, downs = [], []
    for _ in range(ROUNDS):
        began = time.monotonic()
        running.end()
        downs.append(time.monotonic() - began)
        began = time.monotonic()
        running.lab()
        ups.append(time.monotonic() - began)
    return [
        at_most(
            "cairn lab up, to an answer through the VIP",
            statistics.median(ups), "s", AIM_S,
            "three nodes, router, clients and scenario, routes in the router's kernel",
        ),
        Row(
            "cairn lab down", statistics.median(downs[1:]), "s",
            "until nothing of it is left",
        ),
    ]  # fmt: skip
