"""What policies did, and in which state they are, for Prometheus to fetch.

    map policy_rules, numbers of rules, policies in force  ->  families of agent.metrics

Invariants  Rules that never counted anything have no series, and at most MOST_RULES have:
            `cairn_policy_rules_untold` counts the others. A rule's counters begin anew when it is
            in no policy's verdicts any more and comes back.
Cost        a fetch reads one map whole
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cairn.abi.records import RULE_COUNTERS
from cairn.agent.policies import Policies
from cairn.kube.policy.rule import Policy
from cairn.libbpf import Map

MOST_RULES = 1000
STATES = ("enforced", "audit", "disabled", "invalid")
TEXTS = {
    "allowed": "Connections that it let through",
    "denied": "Packets that it dropped",
    "audited": "Connections that it would have decided otherwise, in audit mode",
}


class PolicyMetrics(Collector):
    """Policies of one node."""

    def __init__(self, maps: Mapping[str, Map], policies: Policies) -> None:
        self._rules = maps["policy_rules"]
        self._policies = policies

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        yield from self._counters()
        found = GaugeMetricFamily("cairn_policies", "Policies by their state", labels=("state",))
        for state, number in self._states().items():
            found.add_metric((state,), number)
        yield found
        maps = self._policies.maps
        yield GaugeMetricFamily(
            "cairn_policy_subjects_closed", "Sets of pods closed by a full map", len(maps.failed)
        )
        yield GaugeMetricFamily(
            "cairn_policy_subjects_waiting", "Sets of pods that wait for a proxy", len(maps.waiting)
        )

    def _counters(self) -> Iterable[Metric]:
        labels = ("kind", "namespace", "name", "rule")
        families = {
            field: CounterMetricFamily(f"cairn_policy_{field}", text, labels=labels)
            for field, text in TEXTS.items()
        }
        numbers, counts = read_counters(self._rules)
        total = counts["allowed"] + counts["denied"] + counts["audited"]
        touched = np.flatnonzero(total)
        chosen = touched[np.argsort(total[touched])[::-1][:MOST_RULES]]
        for index in chosen:
            ref = self._policies.rules.ref(int(numbers[index]))
            if ref is not None:
                for field, family in families.items():
                    family.add_metric((*ref.policy, ref.path), int(counts[field][index]))
        yield from families.values()
        yield GaugeMetricFamily(
            "cairn_policy_rules_untold", "Rules without series", value=len(numbers) - len(chosen)
        )

    def _states(self) -> Mapping[str, int]:
        cluster = self._policies.cluster
        found = Counter(_state(policy) for policy in cluster.in_force())
        found["invalid"] = len(cluster.invalid)
        return {state: found[state] for state in STATES}


def read_counters(rules: Map) -> "tuple[np.ndarray, np.ndarray]":
    """Return the numbers of rules, and their counters in the same order."""
    keys, values = [], []
    for some_keys, some_values, _ in rules.batches():
        keys.append(some_keys)
        values.append(some_values)
    return np.frombuffer(b"".join(keys), "<u4"), np.frombuffer(b"".join(values), RULE_COUNTERS)


def _state(policy: Policy) -> str:
    if policy.disabled:
        return "disabled"
    return "audit" if policy.audit else "enforced"
