"""The kubectl binaries that tests are run with.

    $CAIRN_KUBECTL (paths, colon between), the PATH's, .cache/kubectl/*/kubectl  ->  TOOLS

Invariants  Debian's 1.20, the oldest that has to work, is always among them: where
            tools/install_kubectl.sh has not run, its tests fail and say so.
"""

import filecmp
import os
import shutil
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "kubectl"
OLDEST = CACHE / "1.20" / "kubectl"


def find_tools() -> dict[str, str]:
    """Return the binaries by a short name for each; the same program stands there once."""
    path = shutil.which("kubectl")
    found = {"path": path} if path else {}
    found |= {file.parent.name: str(file) for file in sorted(CACHE.glob("*/kubectl"))}
    found |= {Path(p).name: p for p in os.environ.get("CAIRN_KUBECTL", "").split(":") if p}
    tools: dict[str, str] = {}
    for name, tool in found.items():
        if not any(_same(tool, other) for other in tools.values()):
            tools[name] = tool
    if not OLDEST.exists():
        tools["1.20"] = str(OLDEST)
    return tools


def _same(one: str, other: str) -> bool:
    return Path(one).exists() and filecmp.cmp(one, other, shallow=False)


def require(tool: str) -> str:
    """Return the binary, or fail with what to do."""
    if not Path(tool).is_file():
        pytest.fail(f"no kubectl at {tool}: run tools/install_kubectl.sh")
    return tool


TOOLS = find_tools()
"""Path of each, by a short name."""
each_kubectl = pytest.mark.parametrize("tool", list(TOOLS.values()), ids=list(TOOLS))
"""Run a test with every kubectl, as its argument `tool`."""
