"""The conditions of a pool: counts as upstream has them, conflicts, findings.

    PoolState  ->  conditions without times

Standards   Cilium LB-IPAM: counts stand in the messages of conditions of status Unknown
"""

from typing import Any

from cairn.compile.ipam_pool import PoolState
from cairn.operator.condition import condition, findings_condition

FINDINGS = "cairn.io/Findings"


def pool_conditions(state: PoolState, generation: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the conditions that a pool should have, and the types that are ours to remove."""
    conflict = condition(
        "cilium.io/PoolConflict",
        "True" if state.conflict else "False",
        "cidr_overlap" if state.conflict else "resolved",
        state.conflict,
        generation=generation,
    )
    counts = [
        condition(f"cilium.io/{name}", "Unknown", "noreason", str(count), generation=generation)
        for name, count in (
            ("IPsTotal", state.total),
            ("IPsAvailable", state.available),
            ("IPsUsed", state.used),
        )
    ]
    return [conflict, *counts, *findings_condition(state.findings, generation)], [FINDINGS]
