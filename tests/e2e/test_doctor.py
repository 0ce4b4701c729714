"""`cairn doctor` in the shared lab: a healthy one is told healthy in time; a fault is named first."""

import json
import subprocess
import time
from typing import Any

from lab_run import SharedLab

LIMIT_S = 5.0
FAULT_S = 20.0


def doctor(lab: SharedLab, *words: str) -> tuple[int, dict[str, Any]]:
    done = lab.cairn("doctor", "-o", "json", *words, check=False)
    return done.returncode, json.loads(done.stdout)


def test_healthy_lab_is_healthy(lab: SharedLab) -> None:
    began = time.monotonic()
    status, said = doctor(lab)
    took_s = time.monotonic() - began
    heavy = [f for f in said["findings"] if f["weight"] != "note"]
    assert (status, heavy) == (0, [])
    assert said["healthy"]
    assert sum(check["checked"] for check in said["checks"]) > 100
    assert not [check for check in said["checks"] if check["skipped"]]
    assert took_s < LIMIT_S
