"""One lab for all end-to-end tests of a session; others bring up labs of their own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab_run import LabRun, run


def remains(name: str) -> dict[str, str]:
    """Return what is left on the machine of the lab `name`, by where it was found."""
    found = {
        "namespaces": "\n".join(
            line for line in run("ip", "netns").splitlines() if f"cairn-{name}-" in line
        ),
        "mounts": "\n".join(
            line
            for line in Path("/proc/self/mounts").read_text().splitlines()
            if f"/{name}/" in line or f"cairn-{name}" in line
        ),
        "pins": run("sh", "-c", f"ls -d /sys/fs/bpf/cairn-{name} 2>/dev/null || true"),
        "groups": run(
            "sh", "-c", f"find /sys/fs/cgroup -maxdepth 3 -name cairn-{name} 2>/dev/null || true"
        ),
        "processes": run("pgrep", "-fa", f"/run/cairn/{name}/|--name {name}( |$)", check=False),
        "files": run("sh", "-c", f"ls -d /run/cairn/{name} 2>/dev/null || true"),
    }
    return {where: text for where, text in found.items() if text.strip()}


@pytest.fixture(scope="session")
def lab() -> Iterator[LabRun]:
    """The reference scenario, running."""
    started = LabRun(f"e2e{os.getpid() % 100000}")
    try:
        started.up()
        yield started
    finally:
        started.down()
    assert remains(started.name) == {}
