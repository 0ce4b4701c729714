"""`cairn lab kubelet`: what it says when it cannot run."""

import subprocess
import sys

import pytest


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cairn.cli.main", "lab", "kubelet", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_lab_that_does_not_run_is_one_line() -> None:
    done = run("--lab", "nosuchlab", "--node", "node-1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cairn lab kubelet: ")


@pytest.mark.parametrize("argv", [(), ("--lab", "x"), ("--lab", "x", "--node", "y", "--nonsense")])
def test_wrong_usage(argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert done.returncode == 2
    assert "usage: cairn lab kubelet" in done.stderr
    assert "Traceback" not in done.stderr
