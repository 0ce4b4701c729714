"""The guide to troubles, as written: each of its commands is run, and prints what stands there."""

from pathlib import Path

import pytest
from guide_run import Step, follow, parse
from lab_run import ROOT, LabRun

from cairn.lab import faults
from cairn.lab.state import load_lab

pytestmark = pytest.mark.lab

GUIDE = ROOT / "docs" / "troubleshooting.md"
FAULTS = ROOT / "docs" / "faults.md"
PATIENCE_S = 30.0
STEPS = list(parse(GUIDE.read_text()))


def test_the_guide_is_read_whole() -> None:
    commands = [step for step in STEPS if isinstance(step, Step)]
    assert len(commands) == GUIDE.read_text().count("\n$ ")
    assert sum("cairn why" in step.command for step in commands) >= 10


def test_the_page_of_faults(lab: LabRun, tmp_path: Path) -> None:
    # Before the guide: that ends sessions, and the doctor tells of those for a while.
    try:
        follow(list(parse(FAULTS.read_text())), lab, tmp_path, patience_s=PATIENCE_S)
    finally:
        faults.clear(load_lab(lab.name))


def test_the_guide(lab: LabRun, tmp_path: Path) -> None:
    try:
        follow(STEPS, lab, tmp_path, patience_s=PATIENCE_S)
    finally:
        faults.clear(load_lab(lab.name))
