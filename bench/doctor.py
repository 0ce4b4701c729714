"""How long `cairn doctor` takes over a whole lab, against `kubectl get pods -A` of the same.

a running lab's kubeconfig  ->  seconds, taking turns
"""

import os
import statistics
import subprocess
import sys
import time

import running
from row import Row

ROUNDS = 7
AIM_S = 5.0


def run() -> list[Row]:
    """Return the figures."""
    environment = os.environ | {"KUBECONFIG": running.lab().kubeconfig}
    doctor, kubectl = [], []
    for _ in range(ROUNDS):
        kubectl.append(_took_s(["kubectl", "get", "pods", "-A"], environment))
        argv = [sys.executable, "-m", "cairn.cli.main", "doctor", "-o", "json"]
        doctor.append(_took_s(argv, environment))
    ratios = [a / b for a, b in zip(doctor, kubectl, strict=True)]
    took_s = statistics.median(doctor)
    return [
        Row(
            figure="cairn doctor, whole lab",
            value=took_s,
            unit="s",
            meaning="from the command to all findings; baseline: kubectl get pods -A",
            baseline=statistics.median(kubectl),
            ratio=statistics.median(ratios),
            spread=(min(ratios), max(ratios)),
            aim=f"at most {AIM_S:.0f} s",
            met=took_s <= AIM_S,
        )
    ]


def _took_s(argv: list[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, env=environment, capture_output=True, check=False)
    return time.monotonic() - began
