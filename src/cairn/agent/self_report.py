"""What the agent says of itself when `cairn report` asks: its state, what it hears, what failed.

    the agent's parts  ->  AgentFact as plain values

Cost    a few dictionaries; the load balancer's maps are read and compared once
"""

import time
from typing import Any

import msgspec

from cairn import __version__
from cairn.agent.cluster import Cluster
from cairn.agent.reconciler import Reconciler
from cairn.apply.kernel_watch import KernelWatch
from cairn.apply.load_balancer_drift import find_drift
from cairn.diagnose.facts import AgentFact, Drift


class SelfReport:
    """Answers for one agent."""

    def __init__(self, cluster: Cluster, reconciler: Reconciler, kernel: KernelWatch) -> None:
        self._cluster = cluster
        self._reconciler = reconciler
        self._kernel = kernel
        self._started_at = time.time()

    def __call__(self) -> Any:
        """Return the facts, as values that JSON has."""
        rules = self._reconciler
        failures = {what: tuple(sorted(lines)) for what, lines in rules.failures.items()}
        if self._kernel.state:
            failures["kernel drops"] = (self._kernel.state,)
        return msgspec.to_builtins(
            AgentFact(
                version=__version__,
                started_at=self._started_at,
                healthy=rules.healthy,
                reason=rules.broken,
                failures=failures,
                watches=self._cluster.watches(),
                answered=tuple(sorted(map(str, rules.vips.answered))),
                drift=tuple(
                    Drift("service", str(where), what)
                    for where, what in find_drift(rules.maps, rules.written())
                ),
            )
        )
