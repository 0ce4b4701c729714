"""What the agent says of itself when `cairn report` asks: its state, what it hears, what failed.

    the agent's parts  ->  AgentFact as plain values

Cost    a few dictionaries; the load balancer's maps are read and compared once
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from cairn import __version__
from cairn.agent.cluster import Cluster
from cairn.agent.flow_question import LATELY_S, LOST_LATELY_S, recent_drops, recent_losses
from cairn.agent.flows import Flows
from cairn.agent.policies import Policies
from cairn.agent.reconciler import Reconciler
from cairn.agent.serving import Serving
from cairn.apply.load_balancer_drift import find_drift
from cairn.diagnose.process_facts import AgentFact, Drift


class SelfReport:
    """Answers for one agent."""

    def __init__(
        self,
        cluster: Cluster,
        reconciler: Reconciler,
        policies: Policies,
        serving: Serving,
        flows: Flows,
    ) -> None:
        self._cluster = cluster
        self._reconciler = reconciler
        self._policies = policies
        self._serving = serving
        self._flows = flows
        self._started_at = time.time()

    def __call__(self) -> Any:
        """Return the facts, as values that JSON has."""
        rules = self._reconciler
        failures = {what: tuple(sorted(lines)) for what, lines in rules.failures.items()}
        if state := self._flows.kernel.state:
            failures["kernel drops"] = (state,)
        return msgspec.to_builtins(
            AgentFact(
                version=__version__,
                started_at=self._started_at,
                healthy=rules.healthy,
                reason=rules.broken,
                failures=failures,
                watches=self._cluster.watches(),
                answered=tuple(sorted(map(str, rules.vips.answered))),
                unproven={str(key): text for key, text in self._serving.unproven.items()},
                policy_waiting=len(self._policies.maps.waiting),
                policy_marks=self._policies.cluster.marks(),
                troubles=tuple(self._troubles()),
                drops=recent_drops(self._flows.feed.store),
                drops_window_s=LATELY_S,
                events_lost=recent_losses(self._flows.feed.store),
                events_lost_window_s=LOST_LATELY_S,
                drift=tuple(
                    Drift("service", str(where), what)
                    for where, what in find_drift(rules.maps, rules.written())
                ),
            )
        )

    def _troubles(self) -> Iterator[str]:
        """Yield what of the policies is not in force, in sentences."""
        yield from sorted(self._policies.keeper.failures)
        full: dict[str, int] = Counter(self._policies.maps.failed.values())
        for name, count in sorted(full.items()):
            yield f"map {name} is full: the policy of {count} identities does not fit"
