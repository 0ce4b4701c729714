"""`cairn doctor` in the shared lab: healthy is told in time."""

import json
import time

import pytest
from lab_run import LabRun

pytestmark = [pytest.mark.lab, pytest.mark.root]

LIMIT_S = 5.0


def test_a_healthy_lab_is_told_healthy(lab: LabRun) -> None:
    began = time.monotonic()
    said = json.loads(lab.cairn("doctor", "-o", "json"))
    took_s = time.monotonic() - began
    assert [f for f in said["findings"] if f["weight"] != "note"] == []
    assert said["healthy"]
    assert sum(check["checked"] for check in said["checks"]) > 100
    assert not [check for check in said["checks"] if check["skipped"]]
    assert took_s < LIMIT_S
