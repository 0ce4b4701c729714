"""Guides as written: their files and commands, run one after the other in a lab.

Markdown text  ->  files (name, content) and Steps (command, status, lines that it prints)
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab_run import ROOT, LabRun

BLOCK = re.compile(r"^```(yaml|json|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LOOKS = ("cairn why", "cairn doctor", "cairn policy trace", "cairn lab exec", "kubectl get",
         "kubectl exec", "kubectl logs")  # fmt: skip
"""Commands that change nothing."""
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


def follow(
    steps: Sequence[tuple[str, str] | Step], lab: LabRun, folder: Path, *, patience_s: float = 0
) -> None:
    """Write the files and run the commands of a guide; fails with what was not printed.

    `patience_s`: for how long a command that only looks is repeated until it prints what it is to.
    """
    environment = os.environ | {
        "KUBECONFIG": lab.kubeconfig,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    for step in steps:
        if isinstance(step, tuple):
            (folder / step[0]).write_text(step[1])
            continue
        command = re.sub(r"cairn lab (\w+)", rf"cairn lab \1 --name {lab.name}", step.command)
        end = time.monotonic() + (patience_s if step.command.startswith(LOOKS) else 0)
        while (wrong := _run(step, command, folder, environment)) and time.monotonic() < end:
            pass
        assert not wrong, wrong


def _run(step: Step, command: str, folder: Path, environment: dict[str, str]) -> str:
    """Return what of a step does not come out as it stands there; empty: all does."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    said = f"$ {step.command}\n{done.stdout}{done.stderr}"
    if done.returncode != step.status:
        return f"status {done.returncode}, not {step.status}: {said}"
    lost = missing(step.shown, done.stdout)
    return f"not printed: {lost}\n{said}" if lost is not None else ""
