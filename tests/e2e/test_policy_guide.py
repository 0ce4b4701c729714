"""The policy guide, as written: each of its commands is run, and prints what stands there."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab_run import ROOT, LabRun

pytestmark = pytest.mark.lab

GUIDE = ROOT / "docs" / "policy.md"
BLOCK = re.compile(r"^```(yaml|json|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STATUS = re.compile(r"\s+# status (\d)$")


@dataclass
class Step:
    """One command of the guide."""

    command: str
    status: int
    shown: list[str] = field(default_factory=list)
    """Lines that it prints, in this order; others may stand between them."""


def parse(text: str) -> Iterator[tuple[str, str] | Step]:
    """Yield the files (name, content) and commands of the guide, in its order."""
    for kind, body in BLOCK.findall(text):
        if kind != "console":
            first, _, rest = body.partition("\n")
            assert first.startswith("# "), f"a {kind} block has no name: {first}"
            yield first.removeprefix("# "), rest
            continue
        step: Step | None = None
        for line in body.splitlines():
            if line.startswith("$ "):
                if step:
                    yield step
                status = STATUS.search(line)
                step = Step(STATUS.sub("", line[2:]), int(status.group(1)) if status else 0)
            else:
                assert step, f"what prints this? {line}"
                step.shown.append(line)
        if step:
            yield step


def plain(line: str) -> str:
    """Return a line without what is only layout."""
    return " ".join(line.split())


def fits(shown: str, printed: str) -> bool:
    """Return whether a printed line is the shown one, where … stands for anything."""
    parts = [re.escape(part.strip()) for part in plain(shown).split("…")]
    return re.fullmatch(".*?".join(f" ?{part} ?" for part in parts), plain(printed)) is not None


def missing(shown: list[str], printed: str) -> str | None:
    """Return the first shown line that does not follow in what was printed."""
    rest = iter(printed.splitlines())
    for line in shown:
        if plain(line) and not any(fits(line, other) for other in rest):
            return line
    return None


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
    environment = os.environ | {
        "KUBECONFIG": lab.kubeconfig,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    try:
        for step in STEPS:
            if isinstance(step, tuple):
                (tmp_path / step[0]).write_text(step[1])
                continue
            done = subprocess.run(
                ["bash", "-c", step.command],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90,
            )  # fmt: skip
            said = f"$ {step.command}\n{done.stdout}{done.stderr}"
            assert done.returncode == step.status, said
            lost = missing(step.shown, done.stdout)
            assert lost is None, f"not printed: {lost}\n{said}"
    finally:
        lab.kubectl("delete", "namespace", "shop", "--ignore-not-found", check=False)
