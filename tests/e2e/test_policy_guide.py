"""The policy guide, as written: each of its commands is run, and prints what stands there."""

from pathlib import Path

import pytest
from guide_run import Step, fits, follow, parse
from lab_run import ROOT, LabRun

pytestmark = pytest.mark.lab

GUIDE = ROOT / "docs" / "policy.md"
STEPS = list(parse(GUIDE.read_text()))


def test_the_guide_is_read_whole() -> None:
    commands = [step for step in STEPS if isinstance(step, Step)]
    assert len(commands) == GUIDE.read_text().count("\n$ ")
    words = {step.command.split()[2] for step in commands if step.command.startswith("cairn pol")}
    assert words == {"get", "trace", "plan", "replay", "suggest", "apply", "confirm"}


@pytest.mark.parametrize(
    ("shown", "printed", "fine"),
    [
        ("a … c", "a b c", True),
        ("pod/x-…: ok", "  pod/x-12: ok", True),
        ("a b", "a  b", True),
        ("a b", "a b c", False),
        ("a …", "a", True),
    ],
)
def test_lines_are_compared(shown: str, printed: str, fine: bool) -> None:
    assert fits(shown, printed) is fine


def test_the_guide(lab: LabRun, tmp_path: Path) -> None:
    try:
        follow(STEPS, lab, tmp_path)
    finally:
        lab.kubectl("delete", "namespace", "shop", "--ignore-not-found", check=False)
