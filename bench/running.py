"""The one lab that the benchmarks share, of a name that is nobody else's.

lab()  ->  LabRun, started at the first call;  end() takes it down
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from lab_run import CAIRN, NODES, VIP, LabRun, run, wait_for

__all__ = ["CAIRN", "NODES", "VIP", "LabRun", "end", "lab", "run", "wait_for"]

_running: dict[str, LabRun] = {}


def lab() -> LabRun:
    """Return the lab, with the reference scenario at rest."""
    if "lab" not in _running:
        made = LabRun(f"bench{os.getpid() % 100000}")
        _running["lab"] = made
        made.up()
        wait_for("three next hops", lambda: made.next_hops() == list(NODES))
    return _running["lab"]


def end() -> None:
    """Take the lab down, if it was started."""
    made = _running.pop("lab", None)
    if made:
        made.down()
