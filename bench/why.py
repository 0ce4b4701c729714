"""How long `cairn why` takes in the lab, beside what `kubectl get svc` takes at the same time.

the lab at rest  ->  milliseconds of whole commands, and their ratio
"""

import subprocess
import time

import running
from row import Row, at_most, compare, percentile, take_turns

ROUNDS = 10
AIM_MS = 2000.0
IDLE_MS = 1500.0
"""What the slowest should take where nothing else runs."""
WALKS = {
    "a client behind the router to the address": ("client-1", running.VIP),
    "a pod to a Service": ("production/web-app", "production/database"),
}
"""By what they are."""


def run() -> list[Row]:
    """Measure the walks, each in turn with kubectl."""
    lab = running.lab()
    kubectl = ("kubectl", "--kubeconfig", lab.kubeconfig, "get", "svc")
    rows = []
    for what, words in WALKS.items():
        argv = (running.CAIRN, "why", *words, "--kubeconfig", lab.kubeconfig)
        pairs = take_turns(lambda argv=argv: took_ms(argv), lambda: took_ms(kubectl), ROUNDS)  # type: ignore[misc]
        rows.append(
            compare(f"cairn why, {what}", "ms", pairs, "beside kubectl get svc, process and all")
        )
        took = [subject for subject, _ in pairs]
        usual = percentile(took, 50)
        rows.append(at_most("its median", usual, "ms", AIM_MS, "the aim"))
        rows.append(at_most(f"the slowest of {ROUNDS}", max(took), "ms", IDLE_MS, "of an idle lab"))
    return rows


def took_ms(argv: tuple[str, ...]) -> float:
    """Return how long a command takes, which must not fail."""
    began = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1e3
