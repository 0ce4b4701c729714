"""How much new traffic a subject takes in.

    rules on ingress with a rate  ->  (protocol, first port, last port, limit, rule)

Invariants  Policies in audit mode limit nothing.
"""

from collections.abc import Iterable, Sequence

from cairn.compile.policy.partition import spans_of
from cairn.desired.policy import HIGHEST_PORT
from cairn.kube.policy.rule import Direction, Policy, RateLimit, RuleRef
from cairn.kube.policy.workload import NamedPort

Rate = tuple[int, int, int, RateLimit, RuleRef]
"""Protocol (0: any), first port, last port, the limit, the rule that says so."""


def rates_of(policies: Iterable[Policy], ports: Sequence[NamedPort]) -> tuple[Rate, ...]:
    """Return the limits that policies set for a subject with these named ports."""
    found: list[Rate] = []
    for policy in policies:
        for rule in policy.rules:
            if policy.audit or rule.rate is None or rule.direction is not Direction.INGRESS:
                continue
            spans = spans_of(rule.matches, ports)
            for protocol, first, last in ((0, 0, HIGHEST_PORT),) if spans is None else spans:
                found.append((protocol, first, last, rule.rate, RuleRef(policy.ref, rule.path)))
    return tuple(found)
