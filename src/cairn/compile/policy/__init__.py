"""Policies compiled: who may open which connections, for each subject of a node.

    kube.policy.Policy, Workload, …  ->  Engine  ->  desired.policy.SubjectPolicy

selector_index, prefix_table and numbering are the tools; group, registry, pods, nodes and networks
say who there is; ruleset, peer_sets, decision, partition and direction what is said of them; engine
is the door.
"""

from cairn.compile.policy.engine import Engine
from cairn.compile.policy.journal import Changes
from cairn.compile.policy.rates import Rate

__all__ = ["Changes", "Engine", "Rate"]
