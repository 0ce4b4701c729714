"""The overlay: pods of nodes on other subnets are reached through it.

Facts  ->  findings of area 3
"""

from collections import defaultdict

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.facts import PODS_OF, Facts, PathFact


def check_overlay(facts: Facts, bench: Bench) -> None:
    """A node that reaches another one reaches its pods, too."""
    for name, report in facts.nodes.items():
        bench.looked()
        reached = {path.peer for path in report.paths if path.small}
        asked: dict[str, list[PathFact]] = defaultdict(list)
        for path in report.paths:
            if path.peer.startswith(PODS_OF):
                bench.looked()
                asked[path.peer.removeprefix(PODS_OF)].append(path)
        for peer, paths in asked.items():
            if peer in reached and not any(path.small for path in paths):
                addresses = ", ".join(path.address for path in paths)
                values = {"node": name, "peer": peer, "address": addresses}
                bench.found("OverlaySilent", f"node {name}", **values)
